"""Bringing a store back: first all of the backup is unpacked and checked, then it is put in place.

Until then nothing of the store is touched; what was there is moved aside, never removed. No id of a job is
given again that the old store has given: names of containers and folders bear it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.backup import DATABASE, FORM, MANIFEST, Manifest, Part
from appliance.database import Database, copy_database, newest_schema, process_using
from appliance.errors import Conflict, NotFound, SpudError, StorageDamaged, StorageFull, Unavailable
from appliance.jobs.box_store import RESTORED_ATTEMPT, BoxStore
from appliance.jobs.store import JobStore
from appliance.scheduler import lock
from appliance.storage import RESTORING

_CHUNK_BYTES = 1024**2
_FULL = (errno.ENOSPC, errno.EDQUOT)
_STOP = "Stop Spud first: spud down, or systemctl stop spud-scheduler spud-web spud-exporter"
_PLAIN = re.compile(r"spud\.db|snapshots/[0-9a-f]{64}[.a-z]*|jobs/[0-9]+/[0-9]+/output\.log")
_OF_JOBS = re.compile(r"jobs/[0-9]+/([0-9]+/output|checkpoints)(/.+)?", re.DOTALL)
_ENTRIES = ("jobs", "snapshots", DATABASE)
"""What a restore brings, in the order in which it takes its place: the database makes it a store."""
_MODES = {"jobs": 0o2771, "snapshots": 0o2770, DATABASE: 0o660}
_PASSAGE_MODE, _FILE_MODE = 0o2751, 0o640

Progress = Callable[[int, int], None]
"""Called with the bytes of the archive that are read, and all of them."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: where the old store is now, and the highest id that no new job will get."""

    manifest: Manifest
    aside: Path | None
    last_id: int
    unowned: int
    """Files that could not be given to their owners, since this process is not root."""


def restore(
    store: Path,
    archive: Path,
    *,
    replace: bool,
    highest_id: Callable[[str], int],
    progress: Progress,
) -> Restored:
    """Put the backup in the place of the store, or of nothing.

    `highest_id` is told the store's id and returns the highest id of a job whose container is known. Raises
    Conflict while a process uses the store, or when there is one and `replace` is false; StorageDamaged for
    a backup that is not whole; NotFound, StorageFull or Unavailable.
    """
    with ExitStack() as stack:
        stack.enter_context(_explained(store))
        owner = _make_store(store)
        stack.enter_context(_held(store, owner))
        occupied = _is_occupied(store)
        if occupied and not replace:
            raise Conflict(f"There is a store in {store}. Add --replace to move it aside, which keeps it.")
        staging = stack.enter_context(_staging(store))
        unpacked = _Unpacking(staging, owner)
        manifest = unpacked.run(archive, progress)
        last_id = _prepare(staging, store, highest_id)
        unpacked.give()
        aside = _move_aside(store, owner) if occupied else None
        for name in _ENTRIES:
            (staging / name).rename(store / name)
    return Restored(manifest, aside, last_id, unpacked.unowned)


# Before anything is touched


@contextmanager
def _explained(store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"The disk that holds {store} is full; the store is as it was. Free some space and try again."
            ) from None
        what = f": {error.filename}" if error.filename else ""
        raise Unavailable(f"The restore failed: {error.strerror}{what}. Run it as root.") from None


def _make_store(store: Path) -> os.stat_result:
    """Make the store's folder where it is missing; return its status, which says who owns what is in it."""
    store.mkdir(parents=True, exist_ok=True)
    return store.stat()


@contextmanager
def _held(store: Path, owner: os.stat_result) -> Iterator[None]:
    """Keep schedulers off the store, after making sure that no process uses it."""
    path = store / lock.FILE_NAME
    if lock.is_held(path):
        raise Conflict(f"A scheduler works on {store}. {_STOP}")
    is_new = not path.exists()
    with lock.hold(path):
        if is_new:
            path.chmod(0o660)
            _give(path, owner.st_uid, owner.st_gid)
        if pid := process_using(store / DATABASE):
            raise Conflict(f"Process {pid} uses the store {store}. {_STOP}")
        yield


def _is_occupied(store: Path) -> bool:
    jobs = store / "jobs"
    return (store / DATABASE).exists() or (jobs.is_dir() and any(jobs.iterdir()))


@contextmanager
def _staging(store: Path) -> Iterator[Path]:
    for old in store.glob(f"{RESTORING}*"):
        shutil.rmtree(old)
    staging = store / f"{RESTORING}{time.strftime('%Y%m%d-%H%M%S')}"
    staging.mkdir(mode=0o700)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# Unpacking


class _Unpacking:
    """A backup as it is unpacked into an empty folder: links last, so that no path leads through one."""

    def __init__(self, staging: Path, owner: os.stat_result) -> None:
        self._staging = staging
        self._owner = owner
        self._found: dict[str, Part] = {}
        self._members: list[tuple[Path, tarfile.TarInfo]] = []
        self.unowned = 0

    def run(self, archive: Path, progress: Progress) -> Manifest:
        """Unpack all of it and compare it with its manifest; raises StorageDamaged when they differ."""
        for name in ("jobs", "snapshots"):
            (self._staging / name).mkdir()
        try:
            with archive.open("rb") as file:
                text = self._unpack(file, file.seek(0, os.SEEK_END), progress)
            manifest = Manifest.from_json(text)
        except FileNotFoundError:
            raise NotFound(f"There is no backup {archive}.") from None
        except (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise StorageDamaged(f"{archive} is no whole backup of Spud: {error}. Use another one.") from None
        self._check(archive, manifest)
        return manifest

    def give(self) -> None:
        """Give everything its owner and mode, inner things first, and make the links."""
        uid, gid = self._owner.st_uid, self._owner.st_gid
        for name, mode in _MODES.items():
            self._settle(self._staging / name, uid, gid, mode)
        for job in (self._staging / "jobs").iterdir():
            for passage in (job, *(path for path in job.iterdir() if path.name.isdecimal())):
                self._settle(passage, uid, gid, _PASSAGE_MODE)
        for path, member in reversed(self._members):
            if not _OF_JOBS.fullmatch(member.name):
                self._settle(path, uid, gid, _FILE_MODE if member.name != DATABASE else _MODES[DATABASE])
            elif member.issym():
                path.symlink_to(member.linkname)
                self._own(path, member.uid, gid)
            else:
                bits = 0o2777 if member.isdir() else 0o777
                self._settle(path, member.uid, gid, member.mode & bits)
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _unpack(self, file: BinaryIO, size: int, progress: Progress) -> bytes:
        file.seek(0)
        text = b""
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            for member in archive:
                if member.name == MANIFEST:
                    source = archive.extractfile(member)
                    text = source.read() if source else b""
                else:
                    self._take(archive, member)
                progress(file.tell(), size)
        if not text:
            raise ValueError("it has no manifest")
        return text

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        is_jobs = bool(_OF_JOBS.fullmatch(member.name))
        parts = member.name.split("/")
        is_known = is_jobs or (member.isreg() and _PLAIN.fullmatch(member.name))
        if not is_known or {"", ".", ".."} & set(parts) or not _is_plain(member):
            raise ValueError(f"it holds {member.name[:200]!r}, which no backup has")
        path = self._staging / member.name
        self._members.append((path, member))
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.isreg():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._found[member.name] = _write(archive, member, path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)

    def _check(self, archive: Path, manifest: Manifest) -> None:
        if manifest.form > FORM or manifest.schema > newest_schema():
            raise Unavailable(
                f"{archive} was made by a newer Spud ({manifest.spud}). Install that one, then restore it."
            )
        promised = {part.path: part for part in manifest.parts}
        for path in sorted(promised.keys() | self._found.keys()):
            if promised.get(path) != self._found.get(path):
                raise StorageDamaged(
                    f"{archive} is damaged: {path!r} is not as it was written. Use another backup;"
                    " the store is as it was."
                )

    def _settle(self, path: Path, uid: int, gid: int, mode: int) -> None:
        self._own(path, uid, gid)
        path.chmod(mode)

    def _own(self, path: Path, uid: int, gid: int) -> None:
        if not _give(path, uid, gid):
            self.unowned += 1


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isdir() or member.issym() or (member.isreg() and member.sparse is None)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Part:
    source = archive.extractfile(member)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while source and (data := source.read(_CHUNK_BYTES)):
            digest.update(data)
            size += len(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Part(member.name, size, digest.hexdigest())


# Into place


def _prepare(staging: Path, store: Path, highest_id: Callable[[str], int]) -> int:
    """Check the database, bring it to this Spud's schema, and keep ids from being given twice."""
    database = Database(staging / DATABASE)
    try:
        database.check()
        box, jobs = BoxStore(database), JobStore(database)
        last_id = max(jobs.last_id(), _last_id_of(store, staging), highest_id(box.store_id()))
        jobs.skip_ids(last_id)
        box.set_fact(RESTORED_ATTEMPT, str(jobs.last_attempt_id()))
        for fact in ("prune_request", "prune_report", "lanes"):
            box.set_fact(fact, "")
    finally:
        database.close()
    return last_id


def _last_id_of(store: Path, staging: Path) -> int:
    """Return the highest id that the old store has given, as far as it can be read."""
    folders = (path.name for path in (store / "jobs").glob("[0-9]*"))
    last = max((int(name) for name in folders if name.isdecimal()), default=0)
    copy = staging / "old.db"
    with suppress(SpudError):  # damaged, or of a newer Spud: its folders have to do
        copy_database(store / DATABASE, copy)
        old = Database(copy)
        last = max(last, JobStore(old).last_id())
        old.close()
    return last


def _move_aside(store: Path, owner: os.stat_result) -> Path:
    """Move what is there into a folder of its own, the database first: what is left is no store."""
    name = f"before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
    beside = store.with_name(f"{store.name}.{name}")
    is_one_disk = store.parent.stat().st_dev == owner.st_dev and os.access(store.parent, os.W_OK)
    aside = beside if is_one_disk else store / name
    aside.mkdir(mode=0o700)
    _give(aside, owner.st_uid, owner.st_gid)
    for path in (*sorted(store.glob(f"{DATABASE}*")), store / "jobs", store / "snapshots"):
        if path.exists():
            path.rename(aside / path.name)
    return aside


def _give(path: Path, uid: int, gid: int) -> bool:
    """Give a path to an owner; False when that takes root."""
    status = path.lstat()
    if (status.st_uid, status.st_gid) == (uid, gid):
        return True
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except PermissionError:
        return False
    return True
