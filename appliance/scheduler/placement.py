"""Which waiting jobs start now, and on what. Pure.

Jobs with GPUs and jobs without wait in two lanes, since they compete for different things: the former
for cards, the latter for cores. In each lane the order is priority (high first), then age, and a job
that must wait is not overtaken, so it cannot starve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Request, Reservation, Share


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU of the box: what jobs hold of it, and why it is not given away if it is not."""

    gpu: Gpu
    reservations: tuple[Reservation, ...] = ()
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A job that can start now, with the GPUs it gets."""

    request: Request
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What starts now, and why the rest waits.

    `waiting` has the reasons of single jobs by their ids; `lanes` the reason of all others of a lane, by
    "gpus" and "cpus".
    """

    placements: list[Placement] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)
    lanes: dict[str, str] = field(default_factory=dict)


def plan(
    on_gpus: Sequence[Request],
    on_cpus: Sequence[Request],
    cards: Sequence[Card],
    free_cpus: float,
    all_cpus: float,
    now: float,  # noqa: ARG001
) -> Plan:
    """Return what starts now and why the rest waits; the requests are in order of priority, then age.

    `free_cpus` are the cores of `all_cpus` that no running job without GPU holds; `now` is Unix seconds.
    """
    result = Plan()
    _plan_gpus(on_gpus, cards, result)
    _plan_cpus(on_cpus, free_cpus, all_cpus, result)
    return result


def cores(cpus: float | None, all_cpus: float) -> float:
    """Return the cores that a job without GPU holds: what it asks for, else all of them."""
    return min(cpus or all_cpus, all_cpus)


def _plan_gpus(requests: Sequence[Request], cards: Sequence[Card], result: Plan) -> None:
    left = [card.gpu for card in cards if not card.reservations and not card.withheld]
    left.sort(key=lambda gpu: gpu.index)
    for request in requests:
        if request.gpus > len(left):
            _wait(result, "gpus", request, _missing(request.gpus, "GPU", len(left)))
            return
        result.placements.append(Placement(request, tuple(Share(gpu.uuid) for gpu in left[: request.gpus])))
        left = left[request.gpus :]


def _plan_cpus(requests: Sequence[Request], free: float, all_cpus: float, result: Plan) -> None:
    for request in requests:
        wanted = cores(request.cpus, all_cpus)
        if wanted > free:
            _wait(result, "cpus", request, _missing(wanted, "core", free))
            return
        result.placements.append(Placement(request, ()))
        free -= wanted


def _wait(result: Plan, lane: str, head: Request, missing: str) -> None:
    result.waiting[head.job_id] = missing
    result.lanes[lane] = f"job {head.job_id}, which is ahead and waits for {missing}"


def _missing(wanted: float, noun: str, free: float) -> str:
    plural = "" if wanted == 1 else "s"
    return f"{wanted:g} {noun}{plural}, of which {free:g} {'is' if free == 1 else 'are'} free"
