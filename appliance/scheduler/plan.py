"""What a plan is made from, and what it says: cards, cores, and jobs that start or wait."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Request, Reservation, Share


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU of the box: what jobs hold of it, and why it is not given away if it is not.

    `capacity_bytes` is the memory that jobs may share; without it all that the driver does not reserve.
    """

    gpu: Gpu
    reservations: tuple[Reservation, ...] = ()
    withheld: str | None = None
    capacity_bytes: int | None = None

    @property
    def shareable_bytes(self) -> int:
        """Memory that jobs may share."""
        return self.gpu.memory_usable_bytes if self.capacity_bytes is None else self.capacity_bytes


@dataclass(frozen=True, slots=True)
class CoresHeld:
    """Cores of a running job without GPU; `ends_by` is when its time limit frees them, if it has one."""

    job_id: int
    cpus: float
    ends_by: float | None


@dataclass(frozen=True, slots=True)
class Placement:
    """A job that can start now, with the GPUs it gets."""

    request: Request
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What starts now, and why the rest waits.

    `waiting` has the reasons of single jobs by their ids; `lanes` the reason of all others of a lane, by
    "gpus" and "cpus". `promises` says when jobs start at the latest if no higher priority comes, where the
    time limits of those before them tell.
    """

    placements: list[Placement] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)
    lanes: dict[str, str] = field(default_factory=dict)
    promises: dict[int, float] = field(default_factory=dict)
