"""Why a job waits, in words that follow "waits for". Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.jobs.job import Request

_GIB = 1024**3
_NAMED = 4
"""How many of those who hold something are named."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that has what others want; `ends_by` is when its time limit takes it away, if it has one."""

    job_id: int
    what: str
    memory_bytes: int | None
    ends_by: float | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why what a job wants is not to be had.

    Of the cards that would be right for it `there` are in the box, `free` could be had now, and `of` are
    wanted; a job without GPU wants cores, of which `free` are free. `withheld` has the index of each of these
    cards with a clause on why it is not given away, empty when it is. `ahead` is the first job to which
    something of it is promised.
    """

    free: float
    of: int
    there: int
    holders: Sequence[Holder]
    withheld: Sequence[tuple[int, str]]
    ahead: Request | None


def reason(wanted: str, shortage: Shortage) -> str:
    """Return what a job waits for, who has it, what is withheld and why, and who is ahead."""
    parts = [wanted]
    if shortage.of and shortage.there < shortage.of:
        parts[0] += f", of which this box has {shortage.there or 'none'}"
    elif shortage.of != 1:
        parts[0] += f", of which {_free(shortage.free)}"
    parts += _held(shortage.holders)
    parts += [f"GPU {index} is not given away: {_first(why)}" for index, why in shortage.withheld if why]
    if shortage.ahead:
        parts.append(f"job {shortage.ahead.job_id} is ahead")
    return "; ".join(parts)


def behind(ahead: Request, wanted_by_it: str) -> str:
    """Return the reason of all those for whom another job must start first."""
    return f"job {ahead.job_id}, which is ahead and waits for {wanted_by_it}"


def wanted(request: Request, all_cores: float) -> str:
    """Return what a job asks for."""
    if not request.gpus:
        return count(min(request.cpus or all_cores, all_cores), "core")
    model = f" of model {request.gpu_model}" if request.gpu_model else ""
    cards = f"a GPU{model}" if request.gpus == 1 else f"{request.gpus} GPUs{model}"
    if request.gpu_memory_bytes is None:
        return cards
    each = "each of " if request.gpus > 1 else ""
    return f"{_size(request.gpu_memory_bytes)} of the memory of {each}{cards}"


def count(number: float, noun: str) -> str:
    """Return `1 core` or `2.5 cores`."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _free(free: float) -> str:
    """Return how many are free; who holds more than there is, as after a change of settings, leaves none."""
    if free <= 0:
        return "none is free"
    return f"{free:g} {'is' if free == 1 else 'are'} free"


def _first(clause: str) -> str:
    """Return the first sentence; what an administrator does about it is told by `spud gpus`."""
    return clause.split(". ")[0].rstrip(".")


def _held(holders: Sequence[Holder]) -> list[str]:
    """Return who has what, a clause for each job."""
    jobs: dict[int, list[Holder]] = {}
    for holder in holders:
        jobs.setdefault(holder.job_id, []).append(holder)
    clauses = [f"job {job_id} has {_all_of(held)}" for job_id, held in list(jobs.items())[:_NAMED]]
    more = len(jobs) - _NAMED
    return [*clauses, f"{count(more, 'more job')} share the rest"] if more > 0 else clauses


def _all_of(held: Sequence[Holder]) -> str:
    things = [
        one.what if one.memory_bytes is None else f"{_size(one.memory_bytes)} of {one.what}" for one in held
    ]
    ends_by = held[0].ends_by
    until = f" until {_moment(ends_by)} at the latest" if ends_by else ""
    return " and ".join(filter(None, (", ".join(things[:-1]), things[-1]))) + until


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB"
