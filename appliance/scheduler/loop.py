"""The scheduler: the only process that changes a job's state, and the only one that talks to the engine.

A tick is a list of verbs. It runs when the store changes, when an attempt ends, and every second; each
tick looks at what is, not at what happened, so nothing depends on a tick that was missed.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence

from appliance.config import Settings
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.local import LocalExecutor, boot_id
from appliance.jobs.box import Box
from appliance.jobs.job import Job, JobState, Reason
from appliance.jobs.verdict import cancelled_before_start
from appliance.scheduler.lock import FILE_NAME, hold
from appliance.scheduler.placement import Placement, Waiting, cores, place
from appliance.scheduler.survey import Surveyor
from appliance.storage import Storage, open_storage

logger = logging.getLogger(__name__)

_POLL_S = 0.02
"""How often the store's change counter is read: a few microseconds each time."""
_TICK_S = 1.0


class Scheduler:
    """One scheduler on one store."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._jobs = storage.jobs
        engine = DockerEngine(settings.engine, settings.gpus, storage.jobs.store_id())
        self._woken = threading.Event()
        self._surveyor = Surveyor(storage.jobs, engine, settings)
        self._executor = LocalExecutor(storage, engine, settings, on_end=self._woken.set)
        self._boot_id = boot_id()
        self._stopping = False

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
        self._cancel_pending()
        self._stop_cancelled()
        self._stop_overdue()
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
            self._executor.watch(job, attempt, self._boot_id, box.memory_bytes)

    def _cancel_pending(self) -> None:
        for job in self._jobs.pending_cancelled():
            if job.cancel_requested_by:
                self._jobs.finish_pending(job.id, cancelled_before_start(job.cancel_requested_by))

    def _stop_cancelled(self) -> None:
        for job, attempt in self._jobs.active():
            if job.cancel_requested_by and job.state is not JobState.STOPPING:
                self._jobs.stop(job.id, Reason.CANCELLED, f"cancelled by {job.cancel_requested_by}")
                self._executor.wake(attempt)

    def _stop_overdue(self) -> None:
        for job, attempt in self._jobs.active():
            if job.state is JobState.RUNNING and _is_overdue(job.started_at, job.spec.time):
                self._jobs.stop(job.id, Reason.TIME_LIMIT, "stopped at its time limit")
                self._executor.wake(attempt)

    def _start_next(self, box: Box) -> None:
        pending = self._jobs.pending()
        if box.engine_error:
            waiting = [Waiting(job, "the Docker engine, which does not answer") for job in pending]
        else:
            placements, waiting = self._place(pending, box)
            for placement in placements:
                self._start(placement, box)
        for wait in waiting:
            self._jobs.set_waiting_for(wait.job, wait.reason)

    def _place(self, pending: Sequence[Job], box: Box) -> tuple[list[Placement], list[Waiting]]:
        taken = {reservation.gpu_uuid for reservation in self._jobs.reservations()}
        free_gpus = [gpu for gpu in box.gpus if gpu.uuid not in taken]
        on_cpus = [job for job, _ in self._jobs.active() if not job.spec.gpus]
        used_cpus = sum(cores(job, box.cpus) for job in on_cpus)
        return place(pending, free_gpus, box.cpus - used_cpus, box.cpus)

    def _start(self, placement: Placement, box: Box) -> None:
        attempt = self._jobs.start(placement.job, placement.gpu_uuids, self._boot_id)
        if attempt:
            self._executor.watch(placement.job, attempt, self._boot_id, box.memory_bytes)


def run(settings: Settings) -> None:
    """Run the scheduler in this process until `SIGTERM`; raises Conflict when another one has the store."""
    storage = open_storage(settings)
    scheduler = Scheduler(settings, storage)
    with hold(storage.directory / FILE_NAME):
        logger.info("Scheduling on %s", storage.directory)
        _stop_on_signals(scheduler)
        scheduler.run()


def _stop_on_signals(scheduler: Scheduler) -> None:
    """Stop the scheduler on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stop())


def _is_overdue(started_at: float | None, limit_s: int | None) -> bool:
    return bool(started_at and limit_s and time.time() > started_at + limit_s)
