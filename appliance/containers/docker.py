"""The Docker engine: the only module that imports the docker SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound

from appliance.containers.images import ImageRecord
from appliance.errors import NotFound, SpudError, Unavailable

# A RUN line may be silent for long, and an import answers only when all of it is stored.
_BUILD_TIMEOUT_S = 3600


def connect(socket: str, timeout_s: int = 60) -> docker.APIClient:
    """Return a client of the engine at `socket`; raises Unavailable when none answers there."""
    try:
        return docker.APIClient(base_url=socket, version="auto", timeout=timeout_s)
    except DockerException as error:
        raise _unavailable(socket, error) from None


def _unavailable(socket: str, error: Exception) -> Unavailable:
    if "Permission denied" in str(error):
        return Unavailable(f"No permission to use the Docker engine at {socket}. Run it with sudo.")
    return Unavailable(f"No Docker engine answers at {socket}. Start it and try again.")


class DockerImages:
    """The images of one engine, as `images.ImageEngine` wants them."""

    def __init__(self, socket: str) -> None:
        self._client = connect(socket, _BUILD_TIMEOUT_S)

    def find(self, reference: str) -> ImageRecord | None:
        """Return the local image of this name or id, or None."""
        try:
            return self._inspect(reference)
        except ImageNotFound:
            return None

    def list(self, label: str) -> list[ImageRecord]:
        """Return the local images that bear the label, newest first."""
        found = self._client.images(filters={"label": label})
        return [self._inspect(image["Id"]) for image in found]

    def own_bytes(self) -> Mapping[str, int]:
        """Return how much of the disk each image takes that it shares with no other, by its id."""
        found = self._client.df()["Images"] or ()
        return {image["Id"]: image["Size"] - max(0, image["SharedSize"]) for image in found}

    def _inspect(self, reference: str) -> ImageRecord:
        return _record(self._client.inspect_image(reference))  # type: ignore[no-untyped-call]

    def pull(self, reference: str) -> Iterator[str]:
        """Fetch an image from its registry; yields a line now and then, raises NotFound with the reason."""
        try:
            for message in self._client.pull(reference, stream=True, decode=True):
                if "error" in message:
                    raise NotFound(f"The image {reference} could not be pulled: {message['error']}.")
                if "progress" not in message:
                    yield str(message.get("status", ""))
        except APIError as error:
            raise NotFound(f"The image {reference} could not be pulled: {error.explanation}.") from None

    def build(
        self, folder: Path, tag: str, arguments: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[str]:
        """Build a folder with a Dockerfile; yields its output, raises SpudError with the engine's reason."""
        try:
            messages = self._client.build(
                path=str(folder),
                tag=tag,
                buildargs=dict(arguments),
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            for message in messages:
                if "error" in message:
                    raise SpudError(str(message["error"]))
                if text := message.get("stream") or message.get("status"):
                    yield str(text)
        except APIError as error:
            raise SpudError(str(error.explanation)) from None
        except requests.RequestException as error:
            raise SpudError(f"the Docker engine went away: {error}") from None

    def import_root(self, chunks: Iterable[bytes], tag: str, changes: Sequence[str]) -> None:
        """Make an image of a root file system's tar stream; `changes` are lines in Dockerfile syntax."""
        repository, _, version = tag.partition(":")
        try:
            answer = self._client.import_image_from_stream(
                chunks, repository=repository, tag=version, changes=list(changes)
            )
        except APIError as error:
            raise SpudError(str(error.explanation)) from None
        except requests.RequestException as error:
            raise SpudError(f"the Docker engine went away: {error}") from None
        for line in answer.splitlines():
            if "error" in (message := json.loads(line)):
                raise SpudError(str(message["error"]))

    def tag(self, reference: str, name: str) -> None:
        """Give a local image a further name, which another image may have borne until now."""
        repository, _, version = name.partition(":")
        self._client.tag(reference, repository, version)

    def remove(self, reference: str) -> bool:
        """Remove a name, or the image with its last name; False when something still needs it."""
        try:
            self._client.remove_image(reference)
        except APIError as error:
            if error.status_code not in (requests.codes.conflict, requests.codes.not_found):
                raise
            return False
        return True


def _record(inspected: Mapping[str, Any]) -> ImageRecord:
    return ImageRecord(
        id=inspected["Id"],
        tags=tuple(inspected["RepoTags"] or ()),
        labels=dict(inspected["Config"].get("Labels") or {}),
        created_at=inspected["Created"],
        size_bytes=inspected["Size"],
    )
