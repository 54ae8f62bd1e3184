"""What holds of every queue on every box, whatever comes in which order and ends when."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Request, Reservation
from appliance.scheduler.placement import Card, Plan, plan
from tests.factories import make_gpu, make_request
from tests.scheduler.simulated_box import CORES, START, SimulatedBox

pytestmark = pytest.mark.unit

GIB = 1024**3
NAMES = ("NVIDIA GeForce GTX 1070 Ti", "NVIDIA GeForce GTX 1070", "Tesla P100-PCIE-16GB")
MODELS = (None, None, None, "1070", "P100")

durations = st.one_of(st.none(), st.integers(1, 6).map(lambda number: 600 * number))
gpus = st.builds(
    lambda index, name, gib: replace(make_gpu(index), name=name, memory_total_bytes=gib * GIB),
    st.just(0),
    st.sampled_from(NAMES),
    st.sampled_from((8, 16)),
)
boxes = st.lists(gpus, min_size=1, max_size=4).map(
    lambda found: [replace(gpu, index=index, uuid=f"GPU-{index}") for index, gpu in enumerate(found)]
)


def request(job_id: int, count: int, memory: int | None, model: str | None, time_s: int | None) -> Request:
    on_gpus = {"gpus": count, "gpu_memory": memory, "gpu_model": model} if count else {"cpus": memory or 1}
    return make_request(job_id, time=time_s, **on_gpus)


def queues(times: st.SearchStrategy[int | None], largest: int = 12) -> st.SearchStrategy[list[Request]]:
    one = st.tuples(
        st.integers(0, 3),
        st.one_of(st.none(), st.integers(1, 9).map(lambda number: number * GIB)),
        st.sampled_from(MODELS),
        times,
    )
    return st.lists(one, min_size=1, max_size=largest).map(
        lambda found: [
            request(
                job_id, count, memory if count else (memory and min(memory // GIB, int(CORES))), model, time_s
            )
            for job_id, (count, memory, model, time_s) in enumerate(found, 1)
        ]
    )


def can_ever_run(one: Request, box: list[Gpu]) -> bool:
    """Whether the empty box could hold it, as admission sees to."""
    suiting = [
        gpu
        for gpu in box
        if (not one.gpu_model or gpu.is_model(one.gpu_model))
        and (one.gpu_memory_bytes or 0) <= gpu.memory_usable_bytes
    ]
    return len(suiting) >= one.gpus


def simulated(box: list[Gpu], queue: list[Request], lasts: dict[int, float]) -> SimulatedBox:
    simulation = SimulatedBox(box, lambda one: lasts[one.job_id])
    simulation.waiting = [one for one in queue if can_ever_run(one, box)]
    return simulation


def lasting_to_their_limits(queue: list[Request]) -> dict[int, float]:
    return {one.job_id: float(one.time_s or 900) for one in queue}


@given(boxes, queues(durations), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_nothing_is_given_twice_and_everything_starts_in_the_end(
    box: list[Gpu], queue: list[Request], random: object
) -> None:
    lasts = {
        one.job_id: limit * random.uniform(0.1, 1)  # type: ignore[attr-defined]
        for one, limit in ((one, one.time_s or 5000) for one in queue)
    }
    simulation = simulated(box, queue, lasts)
    wanted = {one.job_id for one in simulation.waiting}
    simulation.tick()
    while not simulation.is_idle:
        simulation.pass_time()
        simulation.tick()
    assert simulation.started_at.keys() == wanted


@given(boxes, queues(durations), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=200, deadline=None)
def test_whoever_waits_has_a_reason_and_no_withheld_card_is_given(
    box: list[Gpu], queue: list[Request], withheld: list[bool]
) -> None:
    cards = [
        Card(gpu, (), "it is lost" if is_withheld else None)
        for gpu, is_withheld in zip(box, withheld, strict=False)
    ]
    on_gpus, on_cpus = [one for one in queue if one.gpus], [one for one in queue if not one.gpus]
    decided = plan(on_gpus, on_cpus, cards, 1.0, CORES, START)
    started = {placement.request.job_id for placement in decided.placements}
    for lane, waiting in (("gpus", on_gpus), ("cpus", on_cpus)):
        for one in waiting:
            has_reason = bool(decided.waiting.get(one.job_id) or decided.lanes.get(lane))
            assert one.job_id in started or has_reason
            assert not (one.job_id in started and one.job_id in decided.waiting)
    given_away = {share.gpu_uuid for placement in decided.placements for share in placement.shares}
    assert given_away.isdisjoint(card.gpu.uuid for card in cards if card.withheld)


@given(boxes, queues(st.integers(1, 6).map(lambda number: 600 * number)), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_whoever_is_first_starts_when_it_was_promised_however_early_others_end(
    box: list[Gpu], queue: list[Request], random: object
) -> None:
    lasts = {one.job_id: (one.time_s or 1) * random.uniform(0.1, 1) for one in queue}  # type: ignore[attr-defined]
    simulation = simulated(box, queue, lasts)
    promised: dict[int, float] = {}
    decided = simulation.tick()
    while not simulation.is_idle:
        for head in heads(simulation, decided):
            promise = decided.promises[head.job_id]
            assert promise <= promised.get(head.job_id, inf)
            promised[head.job_id] = promise
        simulation.pass_time()
        decided = simulation.tick()
    for job_id, promise in promised.items():
        assert simulation.started_at[job_id] <= promise


def heads(simulation: SimulatedBox, decided: Plan) -> list[Request]:
    """Return the first waiting job of each lane."""
    lanes = ([one for one in simulation.waiting if bool(one.gpus) is on_gpus] for on_gpus in (True, False))
    return [lane[0] for lane in lanes if lane and lane[0].job_id in decided.promises]


@given(boxes, queues(durations, largest=6), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_adding_jobs_behind_changes_nothing_for_those_who_start_now(
    box: list[Gpu], queue: list[Request], behind: int
) -> None:
    """In one plan, jobs are decided on in their order: what is behind cannot be seen."""
    alone = simulated(box, queue, lasting_to_their_limits(queue)).tick()
    small = [make_request(100 + number, gpus=1, gpu_memory="1G", time=60) for number in range(behind)]
    more = simulated(box, queue + small, lasting_to_their_limits(queue + small)).tick()
    assert [one for one in more.placements if one.request.job_id < 100] == alone.placements
    assert {key: value for key, value in more.promises.items() if key < 100} == alone.promises


@given(boxes, st.data())
@settings(max_examples=150, deadline=None)
def test_an_endless_stream_of_small_jobs_starves_nobody(box: list[Gpu], data: st.DataObject) -> None:
    running = [
        make_request(
            job_id, gpus=1, time=data.draw(durations), gpu_memory=data.draw(st.sampled_from((None, "2G")))
        )
        for job_id in range(1, data.draw(st.integers(1, 6)) + 1)
    ]
    large = request(
        50, data.draw(st.integers(1, len(box))), data.draw(st.sampled_from((None, 6 * GIB))), None, None
    )
    lasts: dict[int, float] = {
        one.job_id: data.draw(st.integers(1, one.time_s or 5000)) for one in running
    } | {50: 100.0}
    simulation = SimulatedBox(box, lambda one: lasts.get(one.job_id, float(one.time_s or 777)))
    simulation.waiting = running[:]
    simulation.tick()
    before = len(simulation.waiting)
    latest = max(
        START + (one.time_s or lasts[one.job_id]) for one in running if one not in simulation.waiting
    )
    simulation.waiting = [large] if before == 0 else []
    number = 100
    while simulation.waiting and 50 not in simulation.started_at:
        for _ in range(3):
            number += 1
            limit = data.draw(durations)
            simulation.waiting.append(make_request(number, gpus=1, gpu_memory="1G", time=limit))
        simulation.tick()
        if 50 not in simulation.started_at:
            simulation.pass_time()
        assert simulation.now <= latest


@given(st.integers(1, 4), st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(1, 8))
def test_memory_is_never_promised_beyond_what_a_card_has(count: int, held: list[int], wanted: int) -> None:
    reservations = tuple(Reservation("GPU-0", number, 1, gib * GIB, None) for number, gib in enumerate(held))
    cards = [Card(make_gpu(0), reservations), *(Card(make_gpu(index)) for index in range(1, count))]
    asked = [make_request(job_id, gpu_memory=f"{wanted}G") for job_id in range(100, 130)]
    used = {card.gpu.uuid: sum(one.memory_bytes or 0 for one in card.reservations) for card in cards}
    for placement in plan(asked, [], cards, 0, CORES, START).placements:
        used[placement.shares[0].gpu_uuid] += wanted * GIB
    assert all(used[card.gpu.uuid] <= card.shareable_bytes for card in cards[1:])
    assert used["GPU-0"] <= max(8 * GIB, sum(held) * GIB)
