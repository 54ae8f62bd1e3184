"""A process or the engine dies at every step of a job's life: it runs once and ends with its true outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.failpoints import FAILPOINTS
from tests.nvml.simulation import SimulatedGpus
from tests.system.ordeal import Ordeal
from tests.system.own_engine import OwnEngine
from tests.system.running_box import RunningBox, until

pytestmark = pytest.mark.docker

LINES = 8
OF_THE_WEB = ("submit.recorded",)
OF_A_SECOND_ATTEMPT = ("requeue.recorded",)
OF_A_STOP = ("stop.recorded",)
OF_ONE_ATTEMPT = [
    point for point in FAILPOINTS if point not in (*OF_THE_WEB, *OF_A_SECOND_ATTEMPT, *OF_A_STOP)
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    own = OwnEngine(tmp_path_factory.mktemp("engine") / "engine")
    own.start()
    own.load("spud/base:latest")
    yield own
    own.remove()


@pytest.fixture
def ordeal(
    tmp_path: Path, engine: OwnEngine, nvml_library: Path, simulated_gpus: SimulatedGpus
) -> Iterator[Ordeal]:
    box = RunningBox(
        tmp_path,
        SPUD_ENGINE_SOCKET=engine.socket,
        SPUD_NETWORK_MODE="none",
        SPUD_SCHEDULER_RECONCILE_SECONDS="0.5",
        SPUD_GPUS_LIBRARY=str(nvml_library),
        SPUD_SIMULATED_GPUS=str(simulated_gpus.path),
        SPUD_GPUS_INJECTION="environment",
    )
    yield Ordeal(box, engine)
    box.stop()


def test_the_page_dies_before_it_has_acknowledged(ordeal: Ordeal) -> None:
    ordeal.box.start()
    ordeal.box.kill("web")
    ordeal.box.start("web", failpoints="submit.recorded=kill")
    ordeal.box.wait_until_ready()
    assert ordeal.submit(LINES, 0.05, 3) is None
    ordeal.box.wait_for_death("web")
    ordeal.box.start("web")
    until(ordeal.box.storage.jobs.list, "the job is there all the same")
    ordeal.wait_until_over()
    assert ordeal.faults() == []


@pytest.mark.parametrize("point", OF_ONE_ATTEMPT)
def test_the_scheduler_dies_at_every_step(ordeal: Ordeal, point: str) -> None:
    ordeal.box.start(failpoints=f"{point}=kill")
    ordeal.box.wait_until_ready()
    job_id = ordeal.submit(LINES, 0.05, 3, "--gpus", "1")
    ordeal.box.wait_for_death("scheduler")
    ordeal.box.start("scheduler")
    ordeal.wait_until_over()
    assert ordeal.faults() == []
    assert len(ordeal.box.storage.jobs.attempts(job_id or 0)) == 1


@pytest.mark.parametrize("point", OF_A_STOP)
def test_the_scheduler_dies_while_it_stops_a_job(ordeal: Ordeal, point: str) -> None:
    ordeal.box.start(failpoints=f"{point}=kill")
    ordeal.box.wait_until_ready()
    job_id = ordeal.submit(10_000, 0.05, 0, "--gpus", "1")
    ordeal.box.wait(job_id or 0, "running")
    ordeal.box.spud("cancel", str(job_id))
    ordeal.box.wait_for_death("scheduler")
    ordeal.box.start("scheduler")
    ordeal.wait_until_over()
    assert ordeal.faults() == []
    assert ordeal.box.job(job_id or 0)["outcome"] == "cancelled"


@pytest.mark.parametrize("point", OF_ONE_ATTEMPT)
def test_the_engine_dies_at_every_step(ordeal: Ordeal, point: str, tmp_path: Path) -> None:
    engine, here = ordeal.engine, tmp_path / "here"
    assert engine
    ordeal.box.start(failpoints=f"{point}=wait:{here}")
    ordeal.box.wait_until_ready()
    job_id = ordeal.submit(LINES, 0.05, 3, "--gpus", "1")
    until(here.exists, f"the scheduler is at {point}")
    engine.kill()
    here.unlink()
    engine.start()
    ordeal.wait_until_over()
    assert ordeal.faults() == []
    assert len(ordeal.box.storage.jobs.attempts(job_id or 0)) == 1


def test_a_power_cut_lets_the_job_run_again(ordeal: Ordeal, tmp_path: Path) -> None:
    job_id = cut_power_while_running(ordeal, tmp_path)
    ordeal.wait_until_over()
    assert ordeal.faults() == []
    first, second = ordeal.box.job(job_id)["attempts"]
    assert (first["outcome"], first["reason"]) == ("lost", "box_restarted")
    assert (second["outcome"], second["exit_code"]) == ("failed", 3)


def test_a_power_cut_is_the_end_of_a_job_that_shall_not_run_again(ordeal: Ordeal, tmp_path: Path) -> None:
    job_id = cut_power_while_running(ordeal, tmp_path, "--no-requeue")
    job = ordeal.box.wait(job_id)
    assert (job["outcome"], job["reason"], len(job["attempts"])) == ("lost", "box_restarted", 1)
    assert ordeal.box.storage.jobs.reservations() == ()


def test_the_scheduler_dies_while_it_lets_a_job_run_again(ordeal: Ordeal, tmp_path: Path) -> None:
    cut_power_while_running(ordeal, tmp_path, failpoints="requeue.recorded=kill")
    ordeal.box.wait_for_death("scheduler")
    ordeal.box.start("scheduler")
    ordeal.wait_until_over()
    assert ordeal.faults() == []


def cut_power_while_running(ordeal: Ordeal, folder: Path, *options: str, failpoints: str = "") -> int:
    """Cut the power of box and engine while a job runs, and boot both again."""
    assert ordeal.engine
    ordeal.box.start()
    ordeal.box.wait_until_ready()
    job_id = ordeal.submit(60, 0.05, 3, "--gpus", "1", *options) or 0
    ordeal.box.wait(job_id, "running")
    for name in ("scheduler", "web", "exporter"):
        ordeal.box.kill(name)
    ordeal.engine.cut_power()
    ordeal.engine.start()
    boot_id = folder / "boot_id"
    boot_id.write_text("another boot\n")
    ordeal.box.start(failpoints=failpoints, boot_id=boot_id)
    return job_id
