from __future__ import annotations

import pytest

from appliance.jobs.job import Job
from appliance.scheduler.placement import place
from tests.factories import make_gpu, make_job

pytestmark = pytest.mark.unit


def started(pending: list[Job], gpus: int = 0, cpus: float = 0) -> dict[int, tuple[str, ...]]:
    placements, _ = place(pending, [make_gpu(index) for index in range(gpus)], cpus, all_cpus=2)
    return {placement.job.id: placement.gpu_uuids for placement in placements}


def reasons(pending: list[Job], gpus: int = 0, cpus: float = 0) -> dict[int, str]:
    _, waiting = place(pending, [make_gpu(index) for index in range(gpus)], cpus, all_cpus=2)
    return {wait.job.id: wait.reason for wait in waiting}


def test_jobs_get_different_gpus() -> None:
    assert started([make_job(1, gpus=1), make_job(2, gpus=2)], gpus=4) == {
        1: ("GPU-0",),
        2: ("GPU-1", "GPU-2"),
    }


def test_a_large_job_at_the_head_is_not_overtaken() -> None:
    assert started([make_job(1, gpus=4), make_job(2, gpus=1)], gpus=2) == {}


def test_a_waiting_job_says_what_it_waits_for() -> None:
    assert reasons([make_job(1, gpus=2), make_job(2, gpus=1)], gpus=1) == {
        1: "2 GPUs, of which 1 is free",
        2: "job 1, which is ahead and waits for 2 GPUs, of which 1 is free",
    }


def test_jobs_without_gpu_do_not_wait_for_gpus() -> None:
    assert started([make_job(1, gpus=1), make_job(2)], gpus=0, cpus=2) == {2: ()}


def test_a_job_without_gpu_takes_all_cores_unless_it_asks_for_fewer() -> None:
    assert started([make_job(1), make_job(2)], cpus=2) == {1: ()}
    assert started([make_job(1, cpus=1), make_job(2, cpus=1)], cpus=2) == {1: (), 2: ()}
    assert reasons([make_job(1), make_job(2)], cpus=2)[2] == "2 cores, of which 0 are free"
