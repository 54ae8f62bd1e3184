"""The housekeeper removes what the retention no longer keeps: every hour, on a low disk, on request.

It works in a thread of its own, so that a large folder delays no job.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from appliance.config import Settings
from appliance.containers.docker import DockerImages
from appliance.errors import SpudError
from appliance.jobs.prune import (
    Category,
    PruneReport,
    PruneRequest,
    take_request,
    write_report,
)
from appliance.jobs.retention import Limits
from appliance.scheduler.clearing import Clearing, Step
from appliance.scheduler.idle_images import IdleImages, RemovableImages
from appliance.storage import Storage

logger = logging.getLogger(__name__)

_INTERVAL_S = 3600.0
_LOW_DISK_INTERVAL_S = 600.0
_FIRST_S = 60.0
_POLL_S = 1.0
_REPORT_EVERY_S = 0.5
_ITEMS = 1000
_KEPT = 100


class Housekeeper:
    """Keeps one box in order. `images` connects to the engine's images; by default that of the settings."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        images: Callable[[], RemovableImages] | None = None,
    ) -> None:
        self._storage = storage
        self._limits = Limits.of(settings.retention)
        self._min_free_bytes = settings.jobs.min_free_bytes
        self._images = IdleImages(storage, settings, images or (lambda: DockerImages(settings.engine.socket)))
        self._clearing = Clearing(storage, settings, self._images)
        self._woken = threading.Event()
        self._next_at = time.monotonic() + _FIRST_S
        self._last_at = 0.0

    @property
    def retiring(self) -> frozenset[str]:
        """Ids of the images that are being removed: no further job may be given one."""
        return self._images.retiring

    def begin(self) -> None:
        """Begin to keep house."""
        threading.Thread(target=self._keep_house, name="housekeeper", daemon=True).start()

    def wake(self) -> None:
        """Look at once whether somebody asked for a prune, or the disk is low."""
        self._woken.set()

    def _keep_house(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                logger.exception("The housekeeper failed; it tries again later")
                self._next_at = time.monotonic() + _LOW_DISK_INTERVAL_S
            self._woken.wait(_POLL_S)
            self._woken.clear()

    def look(self) -> None:
        """Do what is due: what somebody has asked for, else what the settings ask for."""
        if request := take_request(self._storage.box):
            self._answer(request)
        elif self._is_due():
            self._next_at = time.monotonic() + _INTERVAL_S
            self._last_at = time.monotonic()
            self._clear(self._limits)

    def _is_due(self) -> bool:
        now = time.monotonic()
        return now > self._next_at or (self._is_low() and now > self._last_at + _LOW_DISK_INTERVAL_S)

    def _is_low(self) -> bool:
        return shutil.disk_usage(self._storage.directory).free < self._min_free_bytes

    def _clear(self, limits: Limits) -> None:
        """Remove what goes by the limits, and say so in the log."""
        self._clearing.finish()
        freed = Counter[str]()
        steps = self._clearing.plan(limits, time.time())
        for step in steps:
            if failure := _carry_out(step, lambda count: freed.update(bytes=count)):
                logger.warning("%s", failure)
        if steps:
            logger.info("Removed %d things that are kept no longer: %d bytes", len(steps), freed["bytes"])

    def _answer(self, request: PruneRequest) -> None:
        """Do what was asked for and report, also when it fails: nobody shall ask for the same for ever."""
        try:
            answer = _Answer(self._storage, request)
            answer.run(self._clearing, self._limits_of(request))
        except Exception as error:
            logger.exception("The prune that %s asked for failed", request.by)
            text = error.message if isinstance(error, SpudError) else "see the scheduler's log"
            write_report(
                self._storage.box,
                PruneReport(request.id, request.dry_run, is_done=True, error=f"The prune failed: {text}"),
            )

    def _limits_of(self, request: PruneRequest) -> Limits:
        if request.older_than_s is None:
            return self._limits
        return self._limits.shortened(request.older_than_s, with_results=request.with_results)


class _Answer:
    """The answer to one request, written to the store as it grows."""

    def __init__(self, storage: Storage, request: PruneRequest) -> None:
        self._box = storage.box
        self._request = request
        self._steps: Sequence[Step] = ()
        self._done_bytes = 0
        self._written_at = 0.0

    def run(self, clearing: Clearing, limits: Limits) -> None:
        now = time.time()
        self._write([], is_done=False)
        self._steps = clearing.plan(limits, now)
        kept: list[str] = []
        if not self._request.dry_run:
            logger.info("%s asked for a prune of %d things", self._request.by, len(self._steps))
            self._write(kept, is_done=False)
            kept += filter(None, (_carry_out(step, self._progress) for step in self._steps))
            kept += clearing.finish(self._progress)
        self._write([*kept, *clearing.strangers(now)], is_done=True)

    def _progress(self, count: int) -> None:
        self._done_bytes += count
        if time.monotonic() > self._written_at + _REPORT_EVERY_S:
            self._write([], is_done=False)

    def _write(self, kept: Sequence[str], *, is_done: bool) -> None:
        self._written_at = time.monotonic()
        counts, sizes = Counter[Category](), Counter[Category]()
        for step in self._steps:
            counts[step.item.category] += 1
            sizes[step.item.category] += step.item.bytes
        write_report(
            self._box,
            PruneReport(
                self._request.id,
                self._request.dry_run,
                is_done,
                tuple(step.item for step in self._steps[:_ITEMS]),
                dict(counts),
                dict(sizes),
                self._done_bytes,
                tuple(kept[:_KEPT]),
            ),
        )


def _carry_out(step: Step, freed: Callable[[int], None]) -> str | None:
    """Remove a thing; return a sentence when that is not possible."""
    try:
        step.remove(freed)
    except (OSError, SpudError) as error:
        reason = error.message if isinstance(error, SpudError) else f"{error.strerror}: {error.filename}"
        return f"{step.item.name} could not be removed: {reason}"
    return None
