"""What Spud needs of a container engine, and how that can fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from appliance.containers.arguments import ContainerArguments
from appliance.errors import Conflict, NotFound, SpudError, Unavailable
from appliance.jobs.box import Image
from appliance.jobs.log import LogRecord


class EngineUnavailable(Unavailable):
    """The engine does not answer; what runs, runs on.

    `was_asked` is False when it is certain that the question did not reach it.
    """

    def __init__(self, message: str, *, was_asked: bool = True) -> None:
        super().__init__(message)
        self.was_asked = was_asked


class NameTaken(Conflict):
    """A container of that name exists: the attempt was launched before."""


class ImageMissing(NotFound):
    """No such image on this box."""


class LaunchRefused(SpudError):
    """The engine will not create or start such a container."""


class Orphaned(SpudError):
    """The engine died while it started the container: whether it runs, the engine does not know."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of Spud's as the engine has it; times are Unix seconds, `error` is the engine's word.

    `pid` is that of its first process on the box, None when it does not run. `token` is its attempt's, empty
    for a container from before there were tokens.
    """

    id: str
    name: str
    job_id: int
    attempt: int
    token: str
    pid: int | None
    is_running: bool
    was_started: bool
    exit_code: int | None
    error: str
    image_digest: str
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """What one question to the engine tells of each of Spud's containers; see `Container`."""

    id: str
    name: str
    job_id: int
    attempt: int
    token: str
    gpu_uuids: tuple[str, ...]
    is_running: bool


class ContainerEngine(Protocol):
    """The engine. Every call raises EngineUnavailable when it does not answer."""

    def create(self, arguments: ContainerArguments) -> None:
        """Create a container; raises NameTaken, ImageMissing or LaunchRefused."""

    def start(self, name: str) -> None:
        """Start a created container; no effect on a running one; raises LaunchRefused or Orphaned."""

    def kill_orphan(self, container: Container) -> None:
        """Kill what runs in a container that the engine has lost track of, since it died while it started it.

        Returns when nothing runs there any more; raises LaunchRefused when that cannot be achieved.
        """

    def stop(self, name: str, grace_s: float) -> None:
        """Send SIGTERM and after the grace SIGKILL; returns when the container has ended or is gone."""

    def remove(self, name: str) -> None:
        """Remove an ended container; no effect when there is none."""

    def inspect(self, name: str) -> Container | None:
        """Return the container, or None when there is none of this store's."""

    def environment(self, name: str) -> dict[str, str]:
        """Return a container's environment, secrets and all; empty when there is no such container."""

    def containers(self) -> tuple[ContainerSummary, ...]:
        """Return all containers of this store by their label, ended ones too."""

    def started_at(self) -> float | None:
        """Return when the engine was started, in Unix seconds, as far as it tells."""

    def logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[LogRecord]:
        """Yield the output, or its last records; following, until the container ends."""

    def log_batches(
        self, name: str, *, follow: bool = False, tail: int | None = None
    ) -> Iterator[list[LogRecord]]:
        """Yield the same in batches, each as soon as it comes; following may also end with the engine.

        An empty batch says that nothing has come for a while.
        """

    def find_image(self, name: str) -> Image | None:
        """Return the local image of that name, or None."""

    def images(self) -> tuple[Image, ...]:
        """Return the local images that have a name."""
