"""A command of the box itself, run by the engine: for what needs a right that the scheduler does not have.

It runs in a container that lives for a moment, in whatever image there is, with the box's own programs: they
fit the box's kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import docker
from docker.errors import NotFound
from docker.types import Mount

_BASE = "spud/base:latest"
_MEMORY_BYTES = 64 * 1024**2


class NoImage(Exception):
    """The engine has no image to run anything in."""


@dataclass(frozen=True, slots=True)
class BoxCommand:
    """Words below the box's /usr, the one capability that they need, and whether they see its processes."""

    name: str
    words: tuple[str, ...]
    capability: str
    sees_processes: bool = False


def run_on_box(client: docker.APIClient, command: BoxCommand) -> tuple[int, str]:
    """Run the command as root in the box's network; return its exit code, and its output when it failed.

    Raises NoImage, and what the docker SDK raises.
    """
    _remove(client, command.name)
    _create(client, command)
    try:
        client.start(command.name)
        exit_code = int(client.wait(command.name)["StatusCode"])
        return exit_code, client.logs(command.name).decode(errors="replace").strip() if exit_code else ""
    finally:
        _remove(client, command.name)


def _create(client: docker.APIClient, command: BoxCommand) -> None:
    client.create_container(
        name=command.name,
        image=_image(client),
        entrypoint=list(command.words[:1]),
        command=list(command.words[1:]),
        user="0:0",
        environment={},
        host_config=client.create_host_config(
            network_mode="host",
            pid_mode="host" if command.sees_processes else None,
            userns_mode="host",
            cap_drop=["ALL"],
            cap_add=[command.capability],
            security_opt=["no-new-privileges"],
            read_only=True,
            mem_limit=_MEMORY_BYTES,
            pids_limit=16,
            mounts=[Mount("/usr", "/usr", type="bind", read_only=True)],
        ),
    )


def _image(client: docker.APIClient) -> str:
    """Return the image to run in: the base, else the smallest that is there."""
    found = sorted(client.images(), key=lambda image: image["Size"])
    if not found:
        raise NoImage
    return _BASE if any(_BASE in (image["RepoTags"] or ()) for image in found) else str(found[0]["Id"])


def _remove(client: docker.APIClient, name: str) -> None:
    try:
        client.remove_container(name, force=True)
    except NotFound:
        return
