"""The network of the jobs: its rules, and when it is made."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from appliance.config import load_settings
from appliance.containers.docker_network import DockerNetwork
from appliance.containers.network import NetworkGuard, interface, job_network, rules
from tests.system.guarded_network import forget

ENGINE = "unix:///var/run/docker.sock"


@pytest.fixture
def prefix() -> Iterator[str]:
    prefix = f"spud-test-{secrets.token_hex(4)}"
    yield prefix
    forget(prefix)


def guard(prefix: str, **variables: str) -> NetworkGuard:
    environ = {"SPUD_CONFIG": "/dev/null", "SPUD_ENGINE_PREFIX": prefix, **variables}
    settings = load_settings(None, environ)
    return NetworkGuard(DockerNetwork(settings.engine.socket), settings)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def table(prefix: str) -> str:
    listing = ["nft", "list", "table", "inet", interface(prefix)]
    return subprocess.run(listing, capture_output=True, text=True).stdout


@pytest.mark.unit
@pytest.mark.parametrize("mode", ["bridge", "none"])
def test_other_modes_need_no_engine(mode: str) -> None:
    assert guard("spud", SPUD_NETWORK_MODE=mode, SPUD_ENGINE_SOCKET="unix:///nowhere").ensure() is None


@pytest.mark.unit
@pytest.mark.parametrize(("mode", "name"), [("isolated", "spud-7"), ("bridge", "bridge"), ("none", "none")])
def test_a_mode_is_a_network_of_the_engine(mode: str, name: str) -> None:
    variables = {"SPUD_CONFIG": "/dev/null", "SPUD_NETWORK_MODE": mode, "SPUD_ENGINE_PREFIX": "spud-7"}
    assert job_network(load_settings(None, variables)) == name


@pytest.mark.unit
def test_an_interface_has_a_name_that_the_kernel_takes() -> None:
    names = {interface(prefix) for prefix in ("spud", "spud-2", "s" * 31)}
    assert len(names) == 3
    assert max(map(len, names)) <= 15


@pytest.mark.unit
def test_ports_are_open_only_where_some_are_named() -> None:
    assert "dport" not in rules("spud0", ["172.18.0.0/16"], [])
    assert "th dport { 53, 8080 } accept" in rules("spud0", ["172.18.0.0/16"], [8080, 53])


@pytest.mark.unit
def test_without_an_engine_no_job_may_start() -> None:
    reason = guard("spud", SPUD_ENGINE_SOCKET="unix:///nowhere/docker.sock").ensure()
    assert "No Docker engine answers" in (reason or "")


@pytest.mark.docker
def test_the_network_is_made_once_and_guarded(prefix: str) -> None:
    guarding = guard(prefix, SPUD_NETWORK_REACHABLE_PORTS="8080")
    assert guarding.ensure() is None
    made = docker("network", "inspect", "--format", "{{.Id}}", prefix)
    assert guarding.ensure() is None
    assert guard(prefix).ensure() is None
    assert docker("network", "inspect", "--format", "{{.Id}}", prefix) == made
    assert "reject" in table(prefix)
    assert "8080" not in table(prefix)  # the second guard has other settings, and replaced the rules
    assert docker("ps", "--all", "--quiet", "--filter", f"name={prefix}-guard") == ""


@pytest.mark.docker
def test_rules_that_somebody_flushed_come_back(prefix: str) -> None:
    seconds = 0.0
    settings = load_settings(None, {"SPUD_CONFIG": "/dev/null", "SPUD_ENGINE_PREFIX": prefix})
    guarding = NetworkGuard(DockerNetwork(ENGINE), settings, clock=lambda: seconds)
    assert guarding.ensure() is None
    subprocess.run(["nft", "delete", "table", "inet", interface(prefix)], check=True)
    seconds = 59.0
    assert guarding.ensure() is None
    assert table(prefix) == ""  # taken for granted for a minute
    seconds = 61.0
    assert guarding.ensure() is None
    assert "reject" in table(prefix)


@pytest.mark.docker
def test_a_network_that_is_made_anew_is_guarded_at_once(prefix: str) -> None:
    guarding = guard(prefix)
    guarding.ensure()
    docker("network", "rm", prefix)
    subprocess.run(["nft", "delete", "table", "inet", interface(prefix)], check=True)
    assert guarding.ensure() is None
    assert "reject" in table(prefix)


@pytest.mark.docker
def test_another_network_of_that_name_is_replaced_unless_it_is_in_use(prefix: str) -> None:
    docker("network", "create", prefix)
    docker("run", "--detach", "--name", f"{prefix}-x", "--network", prefix, "spud/base", "sleep", "60")
    assert "is not Spud's and is in use" in (guard(prefix).ensure() or "")
    docker("rm", "--force", f"{prefix}-x")
    assert guard(prefix).ensure() is None
    assert interface(prefix) in docker("network", "inspect", prefix)


@pytest.mark.docker
def test_rules_that_the_kernel_refuses_let_no_job_start(prefix: str) -> None:
    refusing = guard(prefix)
    refusing._ports = (70_000,)
    reason = refusing.ensure() or ""
    assert "jobs cannot be kept from this box's services: nft refuses the rules" in reason
    assert "docs/security.md" in reason
