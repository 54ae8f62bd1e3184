"""A backup: everything that Spud must not lose, in one .tar.gz with a manifest, made while Spud runs.

    manifest.json                   versions, counts, and the SHA-256 of every other file; the last member
    spud.db                         the store as it was at one moment
    snapshots/<sha256>.tar.gz       code of jobs, and diffs
    jobs/<id>/<attempt>/output.log  logs
    jobs/<id>/<attempt>/output/…    outputs, and jobs/<id>/checkpoints/…, where they are asked for

The database is copied first, so every job in it has its files in the backup, unless retention takes them
away meanwhile; a log that grows is kept as far as it was when its turn came.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from appliance import __version__
from appliance.database import copy_database, schema_of
from appliance.errors import Conflict, NotFound, StorageFull, Unavailable

MANIFEST = "manifest.json"
DATABASE = "spud.db"
FORM = 1
"""Changes when an older Spud could not read the archive."""

_CHUNK_BYTES = 1024**2
_COMPRESSION = 3
"""Code is compressed already, logs shrink well at any level, and outputs are large."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LONGEST_PATH_BYTES = 4000
"""Room for the store's own path in what Linux takes (PATH_MAX, 4096)."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all, before compression."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup; `path` is below the store's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(slots=True)
class Manifest:
    """What a backup says of itself; `created_at` is Unix seconds."""

    form: int
    spud: str
    schema: int
    created_at: float
    with_outputs: bool
    files: int = 0
    total_bytes: int = 0
    changed: list[str] = field(default_factory=list)
    """Files that a running job changed while they were read."""
    parts: list[Part] = field(default_factory=list)

    def to_json(self) -> bytes:
        """Return the manifest as it stands in the archive."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read a manifest; raises ValueError, KeyError or TypeError when it is none."""
        values = json.loads(text)
        values["parts"] = [Part(**part) for part in values["parts"]]
        return cls(**values)


def write_backup(store: Path, target: Path, *, with_outputs: bool, progress: Progress) -> Manifest:
    """Write a backup of the store; it appears under its name, with mode 0600, when it is whole.

    Raises NotFound without a store, Conflict when the file exists, StorageFull, Unavailable for a file that
    cannot be read, StorageDamaged for a database that cannot.
    """
    if not (store / DATABASE).exists():
        raise NotFound(f"There is no store in {store}. Set [store] directory to the folder that has one.")
    if target.exists() or target.is_symlink():
        raise Conflict(f"There is a file {target} already. Choose another name, or move it away.")
    with _partial(target) as file, _copy_of(store / DATABASE, target) as database:
        manifest = Manifest(FORM, __version__, schema_of(database), time.time(), with_outputs)
        sources = [(DATABASE, database), *_files(store, with_outputs)]
        with tarfile.open(
            fileobj=file, mode="w:gz", compresslevel=_COMPRESSION, format=tarfile.PAX_FORMAT
        ) as archive:
            _Writer(archive, manifest, progress, _total(sources)).add_all(sources)
            _add_manifest(archive, manifest)
    return manifest


@contextmanager
def _partial(target: Path) -> Iterator[BinaryIO]:
    """Yield a file beside the target that takes its name at the end, or is removed."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"The disk that {target} is on is full. Choose another place.") from None
        raise Unavailable(f"The backup cannot be written: {_reason(error)}. Run it as root.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _copy_of(database: Path, target: Path) -> Iterator[Path]:
    """Yield a copy of the database beside the target, and remove it afterwards."""
    copy = target.with_name(f".{target.name}.{os.getpid()}.db")
    try:
        copy_database(database, copy)
        yield copy
    finally:
        with suppress(OSError):
            copy.unlink(missing_ok=True)


def _files(store: Path, with_outputs: bool) -> Iterator[tuple[str, Path]]:  # noqa: FBT001  from a keyword
    """Yield all else that belongs to the backup, by its name there, in a steady order."""
    for path in sorted((store / "snapshots").glob("[0-9a-f]*")):
        yield f"snapshots/{path.name}", path
    jobs = (path for path in (store / "jobs").iterdir() if path.name.isdecimal())
    for job in sorted(jobs, key=lambda path: int(path.name)):
        attempts = [path for path in job.iterdir() if path.name.isdecimal()]
        for attempt in sorted(attempts, key=lambda path: int(path.name)):
            yield from _named(store, attempt / "output.log")
            if with_outputs:
                yield from _tree(store, attempt / "output")
        if with_outputs:
            yield from _tree(store, job / "checkpoints")


def _named(store: Path, path: Path) -> Iterator[tuple[str, Path]]:
    if path.exists() or path.is_symlink():
        yield str(path.relative_to(store)), path


def _tree(store: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield a folder and all in it, outer folders first; links are not followed."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise Unavailable(
                f"A backup cannot hold what lies as deep as {str(path)[:200]}…"
                " Remove it, or leave out --outputs."
            )
        yield from _named(store, path)
        if path.is_dir() and not path.is_symlink():
            waiting += sorted(path.iterdir(), reverse=True)


def _total(sources: list[tuple[str, Path]]) -> int:
    total = 0
    for _, path in sources:
        with suppress(FileNotFoundError):
            status = path.lstat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


class _Writer:
    """Adds files to the archive, one after the other, and to the manifest."""

    def __init__(self, archive: tarfile.TarFile, manifest: Manifest, progress: Progress, total: int) -> None:
        self._archive = archive
        self._manifest = manifest
        self._progress = progress
        self._total = total
        self._done = 0

    def add_all(self, sources: list[tuple[str, Path]]) -> None:
        for name, path in sources:
            self._add(name, path)
        self._progress(self._done, self._done)

    def _add(self, name: str, path: Path) -> None:
        try:
            member = self._archive.gettarinfo(str(path), arcname=name)
            if member is None or not (member.isreg() or member.islnk() or member.isdir() or member.issym()):
                return  # pipes, sockets and devices keep nothing
            if member.islnk():  # a second name of a file is a file of its own
                member.type, member.linkname = tarfile.REGTYPE, ""
            if member.isreg():
                with open(path, "rb", opener=_open_no_link) as file:
                    self._add_file(member, file)
            else:
                self._archive.addfile(member)
        except FileNotFoundError:  # removed by retention, or by a running job
            return

    def _add_file(self, member: tarfile.TarInfo, file: BinaryIO) -> None:
        member.size = os.fstat(file.fileno()).st_size
        source = _Exact(file, member.size, self._advance)
        self._archive.addfile(member, source)
        if source.is_short:
            self._manifest.changed.append(member.name)
        self._manifest.parts.append(Part(member.name, member.size, source.digest.hexdigest()))
        self._manifest.files += 1
        self._manifest.total_bytes += member.size

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress(self._done, max(self._done, self._total))


class _Exact:
    """A file as exactly so many bytes, whatever a running job does to it meanwhile."""

    def __init__(self, file: BinaryIO, size: int, advance: Callable[[int], None]) -> None:
        self._file = file
        self._left = size
        self._advance = advance
        self.digest = hashlib.sha256()
        self.is_short = False

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        if len(data) < wanted:
            self.is_short = True
            data += bytes(wanted - len(data))
        self._left -= len(data)
        self.digest.update(data)
        self._advance(len(data))
        return data


def _add_manifest(archive: tarfile.TarFile, manifest: Manifest) -> None:
    text = manifest.to_json()
    member = tarfile.TarInfo(MANIFEST)
    member.size, member.mtime, member.mode = len(text), int(manifest.created_at), 0o600
    archive.addfile(member, io.BytesIO(text))


def _open_no_link(path: str, flags: int) -> int:
    # O_NONBLOCK: a pipe that has taken the file's place must not hold the backup.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
