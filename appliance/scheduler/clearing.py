"""Clearing: which things on the box can go, by the limits of the retention, and how each of them goes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings
from appliance.errors import SpudError
from appliance.jobs.directory import JobDirectory
from appliance.jobs.prune import Category, PruneItem
from appliance.jobs.retention import Kind, Left, Limits, Removal, removals
from appliance.jobs.retention_store import LeftBehind, RetentionStore
from appliance.jobs.trash import Trash, disk_bytes
from appliance.scheduler.idle_images import IdleImages
from appliance.storage import Storage

logger = logging.getLogger(__name__)

_DAY_S = 86_400.0
_FRESH_S = 600.0
"""How long code is kept that no job has asked for yet: the job that brings it is recorded right after it."""
_CODE = re.compile(r"[0-9a-f]{64}(\.[a-z.]+)?")
_REMOVED_PREFIX = ".removed-"
_LEFTOVERS = ("snapshots/.upload-*", f"snapshots/{_REMOVED_PREFIX}*", "spud.db.*.partial")

Freed = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Step:
    """A thing that goes, and what makes it go; that raises OSError or SpudError."""

    item: PruneItem
    remove: Callable[[Freed], None]


class Clearing:
    """What there is to clear on one box. Not for several threads at once."""

    def __init__(self, storage: Storage, settings: Settings, images: IdleImages) -> None:
        self._storage = storage
        self._settings = settings
        self._images = images
        self._left = RetentionStore(storage.database)
        self._trash = Trash(storage.directory / "jobs" / ".trash")
        self._sizes: dict[LeftBehind, int] = {}

    def plan(self, limits: Limits, now: float) -> tuple[Step, ...]:
        """Return what goes, in the order in which it goes."""
        return (
            *self._of_jobs(limits, now),
            *self._code(now),
            *self._leftovers(now),
            *self._unused(limits, now),
        )

    def finish(self, freed: Freed = lambda _bytes: None) -> tuple[str, ...]:
        """Remove what an earlier run has moved into the trash; returns a sentence for what stays."""
        return self._trash.empty(freed)

    def strangers(self, now: float) -> tuple[str, ...]:
        """Return a sentence for each job folder that belongs to no job."""
        folders = (path for path in (self._storage.directory / "jobs").iterdir() if path.name.isdecimal())
        return tuple(
            f"{path} belongs to no job that Spud knows; look at it, and remove it by hand"
            for path in sorted(folders)
            if now - path.lstat().st_mtime > _DAY_S and not self._left.knows(int(path.name))
        )

    # What jobs have left

    def _of_jobs(self, limits: Limits, now: float) -> Iterator[Step]:
        behind = {(entry.job_id, entry.kind): entry for entry in self._left.left()}
        code = self._left.code_of()
        unmeasured = [Left(entry.job_id, entry.kind, entry.finished_at) for entry in behind.values()]
        if limits.max_bytes is None:  # then only what goes has to be measured
            unmeasured = [removal.left for removal in removals(unmeasured, limits, now)]
        measured = [self._measured(behind[left.job_id, left.kind], code) for left in unmeasured]
        known = set(behind.values())
        self._sizes = {entry: size for entry, size in self._sizes.items() if entry in known}
        for removal in removals(measured, limits, now):
            entry = behind[removal.left.job_id, removal.left.kind]
            if removal.left.bytes or entry.attempts:
                yield self._step(entry, removal, code.get(entry.job_id, ()))

    def _measured(self, entry: LeftBehind, code: Mapping[int, Sequence[str]]) -> Left:
        if entry not in self._sizes:
            self._sizes[entry] = sum(map(disk_bytes, self._paths(entry)))
        size = self._sizes[entry]
        if entry.kind is Kind.RESULTS:
            size += sum(disk_bytes(path) for name in code.get(entry.job_id, ()) for path in self._kept(name))
        return Left(entry.job_id, entry.kind, entry.finished_at, size)

    def _step(self, entry: LeftBehind, removal: Removal, code: Sequence[str]) -> Step:
        item = PruneItem(
            Category(entry.kind),
            f"{entry.kind} of job {entry.job_id}",
            removal.left.bytes,
            removal.why,
            entry.job_id,
        )

        def remove(freed: Freed) -> None:
            with self._left.removing(entry.job_id, entry.kind, time.time(), removal.why) as may_remove:
                if not may_remove:
                    return
                for path in self._paths(entry):
                    self._trash.throw(path)
                self._remove_empty(entry)
            if entry.kind is Kind.RESULTS:
                for name in code:
                    self._release(name, freed)
            self._trash.empty(freed)

        return Step(item, remove)

    def _paths(self, entry: LeftBehind) -> list[Path]:
        """Return what belongs to a thing; some of it may never have been there."""
        roots = [self._directory(entry, number) for number in entry.attempts]
        match entry.kind:
            case Kind.WORKSPACE:
                names = ("workspace", "workspace.partial", "home", "passwd")
                return [root.root / name for root in roots for name in names]
            case Kind.RESULTS:
                checkpoints = self._storage.directory / "jobs" / str(entry.job_id) / "checkpoints"
                return [*(root.output for root in roots), checkpoints]
            case Kind.LOG:
                return [root.log for root in roots]

    def _directory(self, entry: LeftBehind, attempt: int) -> JobDirectory:
        return JobDirectory.of(self._storage.directory, entry.job_id, attempt)

    def _remove_empty(self, entry: LeftBehind) -> None:
        roots = [self._directory(entry, number).root for number in entry.attempts]
        for folder in (*roots, self._storage.directory / "jobs" / str(entry.job_id)):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    # Code that no job needs

    def _code(self, now: float) -> Iterator[Step]:
        needed = {name for names in self._left.code_of().values() for name in names}
        for path in sorted((self._storage.directory / "snapshots").iterdir()):
            name = path.name.partition(".")[0]
            if not _CODE.fullmatch(path.name) or name in needed or now - path.stat().st_mtime < _DAY_S:
                continue
            item = PruneItem(Category.CODE, f"code {name[:12]}", disk_bytes(path), "no job needs it")
            yield Step(item, lambda freed, name=name: self._release(name, freed))  # type: ignore[misc]

    def _kept(self, name: str) -> list[Path]:
        """Return the files of code or a diff, by its hash."""
        return [path for path in (self._storage.directory / "snapshots").glob(f"{name}*") if path.is_file()]

    def _release(self, name: str, freed: Freed) -> None:
        self._left.release_code(name, lambda: self._remove_code(name))
        self._trash.empty(freed)

    def _remove_code(self, name: str) -> None:
        """Remove code unless it has arrived anew: its job is about to be recorded then."""
        for path in self._kept(name):
            aside = path.with_name(f"{_REMOVED_PREFIX}{path.name}")
            path.rename(aside)
            if time.time() - aside.stat().st_mtime < _FRESH_S:
                aside.rename(path)
            else:
                self._trash.throw(aside)

    # What is in nobody's name

    def _leftovers(self, now: float) -> Iterator[Step]:
        for pattern in _LEFTOVERS:
            for path in self._storage.directory.glob(pattern):
                if now - path.lstat().st_mtime > _DAY_S:
                    item = PruneItem(Category.LEFTOVER, path.name, disk_bytes(path), "cut off in its making")
                    yield Step(item, lambda freed, path=path: self._discard(path, freed))  # type: ignore[misc]

    def _discard(self, path: Path, freed: Freed) -> None:
        self._trash.throw(path)
        self._trash.empty(freed)

    def _unused(self, limits: Limits, now: float) -> list[Step]:
        try:
            idle = self._images.idle(limits, now)
        except SpudError as error:
            logger.warning("Unused images stay for now: %s", error.message)
            return []
        return [
            Step(
                PruneItem(Category.IMAGE, image.name, image.bytes, image.why),
                lambda freed, image=image: self._images.remove(image, freed),  # type: ignore[misc]
            )
            for image in idle
        ]
