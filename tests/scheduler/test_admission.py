from __future__ import annotations

import pytest

from appliance.jobs.box import Box
from appliance.scheduler.admission import refusal
from tests.factories import make_gpu, make_spec

pytestmark = pytest.mark.unit

CPU_BOX = Box(gpu_error="There is no NVIDIA driver.", cpus=2, memory_bytes=8 * 1024**3)
GPU_BOX = Box(gpus=(make_gpu(0), make_gpu(1)), cpus=2, memory_bytes=8 * 1024**3)


def test_what_fits_is_admitted() -> None:
    assert refusal(make_spec(gpus=2, cpus=2, memory="8G"), GPU_BOX) is None


def test_a_box_not_looked_at_yet_refuses_nothing() -> None:
    assert refusal(make_spec(gpus=64), None) is None


@pytest.mark.parametrize(
    ("values", "box", "sentence"),
    [
        ({"gpus": 3}, GPU_BOX, "The job asks for 3 GPUs; this box has 2. Ask for fewer with --gpus."),
        ({"gpus": 1}, CPU_BOX, "this box has none (There is no NVIDIA driver). Leave --gpus out"),
        ({"cpus": 3}, GPU_BOX, "The job asks for 3 cores; this box has 2."),
        ({"memory": "9G"}, GPU_BOX, "The job asks for 9.0 GiB of memory; this box has 8.0 GiB."),
    ],
)
def test_what_can_never_run_is_refused(values: dict[str, object], box: Box, sentence: str) -> None:
    assert sentence in (refusal(make_spec(**values), box) or "")
