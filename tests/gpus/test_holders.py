from __future__ import annotations

import os

import pytest

from appliance.gpus.gpu import GpuProcess, GpuReading
from appliance.gpus.holders import left_over, process_name

pytestmark = pytest.mark.unit

OURS, OTHERS = "a" * 64, "b" * 64
CONTAINERS = {11: OURS, 12: OURS, 21: OTHERS}


def reading(*pids: int) -> GpuReading:
    return GpuReading("GPU-0", 0.0, up=True, processes=tuple(GpuProcess(pid, "compute", 8) for pid in pids))


def left(*pids: int) -> str | None:
    return left_over(reading(*pids), CONTAINERS.get, OURS, name_of={11: "python3"}.get)


def test_an_ended_container_that_holds_nothing_left_nothing_over() -> None:
    assert left() is None
    assert left(21, 99) is None


def test_a_process_of_an_ended_container_is_left_over() -> None:
    assert left(11, 21) == "process 11 (python3) of the ended container still holds it"
    assert left(11, 12, 12) == "process 11 (python3) and 1 more of the ended container still hold it"


def test_a_gpu_that_lists_no_processes_tells_nothing() -> None:
    assert left_over(GpuReading("GPU-0", 0.0, up=True), CONTAINERS.get, OURS) is None


def test_a_process_has_the_kernels_name() -> None:
    assert process_name(os.getpid())
    assert process_name(2**22 + 1) is None
