"""A card, or the cores of the box, while a plan is made. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from appliance.jobs.job import Request, Share
from appliance.scheduler.plan import Card
from appliance.scheduler.timeline import Timeline
from appliance.scheduler.waiting import Holder


@dataclass(slots=True, eq=False)
class Place:
    """What a job can have of the box; `card` is None for the cores."""

    timeline: Timeline
    holders: tuple[Holder, ...]
    card: Card | None = None
    closed_from: float = inf
    """Nobody further may have it from then on."""

    @property
    def withheld(self) -> str | None:
        """Why it is not given away."""
        return self.card.withheld if self.card else None

    def suits(self, request: Request) -> bool:
        """Return whether it would be right for the request if it were free."""
        if self.card is None:
            return True
        if request.gpu_model and not self.card.gpu.is_model(request.gpu_model):
            return False
        return (request.gpu_memory_bytes or 0) <= self.card.shareable_bytes

    def amount(self, request: Request) -> float:
        """Return how much of it the request would take."""
        if self.card is None:
            return cores(request.cpus, self.timeline.capacity)
        return self.timeline.capacity if request.gpu_memory_bytes is None else request.gpu_memory_bytes

    def fits(self, request: Request, start: float, end: float) -> bool:
        """Return whether so much is left all the time from `start` until just before `end`."""
        return self.timeline.fits(self.amount(request), start, end)

    def free_from(self, request: Request, now: float) -> float:
        """Return from when on so much is left for ever; `inf` when nobody knows."""
        return self.timeline.free_from(self.amount(request), now)

    def is_full(self, now: float) -> bool:
        """Return whether nobody at all can have some of it now."""
        return self.closed_from <= now or self.timeline.used(now) >= self.timeline.capacity

    def share(self, request: Request) -> Share | None:
        """Return what the request gets of the card; None of the cores, which are not reserved one by one."""
        if self.card is None:
            return None
        if request.gpu_memory_bytes is None:
            return Share(self.card.gpu.uuid)
        return Share(self.card.gpu.uuid, request.gpu_memory_bytes, self.card.shareable_bytes)


def cores(cpus: float | None, all_cpus: float) -> float:
    """Return the cores that a job without GPU holds: what it asks for, else all of them."""
    return min(cpus or all_cpus, all_cpus)
