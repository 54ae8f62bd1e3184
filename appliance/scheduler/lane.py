"""One lane of the queue: the rules by which its jobs start or wait. Pure.

**Nobody is delayed by one behind.** A job that must wait is promised what it needs, from the time at which
the time limits of those who hold it free enough. A job behind it starts only where that breaks no promise:
on what is promised to nobody, or when its own time limit ends before. Without a limit an end is unknown: what
waits for such an end is kept free at once. So nobody starves.

**Only so many are promised something.** After `_PROMISES` of them, a job that must wait closes all that it
could use to those behind it, from the first moment at which it could start: less precise, and much cheaper.

**A job waits aside**, with no promise, when what is given away at present could not hold it even if all of it
were free: a card that is lost or taken by strangers must not keep the others idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, log2

from appliance.jobs.job import Request
from appliance.scheduler import waiting
from appliance.scheduler.place import Place
from appliance.scheduler.plan import Placement, Plan

_PROMISES = 16
_CLOSINGS = 64
"""After so many closings, which cost time, all the rest is closed at once."""

Shape = tuple[int, int | None, str | None, float | None]


class Lane:
    """One lane while its plan is made, which goes into `result`; `now` is Unix seconds."""

    def __init__(self, name: str, places: Sequence[Place], now: float, result: Plan) -> None:
        self._name = name
        self._places = places
        self._now = now
        self._result = result
        self._suitable: dict[tuple[int | None, str | None], list[Place]] = {}
        self._refused: dict[Shape, float] = {}
        self._closings: set[tuple[Shape, int | None]] = set()
        self._promised: list[tuple[Request, list[Place]]] = []
        self._heads: dict[str | None, Request] = {}
        self._behind: dict[str | None, str | None] = {}
        self._asides: dict[Shape, str] = {}
        self._full: bool | None = None

    def plan(self, requests: Sequence[Request]) -> None:
        """Let the requests start or wait; they are in order of priority, then age."""
        for request in requests:
            if len(self._suiting(request)) < _count(request):
                self._wait_aside(request)
            elif self._is_full() or not self._start(request):
                self._wait(request)
        if self._name not in self._result.lanes:
            self._explain_lane(next((one for one in requests if one.job_id in self._result.waiting), None))

    def _is_full(self) -> bool:
        """Whether nothing at all can start, so that none of the rest must be looked at."""
        if self._full is None:
            self._full = all(place.withheld or place.is_full(self._now) for place in self._places)
        return self._full

    # Starting

    def _start(self, request: Request) -> bool:
        shape, duration = _shape(request), _duration(request)
        if shape in self._refused and self._refused[shape] <= duration:
            return False
        end = self._now + duration
        fitting = [
            place
            for place in self._suiting(request)
            if end <= place.closed_from and place.fits(request, self._now, end)
        ]
        if len(fitting) < _count(request):
            self._refused[shape] = duration
            return False
        chosen = self._tightest(request, fitting)[: _count(request)]
        self._take(request, chosen, self._now)
        shares = tuple(share for place in chosen if (share := place.share(request)))
        self._result.placements.append(Placement(request, shares))
        return True

    def _tightest(self, request: Request, places: Sequence[Place]) -> list[Place]:
        """Return the places, the tightest first: what is whole or large stays free for those who need it."""

        def looseness(place: Place) -> tuple[bool, float]:
            used = place.timeline.used(self._now)
            return (request.gpu_memory_bytes is not None and used == 0, place.timeline.capacity - used)

        return sorted(places, key=looseness)

    def _take(self, request: Request, places: Sequence[Place], start: float) -> None:
        self._full = None
        for place in places:
            place.timeline.take(place.amount(request), start, start + _duration(request))

    # Waiting

    def _wait_aside(self, request: Request) -> None:
        shape = _shape(request)
        if shape not in self._asides:
            self._asides[shape] = self._reason(request)
        self._result.waiting[request.job_id] = self._asides[shape]

    def _wait(self, request: Request) -> None:
        head = self._heads.setdefault(request.gpu_model, request)
        if len(self._promised) < _PROMISES or head is request:
            self._result.waiting[request.job_id] = self._reason(request)
        elif reason := self._behind_another(head):
            self._result.waiting[request.job_id] = reason
        if self._name not in self._result.lanes:
            self._explain_lane(request)
        if len(self._promised) < _PROMISES:
            self._promise(request)
        elif not self._is_full():
            self._close(request)

    def _promise(self, request: Request) -> None:
        """Keep what the request needs for it, from the first time at which it is sure to be free."""
        start, places = self._earliest(request, self._suiting(request))
        if start < inf:
            self._take(request, places, start)
            self._result.promises[request.job_id] = start
        else:
            places = self._soonest(request)
            for place in places:
                self._keep(request, place)
        self._promised.append((request, places))

    def _soonest(self, request: Request) -> list[Place]:
        """Return where the request will start, as far as one can tell when ends are unknown."""

        def lateness(place: Place) -> tuple[float, float]:
            return (place.free_from(request, self._now), place.timeline.used(self._now))

        return sorted(self._suiting(request), key=lateness)[: _count(request)]

    def _keep(self, request: Request, place: Place) -> None:
        """Keep a place for a request of which nobody knows when it starts."""
        self._full = None
        opens = place.free_from(request, self._now)
        if opens < inf:
            place.timeline.take(place.amount(request), opens, inf)
        elif not place.fits(request, self._now, self._now):
            # What is free of it would otherwise go to smaller jobs, again and again.
            place.timeline.take(place.timeline.capacity, self._now, inf)

    def _earliest(self, request: Request, suitable: Sequence[Place]) -> tuple[float, list[Place]]:
        """Return when and where the request can start; `inf` when that depends on ends that nobody knows."""
        duration = _duration(request)
        times = {self._now}.union(*(place.timeline.ends() for place in suitable))
        for time in sorted(time for time in times if time >= self._now):
            free = [place for place in suitable if place.fits(request, time, time + duration)]
            if len(free) >= _count(request):
                # What is busy now is no loss to those behind; what is free now stays for them.
                busiest = sorted(free, key=lambda place: -place.timeline.used(self._now))
                return time, busiest[: _count(request)]
        return inf, []

    def _close(self, request: Request) -> None:
        """Close what the request could use to those behind, from the first moment at which it could start."""
        key = (_shape(request), None if request.time_s is None else int(log2(request.time_s)))
        if key in self._closings:
            return
        self._closings.add(key)
        self._full = None
        suitable = self._suiting(request)
        is_cheap = len(self._closings) <= _CLOSINGS
        start = self._earliest(_shortest(request), suitable)[0] if is_cheap else self._now
        for place in suitable:
            place.closed_from = min(place.closed_from, start if start < inf else self._opens(request, place))

    def _opens(self, request: Request, place: Place) -> float:
        """Return from when on a place is kept for a request of which nobody knows when it starts."""
        opens = place.free_from(request, self._now)
        return self._now if opens == inf and not place.fits(request, self._now, self._now) else opens

    # Asking

    def _suiting(self, request: Request) -> list[Place]:
        """Return the places that are given away and would be right for the request if they were free."""
        key = (request.gpu_memory_bytes, request.gpu_model)
        if key not in self._suitable:
            self._suitable[key] = [
                place for place in self._places if not place.withheld and place.suits(request)
            ]
        return self._suitable[key]

    # Saying why

    def _reason(self, request: Request) -> str:
        """Return what a request waits for: what is missing, who has it, and who is ahead."""
        places = [place for place in self._places if place.suits(request)]
        usable = self._suiting(request)
        if request.gpus:
            free = float(sum(place.fits(request, self._now, self._now + 1) for place in usable))
        else:
            free = sum(place.timeline.capacity - place.timeline.used(self._now) for place in usable)
        ahead = (one for one, kept in self._promised if any(place in places for place in kept))
        return waiting.reason(
            self._wanted(request),
            waiting.Shortage(
                free=free,
                of=request.gpus,
                there=len(places),
                holders=[holder for place in places for holder in place.holders],
                withheld=[(place.card.gpu.index, place.withheld or "") for place in places if place.card],
                ahead=next(ahead, None),
            ),
        )

    def _behind_another(self, head: Request) -> str | None:
        """Return the reason of those behind the head of their model, where it is not that of the lane."""
        if head.gpu_model not in self._behind:
            first = self._promised[0][0]
            competes = any(place in self._suiting(first) for place in self._suiting(head))
            self._behind[head.gpu_model] = None if competes else waiting.behind(head, self._wanted(head))
        return self._behind[head.gpu_model]

    def _explain_lane(self, head: Request | None) -> None:
        if head:
            self._result.lanes[self._name] = waiting.behind(head, self._wanted(head))

    def _wanted(self, request: Request) -> str:
        return waiting.wanted(request, self._places[0].timeline.capacity if not request.gpus else 0)


def _count(request: Request) -> int:
    return max(request.gpus, 1)


def _shape(request: Request) -> Shape:
    return (request.gpus, request.gpu_memory_bytes, request.gpu_model, request.cpus)


def _duration(request: Request) -> float:
    return inf if request.time_s is None else request.time_s


def _shortest(request: Request) -> Request:
    """Return the request with the shortest time limit of all that are closed together."""
    if request.time_s is None:
        return request
    return replace(request, time_s=2 ** int(log2(request.time_s)))
