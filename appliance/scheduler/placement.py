"""Which waiting jobs start now, and on what. Pure.

Jobs with GPUs and jobs without wait in two lanes, since they compete for different things: the former for
cards, the latter for cores. In each lane the order is priority (high first), then age; `lane.py` has the
rules by which a job may start before one that is ahead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from appliance.jobs.job import Request
from appliance.scheduler import waiting
from appliance.scheduler.lane import Lane
from appliance.scheduler.place import Place, cores
from appliance.scheduler.plan import Card, CoresHeld, Placement, Plan
from appliance.scheduler.timeline import Timeline

__all__ = ["Card", "CoresHeld", "Placement", "Plan", "cores", "plan"]

_OVERDUE_S = 1.0
"""When a job is expected to end whose time limit is over, while it is being stopped."""


def plan(
    on_gpus: Sequence[Request],
    on_cpus: Sequence[Request],
    cards: Sequence[Card],
    free_cpus: float,
    all_cpus: float,
    now: float,
    held_cpus: Sequence[CoresHeld] = (),
) -> Plan:
    """Return what starts now and why the rest waits; the requests are in order of priority, then age.

    `free_cpus` are the cores of `all_cpus` that no running job without GPU holds, `held_cpus` says who has
    the others; `now` is Unix seconds.
    """
    result = Plan()
    ordered = sorted(cards, key=lambda card: (card.gpu.index, card.gpu.uuid))
    Lane("gpus", [_card(card, now) for card in ordered], now, result).plan(on_gpus)
    Lane("cpus", [_all_cores(free_cpus, all_cpus, held_cpus, now)], now, result).plan(on_cpus)
    return result


def _card(card: Card, now: float) -> Place:
    timeline = Timeline(max(1, card.shareable_bytes))
    for held in card.reservations:
        amount = timeline.capacity if held.memory_bytes is None else held.memory_bytes
        timeline.take(amount, now, _end(held.ends_by, now))
    holders = tuple(
        waiting.Holder(held.job_id, f"GPU {card.gpu.index}", held.memory_bytes, held.ends_by)
        for held in card.reservations
    )
    return Place(timeline, holders, card)


def _all_cores(free: float, all_cpus: float, held: Sequence[CoresHeld], now: float) -> Place:
    timeline = Timeline(all_cpus)
    for one in held:
        timeline.take(one.cpus, now, _end(one.ends_by, now))
    if (by_others := all_cpus - free - sum(one.cpus for one in held)) > 0:
        timeline.take(by_others, now, inf)
    holders = tuple(
        waiting.Holder(one.job_id, waiting.count(one.cpus, "core"), None, one.ends_by) for one in held
    )
    return Place(timeline, holders)


def _end(ends_by: float | None, now: float) -> float:
    return inf if ends_by is None else max(ends_by, now + _OVERDUE_S)
