"""One attempt on this box, from its reservation to its verdict."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from appliance.containers.arguments import container_name
from appliance.containers.cgroup import MemoryUse
from appliance.containers.engine import Container
from appliance.errors import SpudError
from appliance.executors.context import Context
from appliance.executors.durability import flush
from appliance.executors.ending import check_gpus, judge_container, was_cut_off
from appliance.executors.launch import Launch
from appliance.executors.log_copy import LogCopy
from appliance.executors.patience import RETRY_S, Patience
from appliance.failpoints import reach
from appliance.jobs.job import Attempt, Job, JobState, Verdict
from appliance.jobs.log import append_notice
from appliance.jobs.reason import Outcome
from appliance.jobs.retry import again, final
from appliance.jobs.verdict import told_to_stop

logger = logging.getLogger(__name__)

_REMOVAL_S = 1.0
_KILLED = 137
"""Exit code of what ended by SIGKILL, whoever sent it."""


class AttemptRun:
    """Owns one attempt from the reservation to the verdict, on a thread of its own."""

    def __init__(self, context: Context, job: Job, attempt: Attempt, memory_bytes: int) -> None:
        self.name = container_name(attempt, context.settings.engine)
        self.job_id = job.id
        self._context = context
        self._jobs = context.storage.jobs
        self._lifecycle = context.storage.lifecycle
        self._engine = context.engine
        self._job = job
        self._attempt = attempt
        self._log = context.storage.job_directory(attempt).log
        self._launch = Launch(context, job, attempt, memory_bytes)
        self._patiently = Patience(self.name)
        self._woken = threading.Event()
        self._ended = threading.Event()

    def is_alive(self) -> bool:
        """Return whether the attempt still has its thread."""
        return not self._ended.is_set()

    def end(self) -> None:
        """Note that the thread is over."""
        self._ended.set()

    def wake(self) -> None:
        """Look at once whether the job shall stop."""
        self._woken.set()

    def run(self) -> None:
        """Launch or adopt the container, follow it to its end and record the verdict."""
        if self._is_over():
            return
        launched = self._launch.run()
        if isinstance(launched, Verdict):
            self._finish(launched, time.time())
            return
        memory = self._follow(launched)
        container = self._ended_container()
        reach("exit.seen")
        faults = self._release(container) if container else []
        reach("place.released")
        engine_started_at = self._patiently(self._engine.started_at)
        if container and was_cut_off(container, engine_started_at):
            append_notice(self._log, "The engine was down when the job ended; its last lines may be lost.")
        self._flush()
        job = self._jobs.get(self._job.id)
        verdict = judge_container(
            self._context, job, self._attempt, container, memory, faults, engine_started_at
        )
        self._finish(verdict, (container.finished_at if container else None) or time.time())

    def _is_over(self) -> bool:
        """Return whether another thread has ended the attempt since the tick looked that began this one."""
        attempts = self._jobs.attempts(self._job.id)
        return any(one.id == self._attempt.id and one.finished_at is not None for one in attempts)

    def _release(self, container: Container) -> list[str]:
        """Let others have GPUs and cores as soon as they are free; return what went wrong with the GPUs."""
        faults, quarantined = check_gpus(self._context, self._attempt, container)
        self._lifecycle.release(self._attempt, quarantined)
        return faults

    def _flush(self) -> None:
        """Let log and outputs outlive a power cut, as the verdict will that says that they are there."""
        try:
            flush(self._context.storage.directory)
        except OSError as error:
            logger.warning("The disk may not keep all that %s wrote: %s", self.name, error)

    def _finish(self, verdict: Verdict, finished_at: float) -> None:
        job = self._jobs.get(self._job.id)
        if verdict.outcome is Outcome.LOST and job.stop_reason:
            verdict = told_to_stop(verdict, job.stop_reason, job.cancel_requested_by)
        earlier = [one for one in self._jobs.attempts(self._job.id) if one.id != self._attempt.id]
        attempts = [*earlier, replace(self._attempt, verdict=verdict)]
        decision = again(self._job.spec, attempts, verdict, time.time())
        if decision is None:
            verdict = final(self._job.spec, attempts, verdict)
        self._lifecycle.finish(self._attempt, verdict, finished_at, decision)
        logger.info("Finished %s: %s (%s)", self.name, verdict.outcome, verdict.reason)
        reach("requeue.recorded" if decision else "finish.recorded")
        # The container stays for the reconciler to remove, since now is the next job's turn; but one whose
        # environment holds secrets goes at once.
        if self._job.spec.secrets:
            self._patiently(lambda: self._engine.remove(self.name))
            reach("container.removed")

    # From a running container to its end

    def _follow(self, launched: Container) -> MemoryUse | None:
        """Copy the log and heed requests to stop, until the container has ended."""
        log = LogCopy(
            self._engine,
            self.name,
            self._log,
            self._context.settings.jobs.log_max_bytes,
            self._job.spec.secrets,
            on_end=self.wake,
        )
        with self._context.memory.watch(launched.pid) as memory:
            log.begin()
            self.wake()
            while not log.is_done:
                self._woken.wait()
                self._woken.clear()
                if not log.is_done and self._shall_stop():
                    reach("stop.recorded")
                    self._patiently(self._stop)
                    log.wait()
        reach("log.drained")
        return memory.use

    def _shall_stop(self) -> bool:
        try:
            return self._is_stopping()
        except SpudError as error:
            # Asked again soon: leaving here would give the log a second pump.
            logger.warning("%s waits: %s", self.name, error.message)
            time.sleep(RETRY_S)
            self.wake()
            return False

    def _stop(self) -> None:
        self._engine.stop(self.name, self._context.settings.scheduler.stop_grace_seconds)

    def _ended_container(self) -> Container | None:
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container and container.exit_code == _KILLED and not self._is_stopping():
            # Removed by force it is killed first: then it is gone a moment later.
            time.sleep(_REMOVAL_S)
            return self._patiently(lambda: self._engine.inspect(self.name))
        return container

    def _is_stopping(self) -> bool:
        return self._jobs.get(self._job.id).state is JobState.STOPPING
