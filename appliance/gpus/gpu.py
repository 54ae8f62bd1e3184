"""What a GPU is, and what it says of itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
