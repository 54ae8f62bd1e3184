"""A box whose time passes at once: jobs start as the plan says, and end when the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Request, Reservation
from appliance.scheduler.placement import Card, CoresHeld, Plan, cores, plan

START = 1_800_000_000.0
CORES = 4.0


class SimulatedBox:
    """Cards and cores, what runs on them, and what waits, in its order."""

    def __init__(self, gpus: Sequence[Gpu], lasts: Callable[[Request], float]) -> None:
        self.now = START
        self.waiting: list[Request] = []
        self.started_at: dict[int, float] = {}
        self._gpus = gpus
        self._lasts = lasts
        self._reservations: dict[int, list[Reservation]] = {}
        self._requests: dict[int, Request] = {}
        self._ends: dict[int, float] = {}

    @property
    def is_idle(self) -> bool:
        return not self._ends

    def tick(self) -> Plan:
        """Plan, and start what the plan starts."""
        decided = self.plan()
        for placement in decided.placements:
            request = placement.request
            ends_by = None if request.time_s is None else self.now + request.time_s
            self._reservations[request.job_id] = [
                Reservation(share.gpu_uuid, request.job_id, 1, share.memory_bytes, ends_by)
                for share in placement.shares
            ]
            self._requests[request.job_id] = request
            self._ends[request.job_id] = self.now + self._lasts(request)
            self.started_at[request.job_id] = self.now
            self.waiting.remove(request)
        self.check()
        return decided

    def plan(self) -> Plan:
        held_cpus = self._held_cpus()
        free = CORES - sum(one.cpus for one in held_cpus)
        return plan(
            [request for request in self.waiting if request.gpus],
            [request for request in self.waiting if not request.gpus],
            self._cards(),
            free,
            CORES,
            self.now,
            held_cpus,
        )

    def pass_time(self) -> None:
        """Let time pass until the next job has ended."""
        self.now = min(self._ends.values(), default=inf)
        for job_id in [job_id for job_id, end in self._ends.items() if end <= self.now]:
            del self._ends[job_id], self._requests[job_id]
            self._reservations.pop(job_id)

    def check(self) -> None:
        """Assert that nothing is given away twice."""
        for card in self._cards():
            whole = [held for held in card.reservations if held.memory_bytes is None]
            assert len(whole) <= 1
            assert not whole or len(card.reservations) == 1
            assert sum(held.memory_bytes or 0 for held in card.reservations) <= card.shareable_bytes
            assert len({held.job_id for held in card.reservations}) == len(card.reservations)
        for request in self._requests.values():
            assert len(self._reservations[request.job_id]) == request.gpus
        assert sum(one.cpus for one in self._held_cpus()) <= CORES + 1e-9

    def _cards(self) -> list[Card]:
        held = [one for ones in self._reservations.values() for one in ones]
        return [Card(gpu, tuple(one for one in held if one.gpu_uuid == gpu.uuid)) for gpu in self._gpus]

    def _held_cpus(self) -> list[CoresHeld]:
        return [
            CoresHeld(
                request.job_id,
                cores(request.cpus, CORES),
                None if request.time_s is None else self.started_at[request.job_id] + request.time_s,
            )
            for request in self._requests.values()
            if not request.gpus
        ]
