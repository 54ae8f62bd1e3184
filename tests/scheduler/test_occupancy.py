from __future__ import annotations

import time
from typing import Literal

import pytest

from appliance.containers.engine import ContainerSummary
from appliance.gpus.gpu import GpuProcess, GpuReading
from appliance.scheduler.occupancy import Occupancy, cards_of_strangers
from appliance.scheduler.reconciler import Found

pytestmark = pytest.mark.unit

GIB, MIB = 1024**3, 1024**2
OURS, STRANGE, OTHERS = "a" * 64, "b" * 64, "c" * 64
CONTAINERS = {11: OURS, 21: STRANGE, 31: OTHERS}
NAMES = {11: "python3", 21: "python3", 31: "train", 41: "python3", 51: "Xorg", 52: "gnome-shell"}


def make_container(container_id: str, name: str, *gpu_uuids: str) -> ContainerSummary:
    return ContainerSummary(
        id=container_id,
        name=name,
        job_id=1,
        attempt=1,
        token="",
        gpu_uuids=gpu_uuids,
        is_running=True,
    )


FOUND = Found((make_container(OURS, "spud-1-1"),), (make_container(STRANGE, "spud-9-1"),))


def held(pid: int, size: int | None, kind: Literal["compute", "graphics"] = "compute") -> GpuProcess:
    return GpuProcess(pid, kind, size)


def reading(*processes: GpuProcess, used: int | None = None) -> GpuReading:
    explained = sum(process.memory_bytes or 0 for process in processes)
    return GpuReading(
        "GPU-0", 0.0, up=True, memory_used_bytes=explained if used is None else used, processes=processes
    )


class Looks:
    """One look after another, at a box whose processes are those above."""

    def __init__(self) -> None:
        self._occupancy = Occupancy(512 * MIB, CONTAINERS.get, NAMES.get)

    def reason(self, seen: GpuReading, *, has_jobs: bool = False, asked_at: float = 0.0) -> str | None:
        uses = self._occupancy.look([seen], FOUND, asked_at, {"GPU-0"} if has_jobs else set())
        return uses["GPU-0"].reason

    def tolerated(self, seen: GpuReading) -> int:
        return self._occupancy.look([seen], FOUND, 0.0, set())["GPU-0"].tolerated_bytes


@pytest.fixture
def looks() -> Looks:
    return Looks()


def test_a_card_that_nobody_holds_is_free(looks: Looks) -> None:
    assert looks.reason(reading(used=4 * MIB)) is None


def test_a_job_of_ours_is_no_stranger(looks: Looks) -> None:
    assert looks.reason(reading(held(11, 5 * GIB)), has_jobs=True) is None


def test_a_process_from_outside_keeps_a_card_from_jobs(looks: Looks) -> None:
    assert (
        looks.reason(reading(held(41, 3328 * MIB))) == "process 41 (python3) from outside Spud holds 3.2 GiB"
    )
    assert looks.reason(reading(held(41, None))) == "process 41 (python3) from outside Spud holds it"


def test_a_small_computation_counts_as_well(looks: Looks) -> None:
    assert looks.reason(reading(held(41, 1 * MIB))) == "process 41 (python3) from outside Spud holds 0.1 GiB"


def test_a_stranger_beside_a_job_of_ours_keeps_others_away(looks: Looks) -> None:
    seen = reading(held(11, GIB), held(41, GIB))
    assert looks.reason(seen, has_jobs=True) == "process 41 (python3) from outside Spud holds 1.0 GiB"


def test_a_container_that_is_not_ours_is_a_stranger(looks: Looks) -> None:
    assert looks.reason(reading(held(31, 2 * GIB))) == "process 31 (train) from outside Spud holds 2.0 GiB"


def test_a_container_that_has_just_started_may_be_ours(looks: Looks) -> None:
    seen = reading(held(31, 2 * GIB))
    before = time.monotonic() - 1
    assert looks.reason(seen, has_jobs=True, asked_at=before) is None
    assert looks.reason(seen, has_jobs=True, asked_at=time.monotonic() + 1) is not None


def test_a_container_with_our_label_and_no_job_is_named(looks: Looks) -> None:
    assert looks.reason(reading(held(21, GIB))) == (
        "the container spud-9-1, which belongs to no job, has it; end it with: docker rm --force spud-9-1"
    )


def test_a_card_that_such_a_container_was_given_is_withheld_though_nothing_runs_there() -> None:
    found = Found((), (make_container(STRANGE, "spud-9-1", "GPU-7"),))
    assert list(cards_of_strangers(found)) == ["GPU-7"]
    assert "spud-9-1" in cards_of_strangers(found)["GPU-7"]


def test_the_desktop_may_have_some(looks: Looks) -> None:
    seen = reading(held(51, 200 * MIB, "graphics"), held(52, 190 * MIB, "graphics"))
    assert looks.reason(seen) is None
    assert looks.tolerated(seen) == 384 * MIB


def test_a_desktop_that_has_more_keeps_the_card_from_jobs(looks: Looks) -> None:
    seen = reading(held(51, 400 * MIB, "graphics"), held(52, 400 * MIB, "graphics"))
    assert looks.reason(seen) == (
        "the desktop (process 51 (Xorg) and 1 more) holds 0.8 GiB, more than [gpus] tolerated_bytes"
    )


def test_who_draws_and_computes_is_the_desktop(looks: Looks) -> None:
    assert looks.reason(reading(held(51, 100 * MIB, "compute"), held(51, 100 * MIB, "graphics"))) is None


def test_memory_that_no_process_explains_counts_on_a_card_without_jobs(looks: Looks) -> None:
    seen = reading(used=2 * GIB)
    assert looks.reason(seen) == "2.0 GiB of its memory are in use by no process that the driver names"
    assert looks.reason(seen, has_jobs=True) is None


def test_a_process_that_the_kernel_does_not_show_counts_when_seen_twice(looks: Looks) -> None:
    seen = reading(held(99, 100 * MIB))
    assert looks.reason(seen) is None
    assert looks.reason(seen) == "process 99 from outside Spud holds 0.1 GiB"
    assert looks.reason(reading()) is None
    assert looks.reason(seen) is None


def test_a_card_that_is_down_is_left_to_its_quarantine() -> None:
    assert Occupancy(0).look([GpuReading("GPU-0", 0.0, up=False)], Found(), 0.0, set()) == {}
