"""The code of a job: an upload becomes a checked, content-addressed archive; the archive a workspace.

Whatever arrives here is a stranger's tar file. It is checked member by member before anything of it is
kept, and only plain files, folders and links that stay inside survive.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import math
import os
import secrets
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from appliance.config import JobsSettings
from appliance.errors import InvalidRequest, NotFound, StorageFull, TooLarge
from appliance.jobs.quantity import size

_CHUNK_BYTES = 1024**2
_HEADER_LIMIT_BYTES = 1024**2
_MIB = 1024**2
_NAME_BYTES = 255
"""What Linux file systems take (NAME_MAX in limits.h)."""
_PATH_BYTES = 3000
"""What Linux takes (PATH_MAX, 4096) less room for the workspace's own path."""
_SPOOL_PREFIX = ".upload-"
LARGEST_DIFF_BYTES = 1024**2
"""Longest output of git diff that is kept beside a job."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A kept archive: its SHA-256 is its name; sizes are of the archive and of its files."""

    sha256: str
    archive_bytes: int
    unpacked_bytes: int
    files: int
    paths: frozenset[str] = frozenset()
    """What is in it."""


class SnapshotStore:
    """The archives of all jobs' code, each kept once."""

    def __init__(self, directory: Path, limits: JobsSettings) -> None:
        self._directory = directory
        self._limits = limits

    def add(self, upload: BinaryIO) -> Snapshot:
        """Check an uploaded .tar.gz and keep it.

        Raises InvalidRequest for a damaged archive or a member that is not allowed, TooLarge over a
        limit, StorageFull when the disk has no room; nothing is left behind then.
        """
        self._check_free_space()
        with self._spool() as spool:
            digest = self._copy(upload, spool)
            unpacked, paths = self._check(spool)
            size = spool.seek(0, os.SEEK_END)
            _keep(spool, self.path(digest))
        return Snapshot(digest, size, unpacked, len(paths), paths)

    def add_diff(self, upload: BinaryIO) -> str:
        """Keep the output of git diff; return its name, a hash.

        Raises TooLarge over 1 MiB, StorageFull when the disk has no room.
        """
        diff = upload.read(LARGEST_DIFF_BYTES + 1)
        if len(diff) > LARGEST_DIFF_BYTES:
            raise TooLarge("The uncommitted changes are larger than 1 MiB. Commit them, or send none.")
        name = hashlib.sha256(diff).hexdigest()
        with self._spool() as spool:
            spool.write(gzip.compress(diff, mtime=0))
            spool.flush()
            _keep(spool, self._diff_path(name))
        return name

    def read_diff(self, name: str) -> bytes:
        """Return a kept diff; raises NotFound when retention has removed it."""
        try:
            return gzip.decompress(self._diff_path(name).read_bytes())
        except FileNotFoundError:
            raise NotFound("The uncommitted changes of this job are no longer kept.") from None

    def _diff_path(self, name: str) -> Path:
        return self._directory / f"{name}.diff.gz"

    def path(self, sha256: str) -> Path:
        """Return where the archive of that hash is kept."""
        return self._directory / f"{sha256}.tar.gz"

    def unpack(self, sha256: str, target: Path) -> None:
        """Write the files of a kept archive below `target`, which must exist."""
        with tarfile.open(self.path(sha256), "r:gz") as archive:
            for member in archive:
                _extract(archive, member, target)

    def _check_free_space(self) -> None:
        free = shutil.disk_usage(self._directory).free
        if free < self._limits.min_free_bytes:
            raise StorageFull(
                f"The box has only {size(free)} of disk left. Remove old jobs or data, then submit again."
            )

    def remove_leftovers(self) -> None:
        """Remove what uploads left that were cut off by the death of the process."""
        for path in self._directory.glob(_SPOOL_PREFIX + "*"):
            path.unlink(missing_ok=True)

    @contextmanager
    def _spool(self) -> Iterator[BinaryIO]:
        """Yield a file on the store's disk that is removed afterwards."""
        try:
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=_SPOOL_PREFIX) as spool:
                yield cast(BinaryIO, spool)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StorageFull("The box's disk is full. Free some space, then submit again.") from None

    def _copy(self, upload: BinaryIO, spool: BinaryIO) -> str:
        digest = hashlib.sha256()
        size = 0
        while chunk := upload.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > self._limits.code_max_bytes:
                raise TooLarge(
                    f"The code is larger than {self._limits.code_max_bytes // _MIB} MiB."
                    " Leave data out with a .spudignore file, or mount it with --data."
                )
            digest.update(chunk)
            spool.write(chunk)
        spool.flush()
        return digest.hexdigest()

    def _check(self, spool: BinaryIO) -> tuple[int, frozenset[str]]:
        """Return bytes and paths of the files in the archive; raise for anything that may not be in it."""
        spool.seek(0)
        try:
            with gzip.GzipFile(fileobj=spool) as plain:
                return _check_members(_Bounded(plain, self._limits.workspace_max_bytes), self._limits)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError, ValueError) as error:
            raise InvalidRequest(f"The code is not a usable .tar.gz archive: {error}.") from None


class _Bounded:
    """A decompressed stream that refuses to be read beyond a limit, or in one large piece.

    tarfile reads a member's extended header whole into memory, whatever length it claims.
    """

    def __init__(self, stream: gzip.GzipFile, limit_bytes: int) -> None:
        self._stream = stream
        # Headers and padding take at most 1 KiB a file beside the contents.
        self._limit_bytes = 2 * limit_bytes

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_LIMIT_BYTES:
            raise TooLarge("The code archive has an oversized header. Pack it with: spud submit")
        self._check(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        self._check(position)
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._limit_bytes:
            raise TooLarge(_too_large(self._limit_bytes // 2))


def _check_members(stream: _Bounded, limits: JobsSettings) -> tuple[int, frozenset[str]]:
    total, count = 0, 0
    paths: set[str] = set()
    kinds: dict[PurePosixPath, bool] = {}
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
        for member in archive:
            count += 1
            total += member.size
            if count > limits.code_max_files:
                raise TooLarge(f"The code has more than {limits.code_max_files} files. See .spudignore.")
            if total > limits.workspace_max_bytes:
                raise TooLarge(_too_large(limits.workspace_max_bytes))
            path = _check_member(member)
            _check_place(path, member.isdir(), kinds)
            paths.add(str(path))
    return total, frozenset(paths)


def _check_member(member: tarfile.TarInfo) -> PurePosixPath:
    """Return the member's normal path; raise InvalidRequest unless it may be in a workspace."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in member.name:
        raise InvalidRequest(f"The code archive holds {member.name!r}, a path outside its folder.")
    if _is_too_long(path):
        raise InvalidRequest(f"The code archive holds a name that is too long: {member.name[:60]!r}….")
    if member.issym():
        _check_link(path, member.linkname)
    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.sparse is not None:
        raise InvalidRequest(
            f"The code archive holds {member.name!r}, which is neither a file, a folder nor a symbolic link."
        )
    if member.size < 0 or (member.size and not member.isreg()) or not math.isfinite(member.mtime):
        raise InvalidRequest(f"The code archive holds {member.name!r} with an impossible size or time.")
    return path


def _is_too_long(path: PurePosixPath) -> bool:
    return len(os.fsencode(path)) > _PATH_BYTES or any(
        len(os.fsencode(part)) > _NAME_BYTES for part in path.parts
    )


def _check_link(path: PurePosixPath, target: str) -> None:
    if not target or len(os.fsencode(target)) > _PATH_BYTES:
        raise InvalidRequest(f"The code archive holds {str(path)!r}, a link without a usable target.")
    resolved = os.path.normpath(path.parent / target)
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        raise InvalidRequest(
            f"The code archive holds {str(path)!r}, a link to {target!r} outside its folder."
        )


def _check_place(path: PurePosixPath, is_folder: bool, kinds: dict[PurePosixPath, bool]) -> None:  # noqa: FBT001
    """Refuse a second member of the same path, and one below a link or a file."""
    if path in kinds and not (is_folder and kinds[path]):
        raise InvalidRequest(f"The code archive holds {str(path)!r} twice.")
    for parent in path.parents[:-1]:
        if kinds.setdefault(parent, True) is False:
            raise InvalidRequest(
                f"The code archive holds {str(path)!r} below {str(parent)!r}, which is no folder."
            )
    kinds[path] = is_folder


def _too_large(limit_bytes: int) -> str:
    return (
        f"The code is larger than {limit_bytes // _MIB} MiB when unpacked."
        " Leave data out with a .spudignore file, or mount it with --data."
    )


def _keep(spool: BinaryIO, path: Path) -> None:
    """Give the spooled archive its name, durably.

    One that has been kept before is replaced by it: so its time tells that a job is about to need it, and
    retention leaves it alone.
    """
    os.fchmod(spool.fileno(), 0o640)
    os.fsync(spool.fileno())
    beside = path.with_name(f"{_SPOOL_PREFIX}{secrets.token_hex(8)}")
    os.link(spool.name, beside)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    else:
        source = archive.extractfile(member)
        with path.open("xb") as file:
            shutil.copyfileobj(cast(BinaryIO, source), file, _CHUNK_BYTES)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
        os.utime(path, (member.mtime, member.mtime))
