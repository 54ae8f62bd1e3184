"""The network of the jobs on the Docker engine: the `NetworkEngine` that Spud ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from appliance.containers.docker import connect
from appliance.containers.docker_box_command import BoxCommand, NoImage, run_on_box
from appliance.containers.network import Network, NetworkRefused
from appliance.errors import Unavailable

_TIMEOUT_S = 60
_NFT = "/usr/sbin/nft"
_INTERFACE = "com.docker.network.bridge.name"
_INTERNAL_TRAFFIC = "com.docker.network.bridge.enable_icc"
_LABEL = "spud.network"


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
        command = BoxCommand(name, (_NFT, rules), "NET_ADMIN")
        with self._answering():
            try:
                exit_code, output = run_on_box(self._client, command)
            except NoImage:
                raise NetworkRefused(
                    "there is no image yet; build one with: sudo spud image build base"
                ) from None
            except APIError as error:
                raise NetworkRefused(_explain(str(error.explanation))) from None
        if exit_code:
            raise NetworkRefused(f"nft refuses the rules: {output.splitlines()[0] if output else exit_code}")

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
