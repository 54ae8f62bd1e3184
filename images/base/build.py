#!/usr/bin/env python3
"""Build the root file system of spud/base: build.py ROOTFS.tar.

Needs root, mmdebstrap and nothing else but Python: the packages come from this machine's own apt
sources, so no image registry is involved and a company's mirror, proxy and CAs are honoured.
Writes `Step N/M : …` lines for its caller; step M, the import into the engine, is the caller's.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGES = ("ca-certificates", "python3", "python3-venv")
USER_HOOKS = (
    'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash spud',
    'install --directory --owner 1000 --group 1000 "$1/workspace"',
)
CERTIFICATES = Path("/usr/local/share/ca-certificates")
# Settings of the machine's apt that decide whether a download works here at all.
ACQUIRE = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
INDEX_FIELDS = "$(ORIGIN)|$(RELEASE)|$(REPO_URI)|$(COMPONENT)"


def source_lines(index: str, distribution: str, codename: str, keyring: Path) -> list[str]:
    """Return one-line apt sources of the distribution's own release, of `apt-get indextargets` output.

    A third party's repository often shares the release's name, so the signed Origin decides:
    it is the distribution's ID with a capital (`Debian`, `Ubuntu`), also on a mirror.
    """
    options = f"[signed-by={keyring}] " if keyring.exists() else ""
    lines = []
    for row in dict.fromkeys(index.splitlines()):
        origin, release, uri, component = row.split("|")
        if origin.lower() != distribution or release.split("-")[0].split("/")[0] != codename:
            continue
        lines.append(f"deb {options}{mirror(uri)} {release} {component}")
    return list(dict.fromkeys(lines))


def mirror(uri: str) -> str:
    """Return the first mirror of a `mirror+file:` list (Debian's cloud images), any other URI as it is."""
    if not uri.startswith("mirror+file:"):
        return uri
    entries = Path(uri.removeprefix("mirror+file:").rstrip("/")).read_text().split()
    return next(entry for entry in entries if "://" in entry)


def mmdebstrap(settings: Path, codename: str, packages: Iterable[str], hooks: Iterable[str]) -> list[str]:
    """Return the mmdebstrap command but for its target; the CAs go in, our settings of apt come out again."""
    copy_in = [f"copy-in {shell_list(certificates())} {CERTIFICATES}"] if certificates() else []
    all_hooks = (
        *copy_in,
        'chroot "$1" update-ca-certificates',
        *hooks,
        'rm "$1/etc/apt/apt.conf.d/99mmdebstrap"',
    )
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        f"--include={','.join(packages)}",
        f"--aptopt={settings}",
        # Nobody reads manuals in a job's container; half of the size is manuals and translations.
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *(f"--customize-hook={hook}" for hook in all_hooks),
        codename,
    ]


def certificates() -> list[Path]:
    """Return the CAs that the machine's administrator trusts beside the distribution's."""
    return sorted(CERTIFICATES.glob("*.crt"))


def shell_list(paths: Iterable[Path]) -> str:
    """Return the paths quoted for the hook's shell."""
    return " ".join("'" + str(path).replace("'", "'\\''") + "'" for path in paths)


def os_release() -> Mapping[str, str]:
    """Return this machine's distribution; `ID` and `VERSION_CODENAME` are set on Debian and Ubuntu."""
    release = platform.freedesktop_os_release()
    if "VERSION_CODENAME" not in release:
        sys.exit("E: /etc/os-release names no VERSION_CODENAME; give an image of your own with BASE_IMAGE=")
    return release


def own_sources(release: Mapping[str, str]) -> list[str]:
    """Return the machine's sources of its own release; ends the program when there are none."""
    keyring = Path(f"/usr/share/keyrings/{release['ID']}-archive-keyring.gpg")
    command = ["apt-get", "indextargets", "--format", INDEX_FIELDS, "Created-By: Packages"]
    # The Origin is known only when the lists were once fetched.
    for prepare in ([], ["apt-get", "update", "--quiet"]):
        if prepare:
            subprocess.run(prepare, check=True)
        index = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
        lines = source_lines(index, release["ID"], release["VERSION_CODENAME"], keyring)
        if lines:
            return lines
    return sys.exit(f"E: apt has no source of {release['ID']} {release['VERSION_CODENAME']} on this machine")


def step(number: int, text: str) -> None:
    """Announce a step in the form that Docker's builder uses."""
    print(f"Step {number}/3 : {text}", flush=True)


def build(target: Path, packages: Iterable[str], hooks: Iterable[str]) -> int:
    """Write the root file system with the packages to `target`; return mmdebstrap's exit code."""
    if not shutil.which("mmdebstrap"):
        sys.exit("E: mmdebstrap is not installed; install it with: apt-get install mmdebstrap")
    release = os_release()
    with tempfile.TemporaryDirectory() as folder:
        step(1, f"Read the apt sources of {release['PRETTY_NAME']}")
        sources, settings = Path(folder, "sources.list"), Path(folder, "apt.conf")
        sources.write_text("".join(f"{line}\n" for line in own_sources(release)))
        dump = ["apt-config", "dump", "--format", '%f "%v";%n', *ACQUIRE]
        settings.write_text(subprocess.run(dump, check=True, text=True, stdout=subprocess.PIPE).stdout)
        step(2, f"Install {', '.join(packages)} and {len(certificates())} local CAs")
        command = mmdebstrap(settings, release["VERSION_CODENAME"], packages, hooks)
        places = [str(target), str(sources)]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        return subprocess.run([*command, *places], check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]), PACKAGES, USER_HOOKS))
