"""Job containers on the Docker engine: the `ContainerEngine` that Spud ships."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import DeviceRequest, HostConfig, LogConfig, Ulimit
from docker.types import Mount as BindMount

from appliance.config import EngineSettings, GpusSettings
from appliance.containers.arguments import (
    ATTEMPT_LABEL,
    GPUS_LABEL,
    JOB_LABEL,
    STORE_LABEL,
    TOKEN_LABEL,
    WORKSPACE,
    ContainerArguments,
)
from appliance.containers.cgroup import processes_of
from appliance.containers.docker import connect
from appliance.containers.docker_box_command import BoxCommand, NoImage, run_on_box
from appliance.containers.engine import (
    Container,
    ContainerSummary,
    EngineUnavailable,
    ImageMissing,
    LaunchRefused,
    NameTaken,
    Orphaned,
)
from appliance.containers.log_connection import LogRefused, log_pieces
from appliance.containers.log_frames import FrameParser
from appliance.errors import Unavailable
from appliance.jobs.box import Image
from appliance.jobs.log import LogRecord

_TIMEOUT_S = 60
_GPU_LIMITS = [
    Ulimit(name="memlock", soft=-1, hard=-1),
    Ulimit(name="stack", soft=64 * 1024**2, hard=64 * 1024**2),
]
"""What CUDA's pinned memory and NCCL need (NVIDIA Containers User Guide, "Setting up shared memory")."""
_GOING_DOWN = ("containerd", "connection error", "transport is closing", "shutting down")
_IS_STARTED_ALREADY = "already exists"
"""What containerd says of a task that it has and the engine has forgotten."""
_NETWORK_GONE = re.compile(r"^network \S+ not found$")
"""Somebody has tidied up (docker network prune); `NetworkGuard` sees to it."""
_KILL_ALL = (
    "for group in $(grep --files-with-matches {id} /proc/[0-9]*/cgroup);"
    " do pid=${{group#/proc/}}; kill -KILL ${{pid%/cgroup}}; done"
)
_UNNAMED = "<none>:<none>"
_LOG_FILE_BYTES = 100 * 1024**2
_RUNNING = ("running", "paused", "restarting")
_NEVER = "0001-01-01T00:00:00Z"
_CDI_KIND = "nvidia.com/gpu"


logger = logging.getLogger(__name__)


class DockerEngine:
    """One Docker engine. It may come and go: every call connects anew if it has to."""

    def __init__(self, engine: EngineSettings, gpus: GpusSettings, store_id: str) -> None:
        self._socket = engine.socket
        self._store_id = store_id
        self._injection = gpus.injection

    def create(self, arguments: ContainerArguments) -> None:
        """Create the container; see `ContainerEngine`."""
        with _answering(self._socket):
            try:
                self._client.create_container(
                    name=arguments.name,
                    image=arguments.image,
                    entrypoint=[],  # an image's own entry point would run another program than asked for
                    command=list(arguments.command),
                    environment={**arguments.environment, **arguments.secrets},
                    labels={STORE_LABEL: self._store_id, **arguments.labels},
                    user=f"{arguments.uid}:{arguments.gid}",
                    working_dir=WORKSPACE,
                    host_config=self._host_config(arguments),
                )
            except NotFound:
                raise ImageMissing(f"No image {arguments.image} on this box.") from None
            except APIError as error:
                if error.status_code == requests.codes.conflict:
                    raise NameTaken(f"There is a container {arguments.name} already.") from None
                raise self._refusal(error) from None

    def start(self, name: str) -> None:
        """Start the container; see `ContainerEngine`."""
        with _answering(self._socket):
            try:
                self._client.start(name)
            except APIError as error:
                if _IS_STARTED_ALREADY in _explanation(error):
                    raise Orphaned(f"The engine died while it started {name}.") from None
                if _NETWORK_GONE.search(_explanation(error)):
                    message = f"The network of {name} was removed; it is made anew."
                    raise EngineUnavailable(message, was_asked=False) from None
                raise self._refusal(error) from None

    def kill_orphan(self, container: Container) -> None:
        """Kill what runs in the container; see `ContainerEngine`."""
        command = BoxCommand(
            f"{container.name}-kill",
            ("/usr/bin/sh", "-c", _KILL_ALL.format(id=container.id)),
            "KILL",
            sees_processes=True,
        )
        deadline = time.monotonic() + _TIMEOUT_S
        while processes_of(container.id):
            if time.monotonic() > deadline:
                raise LaunchRefused(f"the processes of {container.name} cannot be killed; reboot the box")
            with _answering(self._socket):
                try:
                    run_on_box(self._client, command)
                except NoImage:
                    raise LaunchRefused("there is no image to run a command in") from None

    def stop(self, name: str, grace_s: float) -> None:
        """Stop the container; see `ContainerEngine`."""
        with _answering(self._socket), _absent_is_fine():
            self._client.stop(name, timeout=max(1, round(grace_s)))

    def remove(self, name: str) -> None:
        """Remove the container; see `ContainerEngine`."""
        with _answering(self._socket), _absent_is_fine():
            try:
                self._client.remove_container(name, v=True)
            except APIError as error:
                if error.status_code < requests.codes.internal_server_error:
                    raise
                logger.warning("Could not remove %s; it is tried again: %s", name, _explanation(error))

    def inspect(self, name: str) -> Container | None:
        """Return the container; see `ContainerEngine`."""
        with _answering(self._socket), _absent_is_fine():
            inspected = self._client.inspect_container(name)
            labels = inspected["Config"]["Labels"] or {}
            return _container(inspected) if labels.get(STORE_LABEL) == self._store_id else None
        return None

    def environment(self, name: str) -> dict[str, str]:
        """Return the container's environment; see `ContainerEngine`."""
        with _answering(self._socket), _absent_is_fine():
            return _environment(self._client.inspect_container(name))
        return {}

    def containers(self) -> tuple[ContainerSummary, ...]:
        """Return all containers of Spud's; see `ContainerEngine`."""
        with _answering(self._socket):
            found = self._client.containers(all=True, filters={"label": f"{STORE_LABEL}={self._store_id}"})
        return tuple(_summary(container) for container in found)

    def logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[LogRecord]:
        """Yield the output; see `ContainerEngine`."""
        for records in self.log_batches(name, follow=follow, tail=tail):
            yield from records

    def log_batches(
        self, name: str, *, follow: bool = False, tail: int | None = None
    ) -> Iterator[list[LogRecord]]:
        """Yield the output as it comes; see `ContainerEngine`."""
        query = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        parser = FrameParser()
        with _log_coming(self._socket, name):
            for piece in log_pieces(self._socket, name, {**query, "tail": "all" if tail is None else tail}):
                records = parser.feed(piece)
                if records or not piece:
                    yield records
        if parser.is_within_frame:
            raise EngineUnavailable(f"The Docker engine at {self._socket} broke off the log of {name}.")
        for complaint in parser.complaints:
            logger.warning("The engine cannot read all of the log of %s: %r", name, complaint[:200])

    def started_at(self) -> float | None:
        """Return when the engine was started; see `ContainerEngine`.

        By the file with its process id; where that is elsewhere, by its socket, unless systemd has made that
        before, and by its default network, which it makes anew unless it finds containers running.
        """
        socket = Path(self._socket.removeprefix("unix://"))
        with suppress(OSError):
            return socket.with_name("docker.pid").stat().st_mtime
        found = []
        with suppress(OSError):
            found.append(socket.stat().st_mtime)
        with _answering(self._socket), _absent_is_fine():
            network = self._client.inspect_network("bridge")
            created = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", network["Created"]))
            found.append(created.timestamp())
        return max(found, default=None)

    def find_image(self, name: str) -> Image | None:
        """Return the image; see `ContainerEngine`."""
        with _answering(self._socket), _absent_is_fine():
            try:
                found = self._client.inspect_image(name)  # type: ignore[no-untyped-call]
            except APIError as error:
                if error.status_code == requests.codes.bad_request:
                    return None  # not a reference at all, such as spud/a:b:latest
                raise
            return Image(name, found["Id"], found["Size"])
        return None

    def images(self) -> tuple[Image, ...]:
        """Return the images; see `ContainerEngine`."""
        with _answering(self._socket):
            found = self._client.images()
        images = (
            Image(tag, image["Id"], image["Size"])
            for image in found
            for tag in image["RepoTags"] or ()
            if tag != _UNNAMED
        )
        return tuple(sorted(images, key=lambda image: image.name))

    def _refusal(self, error: APIError) -> LaunchRefused | EngineUnavailable:
        """Return what a failed launch means: an engine that is going down fails every launch."""
        text = _explanation(error)
        if any(sign in text for sign in _GOING_DOWN):
            return EngineUnavailable(f"The Docker engine at {self._socket} is going down: {text}")
        return LaunchRefused(text)

    @cached_property
    def _client(self) -> docker.APIClient:
        return connect(self._socket, _TIMEOUT_S)

    def _host_config(self, arguments: ContainerArguments) -> HostConfig:
        device_requests = self._device_requests(arguments.gpu_uuids)
        return self._client.create_host_config(
            init=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=arguments.pids,
            mem_limit=arguments.memory_bytes,
            network_mode=arguments.network,
            memswap_limit=arguments.memory_bytes,
            nano_cpus=round(arguments.cpus * 1e9) if arguments.cpus else None,
            shm_size=arguments.shm_bytes,
            ulimits=_GPU_LIMITS if device_requests else None,
            mounts=[
                BindMount(mount.target, str(mount.source), type="bind", read_only=mount.is_read_only)
                for mount in arguments.mounts
            ],
            device_requests=device_requests,
            log_config=_log_config(arguments.log_bytes),
        )

    def _device_requests(self, gpu_uuids: tuple[str, ...]) -> list[DeviceRequest] | None:
        """Return how the GPUs enter the container: always by UUID, since a count means the first ones."""
        if not gpu_uuids or self._injection == "environment":
            return None
        if self._injection == "cdi" or (self._injection == "auto" and self._has_cdi):
            names = [f"{_CDI_KIND}={uuid}" for uuid in gpu_uuids]
            return [DeviceRequest(driver="cdi", device_ids=names)]
        return [DeviceRequest(device_ids=list(gpu_uuids), capabilities=[["gpu"]])]

    @cached_property
    def _has_cdi(self) -> bool:
        """Whether the engine resolves CDI names; those that do tell where they look for them."""
        return bool(self._client.info().get("CDISpecDirs"))


@contextmanager
def _answering(socket: str) -> Iterator[None]:
    """Turn every way in which an engine can be away into EngineUnavailable."""
    try:
        yield
    except (requests.RequestException, Unavailable) as error:
        raise EngineUnavailable(
            f"The Docker engine at {socket} does not answer.", was_asked=not _is_not_there(error)
        ) from error
    except APIError as error:
        raise EngineUnavailable(f"The Docker engine failed: {_explanation(error)}") from error
    except DockerException as error:
        raise EngineUnavailable(f"The Docker engine at {socket} does not answer: {error}.") from error


def _is_not_there(error: BaseException) -> bool:
    """Return whether nobody listened at the socket, by the causes that the libraries wrap."""
    if isinstance(error, Unavailable | FileNotFoundError | ConnectionRefusedError):
        return True
    causes = [error.__cause__, error.__context__, *error.args]
    return any(isinstance(cause, BaseException) and _is_not_there(cause) for cause in causes)


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return
    except APIError as error:
        # 409: its removal is under way already.
        if error.status_code != requests.codes.conflict:
            raise


def _log_config(size_bytes: int) -> LogConfig:
    """Return a log of at least that size, in files of 100 MB; the oldest goes first."""
    files = 1 + math.ceil(size_bytes / _LOG_FILE_BYTES)
    return LogConfig(type="json-file", config={"max-size": str(_LOG_FILE_BYTES), "max-file": str(files)})


@contextmanager
def _log_coming(socket: str, name: str) -> Iterator[None]:
    """Turn an absent engine into EngineUnavailable; let a log that cannot be read end, since a job waits."""
    try:
        yield
    except LogRefused as error:
        # 404, 409: the container is gone, or its removal is under way.
        if error.status not in (requests.codes.not_found, requests.codes.conflict):
            logger.warning("The engine cannot read the log of %s: %s", name, error)
    except (OSError, HTTPException) as error:
        raise EngineUnavailable(f"The Docker engine at {socket} does not answer.") from error


def _explanation(error: APIError) -> str:
    """Return the engine's reason without the chain of its components that pass it on."""
    text = str(error.explanation or error).strip().removesuffix(": unknown")
    return text.rpartition("container process: ")[2].removeprefix("error during container init: ")


def _container(inspected: Mapping[str, Any]) -> Container:
    state, labels = inspected["State"], inspected["Config"]["Labels"]
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].removeprefix("/"),
        job_id=_number(labels.get(JOB_LABEL)),
        attempt=_number(labels.get(ATTEMPT_LABEL)),
        token=labels.get(TOKEN_LABEL, ""),
        pid=state["Pid"] or None,
        is_running=bool(state["Running"]),
        was_started=state["StartedAt"] != _NEVER,
        exit_code=None if state["Running"] else state["ExitCode"],
        error=state.get("Error", ""),
        image_digest=inspected["Image"],
        started_at=_seconds(state["StartedAt"]),
        finished_at=_seconds(state["FinishedAt"]),
    )


def _summary(listed: Mapping[str, Any]) -> ContainerSummary:
    labels = listed["Labels"]
    return ContainerSummary(
        id=listed["Id"],
        name=listed["Names"][0].removeprefix("/") if listed["Names"] else listed["Id"],
        job_id=_number(labels.get(JOB_LABEL)),
        attempt=_number(labels.get(ATTEMPT_LABEL)),
        token=labels.get(TOKEN_LABEL, ""),
        gpu_uuids=tuple(filter(None, labels.get(GPUS_LABEL, "").split(","))),
        is_running=listed["State"] in _RUNNING,
    )


def _environment(inspected: Mapping[str, Any]) -> dict[str, str]:
    variables = (entry.partition("=") for entry in inspected["Config"].get("Env") or ())
    return {name: value for name, _, value in variables}


def _number(label: str | None) -> int:
    return int(label) if label and label.isdigit() else 0


def _seconds(timestamp: str) -> float | None:
    """Return Unix seconds of the engine's RFC 3339; its nanoseconds are more than Python 3.11 reads."""
    if timestamp == _NEVER:
        return None
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    seconds = datetime.fromisoformat(whole + "+00:00").timestamp()
    return seconds + float(f"0.{fraction or 0}")
