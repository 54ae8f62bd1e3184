"""What a GPU is, and what it says of itself at one moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_VARIANTS = ("ti", "super")
"""Words that make another model of the card that is named before them."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card that the driver lists. The UUID is its name everywhere; the index may change at a reboot."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    pci_bus_id: str
    compute_capability: str | None
    simulated: bool
    """The driver library is a test's simulation: there is no such card in the box."""
    memory_reserved_bytes: int = 0
    """What the driver keeps for itself; 0 where it does not tell."""

    @property
    def memory_usable_bytes(self) -> int:
        """What jobs can have of the card's memory."""
        return self.memory_total_bytes - self.memory_reserved_bytes

    def is_model(self, model: str) -> bool:
        """Return whether the words of `model` stand in the card's name, in a row and in any case.

        A Ti or SUPER that follows makes it another model: `GTX 1070` is no `GTX 1070 Ti`, which `1070 ti` is.
        """
        words, wanted = _words(self.name), _words(model)
        places = (place for place in range(len(words)) if words[place : place + len(wanted)] == wanted)
        return any(words[place + len(wanted) :][:1] not in ([word] for word in _VARIANTS) for place in places)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds a GPU, by its number on the box; None where its memory is not told."""

    pid: int
    kind: Literal["compute", "graphics"]
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One reading of a GPU; None where the card does not report it, and everywhere when it is not up."""

    gpu_uuid: str
    read_at: float
    """Unix time in seconds."""
    up: bool
    utilization_ratio: float | None = None
    """Share of the last sample period (up to 1 s) in which a kernel ran, 0 to 1."""
    memory_used_bytes: int | None = None
    """What processes hold, without what the driver reserves where it tells them apart."""
    memory_total_bytes: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    error: str | None = None
    """Why the GPU is not up, in one sentence."""
    processes: tuple[GpuProcess, ...] | None = None
    """Who holds the GPU; a process that computes and draws is in here twice."""


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
