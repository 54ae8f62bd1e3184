"""The launch of an attempt: from its reservation to a running container.

Each step asks what is there already, so that the same steps launch a new attempt and adopt one that a
dead scheduler left behind.
"""

from __future__ import annotations

import errno
import logging
import tarfile
import time
import zlib

from appliance.containers.arguments import container_arguments, container_name
from appliance.containers.engine import (
    Container,
    EngineUnavailable,
    ImageMissing,
    LaunchRefused,
    NameTaken,
    Orphaned,
)
from appliance.datasets.library import DatasetLibrary
from appliance.errors import AccessDenied, NotFound
from appliance.executors.context import Context
from appliance.executors.patience import RETRY_S, Patience
from appliance.executors.workspace import prepare
from appliance.failpoints import reach
from appliance.jobs.box_store import RESTORED_ATTEMPT
from appliance.jobs.job import Attempt, Job, JobState, Verdict
from appliance.jobs.verdict import (
    box_restarted,
    cancelled_before_start,
    container_removed,
    disk_full,
    engine_died,
    forgotten,
    image_gone,
    image_missing,
    launch_refused,
)
from appliance.users.user import User

logger = logging.getLogger(__name__)


class DiskFull(Exception):
    """There is no room for the workspace."""


class Launch:
    """Brings the container of one attempt to run, from wherever it is."""

    def __init__(self, context: Context, job: Job, attempt: Attempt, memory_bytes: int) -> None:
        self.name = container_name(attempt, context.settings.engine)
        self._context = context
        self._storage = context.storage
        self._engine = context.engine
        self._job = job
        self._attempt = attempt
        self._memory_bytes = memory_bytes
        self._patiently = Patience(self.name)

    def run(self) -> Container | Verdict:
        """Return the container once it runs or has ended, or a verdict when it never will run."""
        try:
            container = self._find()
            if (container is None or not container.was_started) and (verdict := self._never(container)):
                return verdict
            if container is None:
                self._create()
            if container is None or not container.was_started:
                self._start()
        except ImageMissing:
            return self._image_missing()
        except Orphaned:
            return engine_died()
        except DiskFull:
            return disk_full(str(self._storage.directory))
        except (LaunchRefused, AccessDenied, NotFound) as error:
            return launch_refused(error.message)
        return self._record_running()

    def _never(self, container: Container | None) -> Verdict | None:
        """Return the verdict on an attempt that has not started and must not any more, if that is so."""
        job = self._storage.jobs.get(self._job.id)
        is_recorded = self._attempt.started_at is not None
        if container is None and not is_recorded and job.state is JobState.STOPPING:
            return cancelled_before_start(job.cancel_requested_by or "the scheduler")
        if self._attempt.boot_id != self._context.boot_id:
            # What had not been flushed when the power failed is gone: the engine may have forgotten that the
            # container ran, and the workspace may be there with empty files.
            return box_restarted()
        if container is None and self._attempt.id <= self._restored_attempt():
            return forgotten()
        return container_removed() if container is None and is_recorded else None

    def _restored_attempt(self) -> int:
        """Return the last attempt of which the store may know less than was so, since it was restored."""
        return int(self._storage.box.fact(RESTORED_ATTEMPT) or 0)

    def _find(self) -> Container | None:
        """Return the attempt's container; raise LaunchRefused when its name is another's."""
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container and self._attempt.token and container.token != self._attempt.token:
            raise self._name_taken()
        return container

    def _name_taken(self) -> LaunchRefused:
        return LaunchRefused(
            f"a container {self.name} that is not this attempt's is in the way;"
            f" remove it with: docker rm {self.name}, or set another [engine] prefix"
        )

    def _start(self) -> None:
        """Start the container, once: an engine that died over it may have run it and not know.

        Raises Orphaned, when nothing of it runs any more, and LaunchRefused.
        """
        asked_at = self._attempt.start_asked_at
        while asked_at is None or not self._is_started(asked_at):
            asked_at = asked_at or self._storage.lifecycle.record_start_asked(self._attempt)
            try:
                self._engine.start(self.name)
                break
            except EngineUnavailable as error:
                logger.warning("%s waits: %s", self.name, error.message)
                time.sleep(RETRY_S)
                if not error.was_asked:
                    asked_at = None
            except (LaunchRefused, Orphaned) as error:
                self._settle_refusal(error)
                break
        reach("start.done")

    def _is_started(self, asked_at: float) -> bool:
        """Return whether the container was started, or is gone; raise Orphaned when nobody can know."""
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container is None or container.was_started:
            return True
        if (self._patiently(self._engine.started_at) or 0) > asked_at:
            self._patiently(lambda: self._engine.kill_orphan(container))
            raise Orphaned(f"The engine died while it started {self.name}.")
        return False

    def _settle_refusal(self, error: LaunchRefused | Orphaned) -> None:
        """Return when the container was started all the same; raise the error when it was not."""
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container and container.was_started:
            return
        if container and isinstance(error, Orphaned):
            self._patiently(lambda: self._engine.kill_orphan(container))
        raise error

    def _create(self) -> None:
        owner = self._storage.users.get(self._job.owner)
        image = self._image()
        self._prepare(owner)
        reach("workspace.ready")
        secrets = self._storage.secrets.values(owner.id, self._job.spec.secrets)
        self._check_data()
        arguments = container_arguments(
            self._job,
            self._attempt,
            owner,
            self._storage.job_directory(self._attempt),
            image,
            self._memory_bytes,
            self._context.settings,
            secrets,
        )
        reach("create.asked")
        try:
            self._patiently(lambda: self._engine.create(arguments))
        except NameTaken:
            if self._find() is None:
                raise self._name_taken() from None
            logger.info("Adopted %s, created before", self.name)
        reach("create.done")

    def _check_data(self) -> None:
        """Raise AccessDenied when a data set has become a link to where jobs have no business."""
        data = self._context.settings.data
        for name in self._job.spec.data:
            DatasetLibrary(data.directory).folder(name, data.roots)

    def _prepare(self, owner: User) -> None:
        """Make the folders; whatever is wrong with them or with the code is the end of the attempt."""
        directory = self._storage.job_directory(self._attempt)
        try:
            prepare(directory, self._storage.snapshots, self._job.snapshot, owner)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull from None
            raise LaunchRefused(f"the job's folders could not be made: {error}") from error
        except (ValueError, OverflowError, EOFError, zlib.error, tarfile.TarError) as error:
            raise LaunchRefused(f"the job's code could not be unpacked: {error}") from error

    def _image(self) -> str:
        """Return what to run in: the very image of the attempt, or else the one of the name asked for."""
        if self._attempt.image_digest:
            return self._attempt.image_digest
        name = self._image_name()
        for candidate in (f"spud/{name}:latest", name):
            if image := self._patiently(lambda c=candidate: self._engine.find_image(c)):  # type: ignore[misc]
                return image.name
        raise ImageMissing(name)

    def _image_name(self) -> str:
        return self._job.spec.image or self._context.settings.images.default

    def _image_missing(self) -> Verdict:
        if digest := self._attempt.image_digest:
            return image_gone(digest, ran_before=self._job.image_digest is not None)
        images = self._patiently(self._engine.images)
        return image_missing(self._image_name(), sorted(image.short_name for image in images))

    def _record_running(self) -> Container | Verdict:
        container = self._patiently(lambda: self._engine.inspect(self.name))
        if container is None:
            return container_removed()
        started_at = container.started_at or time.time()
        digest = self._attempt.image_digest or container.image_digest
        self._storage.lifecycle.record_running(self._attempt, started_at, digest)
        logger.info("Running %s", self.name)
        reach("running.recorded")
        return container
