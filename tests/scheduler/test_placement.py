from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from appliance.jobs.job import Request, Reservation
from appliance.scheduler.placement import Card, CoresHeld, Plan, plan
from tests.factories import make_gpu, make_request

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
HOUR = 3600
GIB = 1024**3


def held(job_id: int, gpu: int, memory: int | None = None, ends_in: float | None = None) -> Reservation:
    return Reservation(f"GPU-{gpu}", job_id, 1, memory, None if ends_in is None else NOW + ends_in)


def make_cards(count: int, *reservations: Reservation) -> list[Card]:
    return [
        Card(gpu, tuple(one for one in reservations if one.gpu_uuid == gpu.uuid))
        for gpu in (make_gpu(index) for index in range(count))
    ]


def planned(
    waiting: Sequence[Request],
    cards: Sequence[Card] = (),
    cpus: float = 0,
    held_cpus: Sequence[CoresHeld] = (),
) -> Plan:
    return plan(
        [request for request in waiting if request.gpus],
        [request for request in waiting if not request.gpus],
        cards,
        cpus,
        all_cpus=2,
        now=NOW,
        held_cpus=held_cpus,
    )


def started(*arguments: object, **named: object) -> dict[int, tuple[str, ...]]:
    decided = planned(*arguments, **named)  # type: ignore[arg-type]
    return {one.request.job_id: tuple(share.gpu_uuid for share in one.shares) for one in decided.placements}


def test_jobs_get_different_gpus() -> None:
    assert started([make_request(1, gpus=1), make_request(2, gpus=2)], make_cards(4)) == {
        1: ("GPU-0",),
        2: ("GPU-1", "GPU-2"),
    }


def test_jobs_without_gpu_do_not_wait_for_gpus() -> None:
    assert started([make_request(1, gpus=1), make_request(2)], [], cpus=2) == {2: ()}


def test_a_job_without_gpu_takes_all_cores_unless_it_asks_for_fewer() -> None:
    assert started([make_request(1), make_request(2)], cpus=2) == {1: ()}
    assert started([make_request(1, cpus=1), make_request(2, cpus=1)], cpus=2) == {1: (), 2: ()}
    assert started([make_request(job_id, cpus=0.1) for job_id in range(1, 25)], cpus=2).keys() == set(
        range(1, 21)
    )


# Memory


def test_jobs_that_ask_for_memory_share_a_card() -> None:
    decided = planned([make_request(job_id, gpu_memory="3G") for job_id in (1, 2, 3)], make_cards(2))
    assert [(one.request.job_id, one.shares[0].gpu_uuid) for one in decided.placements] == [
        (1, "GPU-0"),
        (2, "GPU-0"),
        (3, "GPU-1"),
    ]
    assert decided.placements[0].shares[0].memory_bytes == 3 * GIB
    assert decided.placements[0].shares[0].capacity_bytes == 8 * GIB


def test_memory_goes_where_it_fits_best() -> None:
    cards = make_cards(3, held(7, 1, 4 * GIB), held(8, 2, 2 * GIB))
    assert started([make_request(1, gpu_memory="4G")], cards) == {1: ("GPU-1",)}
    assert started([make_request(1, gpu_memory="5G")], cards) == {1: ("GPU-2",)}
    assert started([make_request(1, gpu_memory="7G")], cards) == {1: ("GPU-0",)}


def test_a_shared_card_is_nobodys_whole_card_and_a_whole_card_is_not_shared() -> None:
    assert started([make_request(1, gpus=1)], make_cards(1, held(7, 0, GIB))) == {}
    assert started([make_request(1, gpu_memory="1G")], make_cards(1, held(7, 0))) == {}


def test_memory_on_two_gpus_is_on_two_gpus() -> None:
    assert started([make_request(1, gpus=2, gpu_memory="1G")], make_cards(2)) == {1: ("GPU-0", "GPU-1")}
    assert started([make_request(1, gpus=2, gpu_memory="1G")], make_cards(1)) == {}


def test_what_the_desktop_holds_is_not_shared() -> None:
    card = Card(make_gpu(0), capacity_bytes=7 * GIB)
    assert started([make_request(1, gpu_memory="8G")], [card]) == {}
    assert started([make_request(1, gpu_memory="7G")], [card]) == {1: ("GPU-0",)}


# Models


def test_a_model_is_told_by_whole_words_in_any_case() -> None:
    plain = Card(replace(make_gpu(0), name="NVIDIA GeForce GTX 1070"))
    ti = Card(make_gpu(1))
    assert started([make_request(1, gpu_model="gtx 1070")], [ti, plain]) == {1: ("GPU-0",)}
    assert started([make_request(1, gpu_model="1070 TI")], [ti, plain]) == {1: ("GPU-1",)}
    assert started([make_request(1, gpu_model="107")], [ti, plain]) == {}
    assert make_gpu(0).is_model("GeForce")
    assert replace(make_gpu(0), name="Tesla P100-PCIE-16GB").is_model("P100")
    assert not replace(make_gpu(0), name="NVIDIA GeForce RTX 4070 Ti SUPER").is_model("4070 Ti")


def test_a_job_for_another_model_does_not_wait_for_one_ahead() -> None:
    other = Card(replace(make_gpu(1), name="Tesla P100-PCIE-16GB"))
    waiting = [make_request(1, gpu_model="1070 Ti"), make_request(2, gpu_model="P100")]
    assert started(waiting, [*make_cards(1, held(7, 0)), other]) == {2: ("GPU-1",)}


# Order


def test_a_large_job_at_the_head_is_not_overtaken() -> None:
    waiting = [make_request(1, gpus=2), make_request(2, gpus=1)]
    assert started(waiting, make_cards(2, held(7, 0))) == {}


def test_a_job_that_ends_in_time_may_go_first() -> None:
    cards = make_cards(2, held(7, 0, ends_in=HOUR))
    waiting = [make_request(1, gpus=2), make_request(2, gpus=1, time="1h"), make_request(3, gpus=1)]
    assert started(waiting, cards) == {2: ("GPU-1",)}
    assert started([waiting[0], make_request(2, gpus=1, time="61m")], cards) == {}


def test_a_job_may_go_first_on_what_the_one_ahead_does_not_need() -> None:
    cards = make_cards(4, held(7, 0, ends_in=HOUR), held(8, 1, ends_in=2 * HOUR))
    assert started([make_request(1, gpus=3), make_request(2, gpus=1)], cards) == {}
    cards = make_cards(4, held(7, 1, ends_in=HOUR), held(8, 2, ends_in=HOUR), held(9, 3, ends_in=HOUR))
    assert started([make_request(1, gpus=2), make_request(2, gpus=1)], cards) == {2: ("GPU-0",)}
    cards = make_cards(3, held(7, 0, 5 * GIB, ends_in=HOUR), held(8, 1, 5 * GIB), held(9, 2))
    waiting = [make_request(1, gpu_memory="6G"), make_request(2, gpu_memory="3G")]
    assert started(waiting, cards) == {2: ("GPU-1",)}


def test_an_end_without_limit_is_never() -> None:
    waiting = [make_request(1, gpus=2), make_request(2, gpus=1, time="1m")]
    assert started(waiting, make_cards(2, held(7, 0))) == {}


def test_a_card_that_is_not_given_away_keeps_no_other_idle() -> None:
    cards = [*make_cards(1), Card(make_gpu(1), withheld="it is lost")]
    assert started([make_request(1, gpus=2), make_request(2, gpus=1)], cards) == {2: ("GPU-0",)}


def test_cores_follow_the_same_order() -> None:
    mine = [CoresHeld(7, 1, NOW + HOUR)]
    waiting = [make_request(1, cpus=2), make_request(2, cpus=1, time="1h"), make_request(3, cpus=1)]
    assert started(waiting, cpus=1, held_cpus=mine) == {2: ()}
    assert started(waiting[:1] + waiting[2:], cpus=1, held_cpus=mine) == {}
    assert started(waiting, cpus=1) == {}


def test_nobody_overtakes_beyond_the_promises_either() -> None:
    large = [make_request(job_id, gpus=2) for job_id in range(1, 40)]
    assert started([*large, make_request(99, gpus=1)], make_cards(2, held(7, 0, ends_in=HOUR))) == {}
    quick = make_request(99, gpus=1, time="1h")
    assert started([*large, quick], make_cards(2, held(7, 0, ends_in=HOUR))) == {99: ("GPU-1",)}


# Reasons


def reasons(*arguments: object, **named: object) -> dict[int, str]:
    return planned(*arguments, **named).waiting  # type: ignore[arg-type]


def test_a_job_says_who_has_what_it_waits_for() -> None:
    cards = make_cards(3, held(7, 0, ends_in=HOUR), held(8, 1))
    assert reasons([make_request(1, gpus=2)], cards)[1] == (
        "2 GPUs, of which 1 is free; job 7 has GPU 0 until 2027-01-15 09:00 UTC at the latest;"
        " job 8 has GPU 1"
    )


def test_a_job_says_why_a_card_is_not_given_away() -> None:
    cards = [Card(make_gpu(0), withheld="process 4242 (python3) from outside Spud holds 3.1 GiB. End it.")]
    assert reasons([make_request(1, gpus=1)], cards)[1] == (
        "a GPU; GPU 0 is not given away: process 4242 (python3) from outside Spud holds 3.1 GiB"
    )


def test_a_job_says_how_much_memory_it_waits_for() -> None:
    cards = make_cards(1, held(7, 0, 5 * GIB))
    assert reasons([make_request(1, gpu_memory="6G")], cards)[1] == (
        "6.0 GiB of the memory of a GPU; job 7 has 5.0 GiB of GPU 0"
    )


def test_a_job_says_who_is_ahead() -> None:
    decided = planned([make_request(1, gpus=2), make_request(2, gpus=1)], make_cards(2, held(7, 0)))
    assert decided.waiting[2] == "a GPU; job 7 has GPU 0; job 1 is ahead"
    assert decided.lanes["gpus"] == "job 1, which is ahead and waits for 2 GPUs"


def test_a_job_for_cards_that_are_gone_says_so() -> None:
    waiting = [make_request(1, gpus=2, gpu_model="P100")]
    assert reasons(waiting, make_cards(1))[1] == "2 GPUs of model P100, of which this box has none"


def test_many_jobs_need_no_reason_each() -> None:
    decided = planned([make_request(job_id, gpus=1) for job_id in range(1, 1001)], make_cards(1, held(7, 0)))
    assert len(decided.waiting) < 30
    assert decided.lanes["gpus"] == "job 1, which is ahead and waits for a GPU"


def test_a_job_without_gpu_says_how_many_cores_are_free() -> None:
    decided = planned([make_request(1)], cpus=0.5, held_cpus=[CoresHeld(7, 1.5, NOW + HOUR)])
    assert decided.waiting[1] == (
        "2 cores, of which 0.5 are free; job 7 has 1.5 cores until 2027-01-15 09:00 UTC at the latest"
    )


def test_more_cores_taken_than_there_are_leave_none() -> None:
    held_cpus = [CoresHeld(7, 4.0, None)]
    decided = planned([make_request(1)], cpus=-2.0, held_cpus=held_cpus)
    assert decided.waiting[1] == "2 cores, of which none is free; job 7 has 4 cores"


def test_a_job_knows_when_it_starts_at_the_latest() -> None:
    decided = planned([make_request(1, gpus=1)], make_cards(1, held(7, 0, ends_in=HOUR)))
    assert decided.promises == {1: NOW + HOUR}


def test_two_thousand_jobs_are_planned_in_a_moment() -> None:
    """The limit is 30 ms on a quiet machine; the test allows for a busy one."""
    cards = make_cards(8, *(held(90 + gpu, gpu, 2 * GIB, ends_in=HOUR * (gpu + 1)) for gpu in range(7)))
    on_gpus = [
        make_request(number, gpus=1 + number % 4, gpu_memory=None if number % 3 else f"{1 + number % 7}G")
        for number in range(1, 1001)
    ]
    on_gpus = [replace(one, time_s=None if one.job_id % 5 else 60 * one.job_id) for one in on_gpus]
    on_cpus = [make_request(number, cpus=1 + number % 2, time=number) for number in range(1001, 2001)]
    started_at = time.process_time()
    plan(on_gpus, on_cpus, cards, 1.0, 16.0, NOW)
    assert time.process_time() - started_at < 0.1
