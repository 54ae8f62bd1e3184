"""The scheduler: the only process that changes a job's state, and the only one that talks to the engine.

A tick is a list of verbs. It runs when the store changes, when an attempt ends, and every second; each
tick looks at what is, not at what happened, so nothing depends on a tick that was missed.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Mapping

from appliance.config import Settings
from appliance.containers.cgroup import MemoryPoller
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.context import Context, boot_id
from appliance.executors.local import LocalExecutor
from appliance.failpoints import reach
from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.gpus.xid import XidWatch
from appliance.jobs.box import Box
from appliance.jobs.job import Job, JobState
from appliance.jobs.reason import Reason
from appliance.jobs.verdict import cancelled_before_start
from appliance.scheduler.housekeeper import Housekeeper
from appliance.scheduler.lock import FILE_NAME, hold
from appliance.scheduler.placement import Card, Placement, Plan, cores, plan
from appliance.scheduler.survey import Surveyor
from appliance.storage import Storage, open_storage

logger = logging.getLogger(__name__)

_POLL_S = 0.02
"""How often the store's change counter is read: a few microseconds each time."""
_TICK_S = 1.0


class Scheduler:
    """One scheduler on one store."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings = settings
        self._jobs = storage.jobs
        self._box = storage.box
        engine = DockerEngine(settings.engine, settings.gpus, storage.box.store_id())
        self._woken = threading.Event()
        driver = NvmlDriver(settings.gpus.library)
        gpus, xids = Inventory(driver), XidWatch(driver)
        self._surveyor = Surveyor(storage, engine, gpus, xids, settings, on_change=self._woken.set)
        self._boot_id = boot_id()
        context = Context(storage, engine, settings, gpus, xids, MemoryPoller(), self._boot_id)
        self._executor = LocalExecutor(context, on_end=self._woken.set)
        self._stopping = False
        self._waiting: dict[int, str] = {}

    def run(self) -> None:
        """Schedule until `stop`; containers run on after it."""
        self._surveyor.begin()
        while not self._stopping:
            seen = self._jobs.version()
            self._woken.clear()
            self._tick_safely()
            self._sleep(seen)

    def stop(self) -> None:
        """Let `run` return within its next poll; no more than a flag, since a signal handler sets it."""
        self._stopping = True

    def tick(self) -> None:
        """Do all that is due."""
        if (box := self._surveyor.box) is None:
            return
        self._adopt_attempts(box)
        self._cancel()
        self._stop_overdue()
        self._retry()
        self._start_next(box)

    def _tick_safely(self) -> None:
        try:
            self.tick()
        except Exception:
            logger.exception("A tick failed; the next one tries again")
            time.sleep(_TICK_S)

    def _sleep(self, seen: int) -> None:
        """Sleep until something has changed, an attempt has ended or a second is over."""
        deadline = time.monotonic() + _TICK_S
        while not self._stopping and time.monotonic() < deadline and self._jobs.version() == seen:
            if self._woken.wait(_POLL_S):
                return

    # The verbs of a tick

    def _adopt_attempts(self, box: Box) -> None:
        """See to it that every open attempt has its watch, also those an earlier scheduler opened."""
        for job, attempt in self._jobs.active():
            self._executor.watch(job, attempt, box.memory_bytes)

    def _cancel(self) -> None:
        for job in self._jobs.to_cancel():
            by = job.cancel_requested_by or ""
            if job.state is JobState.PENDING:
                self._jobs.finish_pending(job.id, cancelled_before_start(by))
            elif job.state is not JobState.STOPPING:
                self._stop(job, Reason.CANCELLED, f"cancelled by {by}")

    def _retry(self) -> None:
        for job in self._jobs.to_retry():
            self._jobs.retry(job)

    def _stop_overdue(self) -> None:
        for job, _attempt in self._jobs.active():
            if job.state is JobState.RUNNING and _is_overdue(job.started_at, job.spec.time):
                self._stop(job, Reason.TIME_LIMIT, "stopped at its time limit")

    def _stop(self, job: Job, reason: Reason, text: str) -> None:
        if self._jobs.stop(job.id, reason, text):
            self._executor.wake(job)

    def _start_next(self, box: Box) -> None:
        if box.engine_error:
            self._explain({}, dict.fromkeys(("gpus", "cpus"), "the Docker engine, which does not answer"))
            return
        plan = self._plan(box)
        for placement in plan.placements:
            self._start(placement, box)
        self._explain(plan.waiting, plan.lanes)

    def _plan(self, box: Box) -> Plan:
        depth = self._settings.scheduler.backfill_depth
        reservations = self._jobs.reservations()
        cards = [
            Card(gpu, tuple(held for held in reservations if held.gpu_uuid == gpu.uuid)) for gpu in box.gpus
        ]
        on_cpus = [job for job, _ in self._jobs.active() if not job.spec.gpus]
        used_cpus = sum(cores(job.spec.cpus, box.cpus) for job in on_cpus)
        return plan(
            self._jobs.queue(gpus=True, limit=depth),
            self._jobs.queue(gpus=False, limit=depth),
            cards,
            box.cpus - used_cpus,
            box.cpus,
            time.time(),
        )

    def _start(self, placement: Placement, box: Box) -> None:
        attempt = self._jobs.start(placement.request.job_id, placement.shares, self._boot_id)
        if attempt:
            reach("start.reserved")
            job = self._jobs.get(attempt.job_id)
            self._executor.watch(job, attempt, box.memory_bytes)

    def _explain(self, waiting: Mapping[int, str], lanes: Mapping[str, str]) -> None:
        """Record why jobs wait, where that has changed."""
        changed: dict[int, str | None] = {
            job_id: reason for job_id, reason in waiting.items() if self._waiting.get(job_id) != reason
        }
        changed |= {job_id: None for job_id in self._waiting if job_id not in waiting}
        self._jobs.set_waiting_for(changed)
        self._waiting = dict(waiting)
        self._box.set_lanes(lanes)


def run(settings: Settings) -> None:
    """Run the scheduler in this process until `SIGTERM`; raises Conflict when another one has the store."""
    storage = open_storage(settings)
    scheduler = Scheduler(settings, storage)
    with hold(storage.directory / FILE_NAME):
        logger.info("Scheduling on %s", storage.directory)
        storage.database.check()
        Housekeeper(storage, settings).begin()
        _stop_on_signals(scheduler)
        scheduler.run()


def _stop_on_signals(scheduler: Scheduler) -> None:
    """Stop the scheduler on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())


def _is_overdue(started_at: float | None, limit_s: int | None) -> bool:
    return bool(started_at and limit_s and time.time() > started_at + limit_s)
