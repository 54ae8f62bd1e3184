"""Runs in a container of a job's image: makes a virtual environment on top of the image's own packages.

    python3 install_requirements.py FOLDER REQUIREMENTS

Standard library only, Python 3.8 or later. What the image has counts as installed. Writes `Step N/M : …`
lines for its reader, like a build; ends with pip's own exit code.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

# The same software under several names: TensorFlow for the CPU is a package of its own.
SAME = {"tensorflow": "tensorflow-cpu", "tensorflow-cpu": "tensorflow"}
PIP_WITH_BYTES = (24, 1)  # the first whose progress can be read by programs


def main(folder: str, requirements: str) -> int:
    """Make the environment and install into it; return pip's exit code."""
    python = str(Path(folder, "bin", "python3"))
    step(1, "Make an environment on top of the image's packages")
    if subprocess.call([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder]):
        print("ERROR: the image's Python cannot make a virtual environment; it lacks venv")
        return 1
    packages = ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))")
    stand_on_image(packages)
    count_as_installed(packages)
    step(2, "Find pip")
    version = pip_version(python)
    if not version:
        print("ERROR: the image has neither pip nor ensurepip, so nothing can be installed")
        return 1
    if version < PIP_WITH_BYTES and not pip(
        python, "--quiet", f"pip>={PIP_WITH_BYTES[0]}.{PIP_WITH_BYTES[1]}"
    ):
        version = pip_version(python)
    step(3, "pip install")
    progress = ["--progress-bar=raw"] if version >= PIP_WITH_BYTES else ["--progress-bar=off"]
    return pip(python, *progress, "--requirement", requirements)


def step(number: int, text: str) -> None:
    """Announce a step in the form that Docker's builder uses."""
    print(f"Step {number}/3 : {text}", flush=True)


def ask(python: str, code: str) -> str:
    """Return what a line of Python prints."""
    return subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def stand_on_image(packages: str) -> None:
    """Let the environment see the image's packages, also where those are in an environment themselves."""
    places = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    lines = "".join(f"import site; site.addsitedir({place!r})\n" for place in places)
    Path(packages, "image.pth").write_text(lines, encoding="utf-8")


def count_as_installed(packages: str) -> None:
    """Record a package under its other name, so that pip does not install the same software again."""
    for name, provider in SAME.items():
        if version(name) or not version(provider):
            continue
        folder = Path(packages, f"{name.replace('-', '_')}-{version(provider)}.dist-info")
        folder.mkdir()
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version(provider)}\n",
            "INSTALLER": "spud\n",
            "RECORD": "".join(f"{folder.name}/{file},,\n" for file in ("METADATA", "INSTALLER", "RECORD")),
        }
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")


def version(name: str) -> str:
    """Return the version of a package of the image, empty when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def pip_version(python: str) -> tuple[int, ...]:
    """Return pip's version as numbers, installing the one that comes with Python if there is none."""
    for prepare in ([], ["-m", "ensurepip", "--default-pip"]):
        if prepare and subprocess.call([python, *prepare], stdout=subprocess.DEVNULL):
            break
        answer = subprocess.run(
            [python, "-m", "pip", "--version"], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if answer.returncode == 0:
            numbers = answer.stdout.decode().split()[1].split(".")[:2]
            return tuple(int(number) for number in numbers if number.isdigit())
    return ()


def pip(python: str, *arguments: str) -> int:
    """Install with pip and return its exit code."""
    options = ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--no-warn-script-location"]
    return subprocess.call([python, "-m", "pip", "install", *options, *arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
