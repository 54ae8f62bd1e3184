from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.jobs.box import Box
from appliance.scheduler.admission import refusal
from tests.factories import make_gpu, make_spec

pytestmark = pytest.mark.unit

GIB = 1024**3
P100 = replace(make_gpu(2), name="Tesla P100-PCIE-16GB", memory_total_bytes=16 * GIB)
CPU_BOX = Box(gpu_error="There is no NVIDIA driver.", cpus=2, memory_bytes=8 * GIB)
GPU_BOX = Box(gpus=(make_gpu(0), make_gpu(1)), cpus=2, memory_bytes=8 * GIB)
MIXED_BOX = Box(gpus=(make_gpu(0), make_gpu(1), P100), cpus=2, memory_bytes=8 * GIB)


@pytest.mark.parametrize(
    "values",
    [
        {"gpus": 2, "cpus": 2, "memory": "8G"},
        {"gpus": 2, "gpu_memory": "8G"},
        {"gpus": 2, "gpu_model": "1070 ti"},
        {"gpu_memory": "16G"},
        {"gpu_model": "P100", "gpu_memory": "16G"},
    ],
)
def test_what_fits_is_admitted(values: dict[str, object]) -> None:
    assert refusal(make_spec(**values), MIXED_BOX) is None


def test_a_box_not_looked_at_yet_refuses_nothing() -> None:
    assert refusal(make_spec(gpus=64), None) is None


@pytest.mark.parametrize(
    ("values", "box", "sentence"),
    [
        ({"gpus": 3}, GPU_BOX, "The job asks for 3 GPUs; this box has 2. Ask for fewer with --gpus."),
        ({"gpus": 1}, CPU_BOX, "this box has none (There is no NVIDIA driver). Leave --gpus out"),
        ({"cpus": 3}, GPU_BOX, "The job asks for 3 cores; this box has 2."),
        ({"memory": "9G"}, GPU_BOX, "The job asks for 9.0 GiB of memory; this box has 8.0 GiB."),
        (
            {"gpu_model": "GTX 1070"},
            MIXED_BOX,
            "this box has 2 x NVIDIA GeForce GTX 1070 Ti, 1 x Tesla P100-PCIE-16GB. Ask for one of these",
        ),
        ({"gpus": 2, "gpu_model": "P100"}, MIXED_BOX, "The job asks for 2 GPUs of model P100"),
        (
            {"gpu_memory": "17G"},
            MIXED_BOX,
            "17.0 GiB of the memory of a GPU; this box has 16.0 GiB there. Ask for less with --gpu-memory.",
        ),
        (
            {"gpus": 2, "gpu_memory": "9G"},
            MIXED_BOX,
            "9.0 GiB of the memory of each of 2 GPUs; this box has 8.0 GiB there.",
        ),
        ({"gpu_memory": "9G", "gpu_model": "1070 Ti"}, MIXED_BOX, "this box has 8.0 GiB there"),
    ],
)
def test_what_can_never_run_is_refused(values: dict[str, object], box: Box, sentence: str) -> None:
    assert sentence in (refusal(make_spec(**values), box) or "")


def test_what_the_driver_reserves_is_not_for_jobs() -> None:
    box = replace(GPU_BOX, gpus=(replace(make_gpu(0), memory_reserved_bytes=75 * 1024**2),))
    assert "this box has 7.9 GiB there" in (refusal(make_spec(gpu_memory="8G"), box) or "")
    assert refusal(make_spec(gpu_memory="7.9G"), box) is None
