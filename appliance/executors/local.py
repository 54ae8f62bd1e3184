"""LocalExecutor: runs attempts as containers on this box, each watched by one thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from appliance.executors.attempt_run import AttemptRun
from appliance.executors.context import Context
from appliance.jobs.job import Attempt, Job

logger = logging.getLogger(__name__)

_FAILED_PAUSE_S = 5.0


class LocalExecutor:
    """The attempts that run on this box. `on_end` is called, from another thread, when one is over."""

    def __init__(self, context: Context, on_end: Callable[[], None]) -> None:
        self._context = context
        self._on_end = on_end
        self._runs: dict[int, AttemptRun] = {}

    def watch(self, job: Job, attempt: Attempt, memory_bytes: int) -> None:
        """Launch or adopt the attempt, unless a thread has it already."""
        known = self._runs.get(attempt.id)
        if known and known.is_alive():
            return
        run = AttemptRun(self._context, job, attempt, memory_bytes)
        self._runs = {key: other for key, other in self._runs.items() if other.is_alive()}
        self._runs[attempt.id] = run
        try:
            threading.Thread(target=self._follow, args=(run,), name=run.name, daemon=True).start()
        except RuntimeError:  # the system gives no thread; the next tick asks again
            run.end()
            raise

    def wake(self, job: Job) -> None:
        """Let the threads of the job's attempts look at once whether it shall stop."""
        for run in self._runs.values():
            if run.job_id == job.id:
                run.wake()

    def _follow(self, run: AttemptRun) -> None:
        try:
            run.run()
        except Exception:
            logger.exception("The watch over %s failed; a new one takes over", run.name)
            time.sleep(_FAILED_PAUSE_S)
        finally:
            run.end()
            self._on_end()
