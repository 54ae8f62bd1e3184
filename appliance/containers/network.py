"""The network of the jobs: out to the Internet, but not to this box's services and not to each other.

The scheduler is not root, but it has the engine. So the engine makes the network, and a short-lived container
in the box's own network namespace loads the rules, with the box's own `nft`. They stand in tables of their
own, which no other firewall's reload touches, and are replaced in one step, so that there is no gap.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from appliance.config import Settings
from appliance.errors import SpudError, Unavailable

logger = logging.getLogger(__name__)

_CHECK_S = 60.0
"""How long loaded rules are taken for granted: something else on the box may flush them."""
_LINK_LOCAL = "169.254.0.0/16"
"""Where clouds serve a machine's credentials (RFC 3927; AWS, GCP, Azure: 169.254.169.254)."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network as the engine has it."""

    id: str
    interface: str
    subnets: tuple[str, ...]
    is_internal_traffic_allowed: bool
    """Whether its containers may reach each other, as far as the engine cares."""
    container_count: int


class NetworkRefused(SpudError):
    """The engine, or the kernel below it, will not make such a network or load such rules."""


class NetworkEngine(Protocol):
    """What the guard needs of the engine; every call raises Unavailable or NetworkRefused."""

    def find(self, name: str) -> Network | None:
        """Return the network of that name, or None."""

    def create(self, name: str, interface: str) -> None:
        """Make a bridge with that interface, whose containers the engine keeps from each other."""

    def remove(self, name: str) -> None:
        """Remove a network without containers."""

    def load_rules(self, name: str, rules: str) -> None:
        """Let the box's `nft` read the rules, in a container of that name, as the box's own."""


def job_network(settings: Settings) -> str:
    """Return the engine's name for the network that jobs join."""
    return settings.engine.prefix if settings.network.mode == "isolated" else settings.network.mode


def interface(prefix: str) -> str:
    """Return the name of the network's interface on the box; it may have 15 characters."""
    return f"spud{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"


def rules(interface: str, subnets: Collection[str], reachable_ports: Collection[int]) -> str:
    """Return what `nft` loads; tables that are there already are replaced in the same transaction.

    A refusal is told to the job, so that it fails at once and not after a timeout. Only answers to what the
    box itself began pass, so a connection that a job opened while the rules were missing is reset by them.
    """
    ports = ", ".join(str(port) for port in sorted(reachable_ports))
    reachable = f"meta l4proto {{ tcp, udp }} th dport {{ {ports} }} accept" if ports else ""
    among_jobs = "\n".join(f"    ip saddr {subnet} drop" for subnet in subnets if ":" not in subnet)
    return f"""
table inet {interface} {{}}
delete table inet {interface}
table inet {interface} {{
  chain input {{
    type filter hook input priority -150; policy accept;
    iifname != "{interface}" accept
    ct direction reply ct state established,related accept
    {reachable}
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain forward {{
    type filter hook forward priority -150; policy accept;
    iifname "{interface}" ip daddr {_LINK_LOCAL} reject
    iifname "{interface}" meta nfproto ipv6 drop
    iifname "{interface}" oifname "{interface}" drop
  }}
}}
table bridge {interface} {{}}
delete table bridge {interface}
table bridge {interface} {{
  chain forward {{
    type filter hook forward priority -150; policy accept;
{among_jobs}
  }}
}}
"""


class NetworkGuard:
    """Sees to it that the network of the jobs is there and guarded."""

    def __init__(
        self, engine: NetworkEngine, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._mode = settings.network.mode
        self._ports = settings.network.ports
        self._name = settings.engine.prefix
        self._interface = interface(settings.engine.prefix)
        self._clock = clock
        self._guarded: tuple[Network, float] | None = None

    def ensure(self) -> str | None:
        """Make the network and load its rules where they may be missing; cheap when all is well.

        Returns why no job may be started: an unguarded network is no network.
        """
        if self._mode != "isolated":
            return None
        try:
            self._guard(self._network())
        except Unavailable as error:
            return error.message
        except NetworkRefused as error:
            self._guarded = None
            return (
                f"jobs cannot be kept from this box's services: {error.message};"
                " see docs/security.md, or set [network] mode to bridge or none"
            )
        return None

    def _network(self) -> Network:
        found = self._engine.find(self._name)
        if found and (found.interface != self._interface or found.is_internal_traffic_allowed):
            self._replace(found)
            found = None
        if found is None:
            self._engine.create(self._name, self._interface)
            found = self._engine.find(self._name)
        if found is None:
            raise NetworkRefused(f"the network {self._name} vanished as soon as it was made")
        return found

    def _replace(self, found: Network) -> None:
        if found.container_count:
            raise NetworkRefused(
                f"the engine's network {self._name} is not Spud's and is in use;"
                f" remove it with: docker network rm {self._name}, or set another [engine] prefix"
            )
        self._engine.remove(self._name)

    def _guard(self, network: Network) -> None:
        if self._guarded:
            known, at = self._guarded
            if known.id == network.id and self._clock() - at < _CHECK_S:
                return
        self._engine.load_rules(f"{self._name}-guard", rules(self._interface, network.subnets, self._ports))
        if self._guarded is None:
            logger.info("Jobs run on the network %s, away from this box's services", self._name)
        self._guarded = (network, self._clock())
