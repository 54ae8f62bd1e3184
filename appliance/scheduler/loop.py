"""The scheduler: the only process that changes a job's state, and the only one that talks to the engine.

A tick is a list of verbs. It runs when somebody has changed the store, when an attempt ends, and every
second; each tick looks at what is, not at what happened, so nothing depends on a tick that was missed.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping, Sequence

from appliance.config import Settings
from appliance.containers.cgroup import MemoryPoller
from appliance.containers.docker_builds import DockerBuilds
from appliance.containers.docker_engine import DockerEngine
from appliance.containers.docker_network import DockerNetwork
from appliance.containers.network import NetworkGuard
from appliance.executors.context import Context, boot_id
from appliance.executors.local import LocalExecutor
from appliance.executors.preparer import Preparer
from appliance.failpoints import reach
from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.gpus.xid import XidWatch
from appliance.jobs.box import Box, Image
from appliance.jobs.job import Attempt, Job, JobState, Request
from appliance.jobs.reason import Reason
from appliance.jobs.verdict import cancelled_before_start
from appliance.scheduler.housekeeper import Housekeeper
from appliance.scheduler.lock import FILE_NAME, hold
from appliance.scheduler.placement import Placement
from appliance.scheduler.queue import Queue
from appliance.scheduler.survey import Surveyor
from appliance.storage import Storage, open_storage

logger = logging.getLogger(__name__)

_POLL_S = 0.25
"""How often the store is looked at for changes of which no ring was heard."""
_TICK_S = 1.0

Active = Sequence[tuple[Job, Attempt]]


class Scheduler:
    """One scheduler on one store."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._jobs = storage.jobs
        self._lifecycle = storage.lifecycle
        self._doorbell = storage.doorbell
        self._boot_id = boot_id()
        engine = DockerEngine(settings.engine, settings.gpus, storage.box.store_id())
        driver = NvmlDriver(settings.gpus.library)
        gpus, xids = Inventory(driver), XidWatch(driver)
        ring = storage.doorbell.ring
        guard = NetworkGuard(DockerNetwork(settings.engine.socket), settings)
        self._surveyor = Surveyor(storage, engine, guard, gpus, xids, settings, on_change=ring)
        self._preparer = Preparer(storage, DockerBuilds(settings.engine.socket), settings, on_change=ring)
        context = Context(storage, engine, settings, gpus, xids, MemoryPoller(), self._boot_id)
        self._executor = LocalExecutor(context, on_end=ring)
        self._housekeeper = Housekeeper(storage, settings)
        self._queue = Queue(
            storage, _UsableImages(self._preparer, self._housekeeper), settings.scheduler.backfill_depth
        )
        self._stopping = False

    def run(self) -> None:
        """Schedule until `stop`; containers run on after it."""
        self._doorbell.listen()
        self._surveyor.begin()
        self._housekeeper.begin()
        while not self._stopping:
            seen = self._jobs.version()
            self._tick_safely()
            self._sleep(seen)

    def stop(self) -> None:
        """Let `run` return within its next poll; no more than a flag, since a signal handler sets it."""
        self._stopping = True

    def tick(self) -> None:
        """Do all that is due."""
        if (box := self._surveyor.box) is None:
            return
        active = self._jobs.active()
        self._adopt(active, box)
        self._cancel()
        self._stop_overdue(active)
        self._retry()
        self._start_next(active, box)

    def _tick_safely(self) -> None:
        try:
            self.tick()
        except Exception:
            logger.exception("A tick failed; the next one tries again")
            time.sleep(_TICK_S)

    def _sleep(self, seen: int) -> None:
        """Sleep until somebody rings, something has changed or a second is over."""
        deadline = time.monotonic() + _TICK_S
        while not self._stopping and time.monotonic() < deadline:
            if self._doorbell.wait(_POLL_S) or self._jobs.version() != seen:
                return

    # The verbs of a tick

    def _adopt(self, active: Active, box: Box) -> None:
        """See to it that every open attempt is looked after, also those an earlier scheduler opened."""
        for job, attempt in active:
            if attempt.placed_at:
                self._executor.watch(job, attempt, box.memory_bytes)
            elif job.state is JobState.STOPPING:
                self._preparer.cancel(attempt)
            elif attempt.image_digest is None:
                self._preparer.prepare(job, attempt)

    def _cancel(self) -> None:
        for job in self._jobs.to_cancel():
            by = job.cancel_requested_by or ""
            if job.state is JobState.PENDING:
                self._lifecycle.finish_pending(job.id, cancelled_before_start(by))
            elif job.state is not JobState.STOPPING:
                self._stop(job, Reason.CANCELLED, f"{by} asked for its end")

    def _stop_overdue(self, active: Active) -> None:
        for job, _attempt in active:
            if job.state is JobState.RUNNING and _is_overdue(job.started_at, job.spec.time):
                self._stop(job, Reason.TIME_LIMIT, "stopped at its time limit")

    def _stop(self, job: Job, reason: Reason, text: str) -> None:
        if self._lifecycle.stop(job.id, reason, text):
            self._executor.wake(job)

    def _retry(self) -> None:
        for job in self._jobs.to_retry():
            self._lifecycle.retry(job)

    def _start_next(self, active: Active, box: Box) -> None:
        due = self._queue.next(active, box)
        for placement in due.placements:
            self._start(placement, box)
        for request in due.without_image:
            text = "its image is made or fetched first"
            if attempt := self._lifecycle.begin_image(request.job_id, self._boot_id, text):
                self._preparer.prepare(self._jobs.get(request.job_id), attempt)

    def _start(self, placement: Placement, box: Box) -> None:
        request = placement.request
        if request.attempt_id is None:
            attempt = self._lifecycle.start(
                request.job_id, placement.shares, self._boot_id, request.image_digest
            )
        else:
            attempt = self._lifecycle.place(request.attempt_id, placement.shares, self._boot_id)
        if attempt:
            reach("start.reserved")
            self._executor.watch(self._jobs.get(attempt.job_id), attempt, box.memory_bytes)


class _UsableImages:
    """The images that jobs can run in, without those that the housekeeper is about to remove."""

    def __init__(self, preparer: Preparer, housekeeper: Housekeeper) -> None:
        self._preparer = preparer
        self._housekeeper = housekeeper

    def resolve(self, request: Request, local: Mapping[str, Image]) -> str | None:
        """Return the id of the image that the job will run in, None while it must be made or fetched."""
        image = self._preparer.resolve(request, local)
        return None if image in self._housekeeper.retiring else image


def run(settings: Settings) -> None:
    """Run the scheduler in this process until `SIGTERM`; raises Conflict when another one has the store."""
    storage = open_storage(settings)
    with hold(storage.directory / FILE_NAME):
        storage.database.check()
        scheduler = Scheduler(settings, storage)
        logger.info("Scheduling on %s", storage.directory)
        _stop_on_signals(scheduler)
        scheduler.run()


def _stop_on_signals(scheduler: Scheduler) -> None:
    """Stop the scheduler on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())


def _is_overdue(started_at: float | None, limit_s: int | None) -> bool:
    return bool(started_at and limit_s and time.time() > started_at + limit_s)
