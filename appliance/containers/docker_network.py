"""The network of the jobs on the Docker engine: the `NetworkEngine` that Spud ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import Mount

from appliance.containers.docker import connect
from appliance.containers.network import Network, NetworkRefused
from appliance.errors import Unavailable

_TIMEOUT_S = 60
_NFT = "/usr/sbin/nft"
_BASE = "spud/base:latest"
_INTERFACE = "com.docker.network.bridge.name"
_INTERNAL_TRAFFIC = "com.docker.network.bridge.enable_icc"
_LABEL = "spud.network"
_MEMORY_BYTES = 64 * 1024**2


class DockerNetwork:
    """Networks and firewall rules of the machine that the engine runs on."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def find(self, name: str) -> Network | None:
        """Return the network; see `NetworkEngine`."""
        with self._answering():
            try:
                return _network(self._client.inspect_network(name))
            except NotFound:
                return None

    def create(self, name: str, interface: str) -> None:
        """Make the network; see `NetworkEngine`."""
        with self._answering():
            self._client.create_network(
                name,
                driver="bridge",
                options={_INTERFACE: interface, _INTERNAL_TRAFFIC: "false"},
                labels={_LABEL: name},
                check_duplicate=True,
                enable_ipv6=False,
            )

    def remove(self, name: str) -> None:
        """Remove the network; see `NetworkEngine`."""
        with self._answering():
            self._client.remove_network(name)

    def load_rules(self, name: str, rules: str) -> None:
        """Load the rules; see `NetworkEngine`."""
        with self._answering():
            self._remove_container(name)
            self._create_container(name, rules)
            try:
                self._client.start(name)
                exit_code = self._client.wait(name)["StatusCode"]
                output = self._client.logs(name).decode(errors="replace").strip() if exit_code else ""
            except APIError as error:
                raise NetworkRefused(_explain(str(error.explanation))) from None
            finally:
                self._remove_container(name)
        if exit_code:
            raise NetworkRefused(f"nft refuses the rules: {output.splitlines()[0] if output else exit_code}")

    def _create_container(self, name: str, rules: str) -> None:
        self._client.create_container(
            name=name,
            image=self._image(),
            entrypoint=[_NFT],
            command=[rules],
            user="0:0",
            environment={},
            host_config=self._client.create_host_config(
                network_mode="host",
                userns_mode="host",
                cap_drop=["ALL"],
                cap_add=["NET_ADMIN"],
                security_opt=["no-new-privileges"],
                read_only=True,
                mem_limit=_MEMORY_BYTES,
                pids_limit=16,
                # The box's own tool, which fits the box's kernel, in whatever image there is.
                mounts=[Mount("/usr", "/usr", type="bind", read_only=True)],
            ),
        )

    def _image(self) -> str:
        """Return the image to run in: the base, else the smallest that is there."""
        found = sorted(self._client.images(), key=lambda image: image["Size"])
        if not found:
            raise NetworkRefused("there is no image yet; build one with: sudo spud image build base")
        return _BASE if any(_BASE in (image["RepoTags"] or ()) for image in found) else str(found[0]["Id"])

    def _remove_container(self, name: str) -> None:
        try:
            self._client.remove_container(name, force=True)
        except NotFound:
            return

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            raise NetworkRefused(str(error.explanation)) from error
        except (requests.RequestException, DockerException) as error:
            raise Unavailable(f"The Docker engine at {self._socket} does not answer.") from error

    @cached_property
    def _client(self) -> docker.APIClient:
        return connect(self._socket, _TIMEOUT_S)


def _network(inspected: Mapping[str, Any]) -> Network:
    options = inspected["Options"] or {}
    return Network(
        id=inspected["Id"],
        interface=options.get(_INTERFACE, ""),
        subnets=tuple(config["Subnet"] for config in inspected["IPAM"]["Config"] or ()),
        is_internal_traffic_allowed=options.get(_INTERNAL_TRAFFIC) != "false",
        container_count=len(inspected["Containers"] or {}),
    )


def _explain(text: str) -> str:
    if _NFT in text and "no such file" in text:
        return "this box has no nft; install it with: apt-get install nftables"
    return text
