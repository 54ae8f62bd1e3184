"""The Docker engine as far as images for jobs are made on it: pulls, build containers, commits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig, Mount

from appliance.containers.docker import connect
from appliance.containers.engine import EngineUnavailable
from appliance.containers.layers import BuildContainer, LayerImage
from appliance.errors import SpudError, Unavailable

_TIMEOUT_S = 120
_STREAM_TIMEOUT_S = 4 * 3600
"""How long a build or a copy may say nothing; builds have a limit of their own below that."""
_PULL_TIMEOUT_S = 600
"""How long a registry may send nothing: a pull that stands still keeps other images from being fetched."""
_LOG = LogConfig(type="json-file", config={"max-size": "20m", "max-file": "2"})
_NO_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


class DockerBuilds:
    """One engine, which may come and go; every call raises EngineUnavailable when it does not answer."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def find(self, reference: str) -> LayerImage | None:
        """Return the local image of this name or whole id, or None; a part of an id names nothing."""
        with self._answering():
            try:
                found = self._client.inspect_image(reference)  # type: ignore[no-untyped-call]
            except NotFound:
                return None
            except APIError as error:
                if error.status_code == requests.codes.bad_request:
                    return None  # no reference at all
                raise
        is_named = _NO_ID.fullmatch(reference) or _is_name_of(reference, found)
        return _image(found) if is_named else None

    def pull(self, reference: str) -> Iterator[Mapping[str, Any]]:
        """Fetch an image; yields the engine's messages, see containers/pull.py."""
        # A client of its own: closed in the middle it ends the pull.
        with self._answering(), connect(self._socket, _PULL_TIMEOUT_S) as client:
            try:
                yield from client.pull(reference, stream=True, decode=True)
            except APIError as error:
                yield {"error": str(error.explanation or error)}
            except requests.RequestException as error:
                if "timed out" not in str(error).lower():
                    raise
                yield {"error": f"the registry has sent nothing for {_PULL_TIMEOUT_S // 60} minutes"}

    def create(self, container: BuildContainer) -> None:
        """Create the container; raises SpudError with the engine's reason."""
        with self._answering(), _refusals():
            self._client.create_container(
                name=container.name,
                image=container.image,
                entrypoint=[],
                command=list(container.command),
                environment=dict(container.environment),
                labels=dict(container.labels),
                user=f"{container.uid}:{container.uid}",
                working_dir=container.working_folder,
                host_config=self._client.create_host_config(
                    init=True,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    pids_limit=container.pids,
                    mem_limit=container.memory_bytes,
                    memswap_limit=container.memory_bytes,
                    network_mode=container.network,
                    mounts=[Mount(folder, None, type="volume") for folder in container.volumes],
                    log_config=_LOG,
                ),
            )

    def create_bare(self, name: str, image: str) -> None:
        """Create a container that never runs: the image's files, to be changed and committed."""
        with self._answering(), _refusals():
            has_command = self._client.inspect_image(image)["Config"].get("Cmd")  # type: ignore[no-untyped-call]
            self._client.create_container(image, command=None if has_command else ["true"], name=name)

    def put(self, name: str, folder: str, archive: BinaryIO | Iterable[bytes]) -> None:
        """Unpack a tar archive into a container's folder; raises SpudError."""
        with self._answering(), _refusals():
            self._stream_client.put_archive(name, folder, archive)

    def take(self, name: str, path: str) -> Iterator[bytes]:
        """Yield what is at a path of a container as a tar archive; raises SpudError."""
        with self._answering(), _refusals():
            pieces, _ = self._stream_client.get_archive(name, path)
            yield from pieces

    def run(self, name: str) -> Iterator[bytes]:
        """Start a created container and yield what it writes until it ends; raises SpudError."""
        with self._answering(), _refusals():
            self._client.start(name)
            yield from self._stream_client.logs(name, stream=True, follow=True)

    def exit_code(self, name: str) -> int:
        """Return the exit code of a container, waiting for its end."""
        with self._answering(), _refusals():
            return int(self._client.wait(name)["StatusCode"])

    def commit(self, name: str, repository: str, tag: str, changes: Sequence[str]) -> str:
        """Make an image of a container; return its id."""
        with self._answering(), _refusals():
            made = self._stream_client.commit(name, repository, tag, changes=list(changes), pause=False)
            return str(made["Id"])

    def remove(self, name: str) -> None:
        """Kill and remove a container with its volumes; no effect when there is none."""
        with self._answering():
            try:
                self._client.remove_container(name, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                # 409: its removal is under way already.
                if error.status_code != requests.codes.conflict:
                    raise

    def names(self, prefix: str) -> list[str]:
        """Return the names of all containers, ended ones too, that begin so."""
        with self._answering():
            found = self._client.containers(all=True, filters={"name": prefix})
        names = (container["Names"][0].removeprefix("/") for container in found)
        return [name for name in names if name.startswith(prefix)]

    def memory_bytes(self) -> int:
        """Return the memory of the engine's machine."""
        with self._answering():
            return int(self._client.info()["MemTotal"])

    @cached_property
    def _client(self) -> docker.APIClient:
        return connect(self._socket, _TIMEOUT_S)

    @cached_property
    def _stream_client(self) -> docker.APIClient:
        return connect(self._socket, _STREAM_TIMEOUT_S)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, Unavailable) as error:
            raise EngineUnavailable(f"The Docker engine at {self._socket} does not answer.") from error
        except DockerException as error:
            raise EngineUnavailable(f"The Docker engine at {self._socket} failed: {error}.") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the engine refuses into a sentence; what it fails at is for `_answering`."""
    try:
        yield
    except APIError as error:
        if not error.is_client_error() and "no space left" not in str(error):
            raise
        raise SpudError(str(error.explanation or error).strip().rstrip(".")) from None


def _is_name_of(reference: str, found: Mapping[str, Any]) -> bool:
    """Return whether an image was found by its name: the engine takes a part of an id as well."""
    names = (*(found["RepoTags"] or ()), *(found["RepoDigests"] or ()))
    return not found["Id"].removeprefix("sha256:").startswith(reference) or any(
        name.partition(":")[0] == reference for name in names
    )


def _image(found: Mapping[str, Any]) -> LayerImage:
    config = found["Config"]
    return LayerImage(
        id=found["Id"],
        labels=dict(config.get("Labels") or {}),
        environment=dict(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry),
        size_bytes=found["Size"],
    )
