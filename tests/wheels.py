"""Python packages made by hand, so that tests need no index: wheels, and code that builds itself."""

from __future__ import annotations

import io
import os
import zipfile

BACKEND = '''
"""A build backend without dependencies (PEP 517, PEP 660) that looks around while it runs."""
import json, os, pathlib, zipfile

def look_around():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
    try:
        pathlib.Path("/etc/spud-was-here").touch()
        wrote = True
    except OSError:
        wrote = False
    return {
        "uid": os.getuid(),
        "capabilities": status["CapBnd"].strip(),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "engine": os.path.exists("/var/run/docker.sock"),
        "wrote": wrote,
    }

def build_wheel(folder, config_settings=None, metadata_directory=None, editable=False):
    name = "mine-1.0-py3-none-any.whl"
    seen = "SEEN = " + repr(json.dumps(look_around()))
    files = {"mine_editable.pth": os.getcwd()} if editable else {"mine.py": seen}
    files["mine-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n"
    kind = ("Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any", "")
    files["mine-1.0.dist-info/WHEEL"] = "\\n".join(kind)
    files["mine-1.0.dist-info/RECORD"] = ""
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name

def build_editable(folder, config_settings=None, metadata_directory=None):
    return build_wheel(folder, editable=True)
'''

OWN_PACKAGE: dict[str, str | bytes] = {
    "backend.py": BACKEND,
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
}
"""Code that is a package: `pip install .` makes the module `mine`."""


def make_wheel(name: str, version: str = "1.0", text: str = "ANSWER = 42\n", ballast_bytes: int = 0) -> bytes:
    """Return a wheel with a module of that name; ballast cannot be compressed."""
    target = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(target, "w") as wheel:
        wheel.writestr(f"{name}.py", text)
        if ballast_bytes:
            wheel.writestr(f"{name}_ballast.bin", os.urandom(ballast_bytes))
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return target.getvalue()


def wheel_name(name: str, version: str = "1.0") -> str:
    return f"{name}-{version}-py3-none-any.whl"
