"""The files that go into the container in which requirements are installed."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from appliance.jobs.requirements import Requirements

UID = 1_899_999_999
"""User and group of installations: nobody on the box, and below those of the jobs' owners."""
CODE = "/workspace"
"""As in the job, since an editable installation remembers where the code lies."""
TOOLS = "/opt/spud-build"
HOME = f"{TOOLS}/home"
TEMPORARY = f"{TOOLS}/temporary"
CERTIFICATES = f"{TOOLS}/ca.crt"
SCRIPT = Path(__file__).with_name("install_requirements.py")

_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""All CAs that the box trusts, a company's as well (Debian and Ubuntu, update-ca-certificates(8))."""
_IN_MEMORY_BYTES = 16 * 1024**2


def certificate_variables() -> dict[str, str]:
    """Return the variables by which pip and what it runs trust the CAs of the box, if it has a list."""
    if not _AUTHORITIES.exists():
        return {}
    return dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), CERTIFICATES)


@contextmanager
def pack(requirements: Requirements, code: Path | None, environment: str) -> Iterator[BinaryIO]:
    """Yield a tar archive to be unpacked at / of the container; with `code` all files of that archive."""
    # Not /tmp: on some boxes that is memory.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir="/var/tmp") as spool:
        target = cast(BinaryIO, spool)
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            files = _Files(archive)
            for folder in (environment, HOME, TEMPORARY, CODE):
                files.add_folder(PurePosixPath(folder))
            files.add(PurePosixPath(TOOLS, SCRIPT.name), SCRIPT.read_bytes())
            if _AUTHORITIES.exists():
                files.add(PurePosixPath(CERTIFICATES), _AUTHORITIES.read_bytes())
            if code:
                files.add_archive(code)
            for path, text in requirements.files.items():
                files.add(PurePosixPath(CODE, path), text.encode())
        target.seek(0)
        yield target


def folder_archive(path: str) -> BinaryIO:
    """Return a tar archive that holds nothing but a folder, to be unpacked at /."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(_member(PurePosixPath(path), tarfile.DIRTYPE, 0o755))
    target.seek(0)
    return target


class _Files:
    """Adds files that belong to the installation's user, and the folders around them."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._folders: set[PurePosixPath] = set()

    def add(self, path: PurePosixPath, content: bytes) -> None:
        self._add_parents(path)
        member = _member(path, tarfile.REGTYPE, 0o644)
        member.size = len(content)
        self._archive.addfile(member, io.BytesIO(content))

    def add_folder(self, path: PurePosixPath) -> None:
        if path not in self._folders:
            self._folders.add(path)
            self._archive.addfile(_member(path, tarfile.DIRTYPE, 0o755))

    def add_archive(self, code: Path) -> None:
        """Add the members of a checked archive of code, each by its own content."""
        with tarfile.open(code, "r:gz") as source:
            for found in source:
                path = PurePosixPath(CODE, found.name)
                self._add_parents(path)
                if found.isdir():
                    self.add_folder(path)
                    continue
                member = _member(path, found.type, 0o755 if found.mode & 0o100 else 0o644)
                member.size, member.linkname, member.mtime = found.size, found.linkname, found.mtime
                self._archive.addfile(member, source.extractfile(found) if found.isreg() else None)

    def _add_parents(self, path: PurePosixPath) -> None:
        """Add the folders above a file of the code, which would be root's otherwise."""
        for parent in reversed(path.parents):
            if parent.is_relative_to(CODE) or parent.is_relative_to(TOOLS):
                self.add_folder(parent)


def _member(path: PurePosixPath, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(str(path.relative_to("/")))
    member.type, member.mode, member.uid, member.gid = kind, mode, UID, UID
    return member
