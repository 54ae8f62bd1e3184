"""Jobs on the guarded network reach the Internet, and neither this box nor each other."""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.containers.docker_network import DockerNetwork
from appliance.containers.network import NetworkGuard, interface
from tests.system.guarded_network import forget
from tests.system.own_engine import OwnEngine

pytestmark = pytest.mark.docker

PROBE = """
import socket, sys
for address in sys.argv[1:]:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(address, "reached")
    except OSError as error:
        print(address, "refused" if isinstance(error, ConnectionRefusedError) else "silent")
"""


@dataclass
class Guarded:
    """A guarded network on an engine."""

    prefix: str
    docker: tuple[str, ...]

    def run(self, *words: str) -> str:
        done = subprocess.run([*self.docker, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def probe(self, *addresses: str, network: str | None = None) -> dict[str, str]:
        """Return what happens to a job that connects to the addresses."""
        words = ("run", "--rm", "--network", network or self.prefix, "spud/base", "python3", "-c", PROBE)
        return dict(line.split(" ") for line in self.run(*words, *addresses).splitlines())

    def gateway(self) -> str:
        config = json.loads(self.run("network", "inspect", self.prefix))[0]["IPAM"]["Config"]
        return str(config[0]["Gateway"])

    def server(self) -> str:
        """Start a container that serves on port 8000; return its address."""
        name = f"{self.prefix}-server"
        self.run(
            *("run", "--detach", "--name", name, "--network", self.prefix, "spud/base"),
            *("python3", "-m", "http.server", "8000"),
        )
        networks = json.loads(self.run("inspect", name))[0]["NetworkSettings"]["Networks"]
        return str(networks[self.prefix]["IPAddress"])


def guard(prefix: str, socket_path: str, ports: str = "") -> None:
    environ = {
        "SPUD_CONFIG": "/dev/null",
        "SPUD_ENGINE_PREFIX": prefix,
        "SPUD_ENGINE_SOCKET": socket_path,
        "SPUD_NETWORK_REACHABLE_PORTS": ports,
    }
    settings = load_settings(None, environ)
    assert NetworkGuard(DockerNetwork(socket_path), settings).ensure() is None


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    prefix = f"spud-test-{secrets.token_hex(4)}"
    guard(prefix, "unix:///var/run/docker.sock")
    yield Guarded(prefix, ("docker",))
    forget(prefix)


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this box at which something listens on every address."""
    with closing(socket.create_server(("", 0), backlog=50)) as listener:
        yield int(listener.getsockname()[1])


def own_addresses() -> list[str]:
    """Return this box's addresses."""
    listing = subprocess.run(["ip", "-4", "-o", "address"], capture_output=True, text=True).stdout
    found = re.findall(r"inet (\S+)/", listing)
    return [address for address in found if not address.startswith("127.")]


def package_servers() -> list[str]:
    """Return host and port of this machine's apt sources."""
    sources = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in sources)
    found = re.findall(r"^(?:deb .*?|URIs: *)(https?)://([^/\s:]+)(?::(\d+))?", text, re.MULTILINE)
    return [f"{host}:{port or {'http': 80, 'https': 443}[scheme]}" for scheme, host, port in found]


def test_a_job_reaches_the_packages_and_no_service_of_the_box(guarded: Guarded, port: int) -> None:
    box = [f"{address}:{port}" for address in own_addresses()]
    assert f"{guarded.gateway()}:{port}" in box
    assert set(guarded.probe(*box, network="bridge").values()) == {"reached"}  # what it is without the guard
    assert set(guarded.probe(*box).values()) == {"refused"}
    assert "reached" in guarded.probe(*package_servers()).values()


def test_only_the_named_ports_are_reachable(guarded: Guarded, port: int) -> None:
    with closing(socket.create_server(("", 0))) as other:
        closed = int(other.getsockname()[1])
        guard(guarded.prefix, "unix:///var/run/docker.sock", str(port))
        gateway = guarded.gateway()
        assert guarded.probe(f"{gateway}:{port}", f"{gateway}:{closed}") == {
            f"{gateway}:{port}": "reached",
            f"{gateway}:{closed}": "refused",
        }


def test_jobs_do_not_reach_each_other(guarded: Guarded) -> None:
    server = f"{guarded.server()}:8000"
    assert guarded.probe(server) == {server: "silent"}


def test_jobs_do_not_reach_other_containers_by_their_published_ports(guarded: Guarded) -> None:
    name = f"{guarded.prefix}-published"
    words = ("run", "--detach", "--name", name, "--publish", "8000", "spud/base")
    guarded.run(*words, "python3", "-m", "http.server", "8000")
    published = guarded.run("port", name, "8000").splitlines()[0].rpartition(":")[2]
    box = [f"{address}:{published}" for address in own_addresses()]
    assert "reached" not in guarded.probe(*box).values()


def test_jobs_do_not_reach_a_clouds_credentials(guarded: Guarded) -> None:
    assert guarded.probe("169.254.169.254:80") == {"169.254.169.254:80": "refused"}


def test_a_connection_made_while_the_rules_were_missing_ends_with_them(guarded: Guarded, port: int) -> None:
    for family in ("inet", "bridge"):
        subprocess.run(["nft", "delete", "table", family, interface(guarded.prefix)], check=True)
    name = f"{guarded.prefix}-early"
    script = f"""
import socket, sys, time
connection = socket.create_connection(({guarded.gateway()!r}, {port}), 3)
print("connected", flush=True)
connection.settimeout(5)
try:
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)
except OSError as error:
    print("ended", flush=True)
"""
    words = ("run", "--detach", "--name", name, "--network", guarded.prefix, "spud/base")
    guarded.run(*words, "python3", "-c", script)
    wait_for(guarded, name, "connected")
    guard(guarded.prefix, "unix:///var/run/docker.sock")
    wait_for(guarded, name, "ended")


def test_an_engine_in_a_namespace_of_its_own_is_guarded_there(tmp_path: Path) -> None:
    engine = OwnEngine(tmp_path / "engine")
    engine.start()
    try:
        engine.load("spud/base:latest")
        guard("spud-own", engine.socket)
        # What lets the engine's own firewall see traffic between its containers, which not every kernel has.
        engine.run_beside("sysctl", "--quiet", "--write", "net.bridge.bridge-nf-call-iptables=0")
        guarded = Guarded("spud-own", ("docker", "--host", engine.socket))
        server, gateway = f"{guarded.server()}:8000", guarded.gateway()
        # A service of that engine's box: a container in the namespace of its host.
        guarded.run(
            *("run", "--detach", "--name", "spud-own-service", "--network", "host", "spud/base"),
            *("python3", "-m", "http.server", "8001"),
        )
        assert guarded.probe("127.0.0.1:8001", network="host") == {"127.0.0.1:8001": "reached"}
        assert guarded.probe(f"{gateway}:8001", server) == {f"{gateway}:8001": "refused", server: "silent"}
    finally:
        engine.remove()
    assert (
        interface("spud-own")
        not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    )


def wait_for(guarded: Guarded, name: str, words: str) -> None:
    woken = threading.Event()
    for _ in range(100):
        if words in guarded.run("logs", name):
            return
        woken.wait(0.1)
    raise AssertionError(f"{name} never said {words!r}: {guarded.run('logs', name)}")
