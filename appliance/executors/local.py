"""LocalExecutor: runs attempts as containers on this box, each watched by one thread of its own.

A thread owns its attempt from the reservation to the verdict and asks, at every step, what is there
already: so the same steps launch a new attempt and adopt one that a dead scheduler left behind.
"""

from __future__ import annotations

import errno
import logging
import tarfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance.config import Settings
from appliance.containers.arguments import container_arguments, container_name
from appliance.containers.engine import (
    Container,
    ContainerEngine,
    EngineUnavailable,
    ImageMissing,
    LaunchRefused,
    NameTaken,
)
from appliance.errors import AccessDenied, SpudError
from appliance.executors.log_pump import is_whole, pump
from appliance.executors.workspace import prepare
from appliance.jobs.box import Image
from appliance.jobs.job import Attempt, Job, JobState, Verdict
from appliance.jobs.log import tail
from appliance.jobs.verdict import (
    box_restarted,
    cancelled_before_start,
    container_removed,
    disk_full,
    image_missing,
    judge_exit,
    launch_refused,
)
from appliance.storage import Storage
from appliance.users.user import User

logger = logging.getLogger(__name__)

_RETRY_S = 0.5
_FAILED_PAUSE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 1.0
_EVIDENCE_LINES = 200
_REMOVAL_S = 1.0
_KILLED = 137
"""Exit code of what ended by SIGKILL, whoever sent it."""
_LOST_POWER = 255
"""Exit code that the engine gives a container which ended with the box or with the engine's shim."""

T = TypeVar("T")


class DiskFull(Exception):
    """There is no room for the workspace."""


class LocalExecutor:
    """The attempts that run on this box. `on_end` is called, from another thread, when one is over."""

    def __init__(
        self, storage: Storage, engine: ContainerEngine, settings: Settings, on_end: Callable[[], None]
    ) -> None:
        self._storage = storage
        self._engine = engine
        self._settings = settings
        self._on_end = on_end
        self._watches: dict[int, _Watch] = {}

    def watch(self, job: Job, attempt: Attempt, boot_id: str, memory_bytes: int) -> None:
        """Launch or adopt the attempt, unless a thread has it already."""
        known = self._watches.get(attempt.id)
        if known and known.is_alive():
            return
        watch = _Watch(self._storage, self._engine, self._settings, job, attempt, boot_id, memory_bytes)
        self._watches = {key: other for key, other in self._watches.items() if other.is_alive()}
        self._watches[attempt.id] = watch
        threading.Thread(target=self._run, args=(watch,), name=watch.name, daemon=True).start()

    def wake(self, job: Job) -> None:
        """Let the threads of the job's attempts look at once whether it shall stop."""
        for watch in self._watches.values():
            if watch.job_id == job.id:
                watch.wake()

    def _run(self, watch: _Watch) -> None:
        try:
            watch.run()
        except Exception:
            logger.exception("The watch over %s failed; a new one takes over", watch.name)
            time.sleep(_FAILED_PAUSE_S)
        finally:
            watch.end()
            self._on_end()


class _Watch:
    """One attempt, from reservation to verdict."""

    def __init__(
        self,
        storage: Storage,
        engine: ContainerEngine,
        settings: Settings,
        job: Job,
        attempt: Attempt,
        boot_id: str,
        memory_bytes: int,
    ) -> None:
        self.name = container_name(attempt, settings.engine)
        self.job_id = job.id
        self._storage = storage
        self._engine = engine
        self._settings = settings
        self._job = job
        self._attempt = attempt
        self._boot_id = boot_id
        self._memory_bytes = memory_bytes
        self._directory = storage.job_directory(attempt)
        self._woken = threading.Event()
        self._drained = threading.Event()
        self._ended = threading.Event()

    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def end(self) -> None:
        self._ended.set()

    def wake(self) -> None:
        self._woken.set()

    def run(self) -> None:
        container = None
        verdict = self._launch()
        if verdict is None:
            self._follow()
            container = self._ended_container()
            verdict = self._judge(container)
        finished_at = (container.finished_at if container else None) or time.time()
        self._storage.jobs.finish(self._attempt, verdict, finished_at)
        # The container stays for the reconciler to remove: now is the next job's turn.
        logger.info("Finished %s: %s (%s)", self.name, verdict.outcome, verdict.reason)

    # From reservation to a running container

    def _launch(self) -> Verdict | None:
        """Bring the container to run, from wherever it is; return a verdict when it never will."""
        try:
            container = self._patiently(lambda: self._engine.inspect(self.name))
            if container is None:
                if self._attempt.started_at:
                    return container_removed()
                if self._is_stopping():
                    return cancelled_before_start(self._canceller())
                self._create()
            if container is None or not container.was_started:
                self._start()
        except ImageMissing:
            images = self._patiently(self._engine.images)
            return image_missing(self._image_name(), sorted(image.short_name for image in images))
        except DiskFull:
            return disk_full(str(self._storage.directory))
        except (LaunchRefused, AccessDenied) as error:
            return launch_refused(error.message)
        return self._record_running()

    def _start(self) -> None:
        try:
            self._patiently(lambda: self._engine.start(self.name))
        except LaunchRefused:
            container = self._patiently(lambda: self._engine.inspect(self.name))
            if container is None or not container.was_started:
                raise

    def _create(self) -> None:
        owner = self._storage.users.get(self._job.owner)
        image = self._find_image()
        self._prepare(owner)
        arguments = container_arguments(
            self._job, self._attempt, owner, self._directory, image.name, self._memory_bytes, self._settings
        )
        try:
            self._patiently(lambda: self._engine.create(arguments))
        except NameTaken:
            if self._patiently(lambda: self._engine.inspect(self.name)) is None:
                raise LaunchRefused(
                    f"a container {self.name} that is not this Spud's is in the way;"
                    f" remove it with: docker rm {self.name}, or set another [engine] prefix"
                ) from None
            logger.info("Adopted %s, created before", self.name)

    def _prepare(self, owner: User) -> None:
        """Make the folders; whatever is wrong with them or with the code is the end of the attempt."""
        try:
            prepare(self._directory, self._storage.snapshots, self._job.snapshot, owner)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull from None
            raise LaunchRefused(f"the job's folders could not be made: {error}") from error
        except (ValueError, OverflowError, EOFError, zlib.error, tarfile.TarError) as error:
            raise LaunchRefused(f"the job's code could not be unpacked: {error}") from error

    def _image_name(self) -> str:
        return self._job.spec.image or self._settings.images.default

    def _find_image(self) -> Image:
        """Return the image, by Spud's own short name first."""
        name = self._image_name()
        for candidate in (f"spud/{name}:latest", name):
            if image := self._patiently(lambda c=candidate: self._engine.find_image(c)):  # type: ignore[misc]
                return image
        raise ImageMissing(name)

    def _record_running(self) -> Verdict | None:
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container is None:
            return container_removed()
        started_at = container.started_at or time.time()
        self._storage.jobs.record_running(self._attempt, started_at, container.image_digest)
        logger.info("Running %s", self.name)
        return None

    # From a running container to its end

    def _follow(self) -> None:
        """Copy the log and heed requests to stop, until the container has ended."""
        threading.Thread(target=self._pump, name=f"{self.name} log", daemon=True).start()
        self.wake()
        while not self._drained.is_set():
            self._woken.wait()
            self._woken.clear()
            if not self._drained.is_set() and self._shall_stop():
                self._patiently(self._stop)
                self._drained.wait()

    def _shall_stop(self) -> bool:
        try:
            return self._is_stopping()
        except SpudError as error:
            # Asked again soon: leaving here would give the log a second pump.
            logger.warning("%s waits: %s", self.name, error.message)
            time.sleep(_RETRY_S)
            self.wake()
            return False

    def _stop(self) -> None:
        self._engine.stop(self.name, self._settings.scheduler.stop_grace_seconds)

    def _pump(self) -> None:
        while not self._pump_to_end():
            time.sleep(_RETRY_S)
        self._drained.set()
        self.wake()

    def _pump_to_end(self) -> bool:
        """Copy the log until the container has ended and all of it is written; False when that failed."""
        try:
            pause_s = _FIRST_PAUSE_S
            while self._is_running():
                self._patiently(self._pump_following)
                # A log that the engine cannot follow must not become a busy loop.
                time.sleep(pause_s)
                pause_s = min(4 * pause_s, _LONGEST_PAUSE_S)
            if not self._patiently(lambda: is_whole(self._engine, self.name, self._directory.log)):
                self._patiently(self._pump_rest)
        except Exception:
            logger.exception("The log of %s could not be written; trying again", self.name)
            return False
        return True

    def _pump_following(self) -> None:
        limit = self._settings.jobs.log_max_bytes
        pump(self._engine, self.name, self._directory.log, limit, follow=True)

    def _pump_rest(self) -> None:
        limit = self._settings.jobs.log_max_bytes
        pump(self._engine, self.name, self._directory.log, limit, follow=False)

    def _is_running(self) -> bool:
        container = self._patiently(lambda: self._engine.inspect(self.name))
        return container is not None and container.is_running

    def _ended_container(self) -> Container | None:
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container and container.exit_code == _KILLED and not self._is_stopping():
            # Removed by force it is killed first: then it is gone a moment later.
            time.sleep(_REMOVAL_S)
            return self._patiently(lambda: self._engine.inspect(self.name))
        return container

    def _judge(self, container: Container | None) -> Verdict:
        job = self._storage.jobs.get(self._job.id)
        if container is None:
            return container_removed()
        if not container.was_started:
            return launch_refused(container.error)
        if container.exit_code == _LOST_POWER and self._attempt.boot_id != self._boot_id:
            return box_restarted()
        lines = tail(self._directory.log, _EVIDENCE_LINES)
        return judge_exit(container.exit_code or 0, job.stop_reason, job.cancel_requested_by, lines)

    # Asking

    def _is_stopping(self) -> bool:
        return self._storage.jobs.get(self._job.id).state is JobState.STOPPING

    def _canceller(self) -> str:
        return self._storage.jobs.get(self._job.id).cancel_requested_by or "the scheduler"

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the engine, again and again while it does not answer: its absence ends no job."""
        while True:
            try:
                return ask()
            except EngineUnavailable as error:
                logger.warning("%s waits: %s", self.name, error.message)
                time.sleep(_RETRY_S)


def boot_id() -> str:
    """Return what names this boot of the box, from the kernel's random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
