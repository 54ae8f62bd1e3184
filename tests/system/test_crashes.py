"""Whatever dies in the middle of a job, the job runs on and ends with its true outcome."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.own_engine import OwnEngine
from tests.system.running_box import PROCESSES, RunningBox, until

pytestmark = pytest.mark.docker

COUNTS = "import time\nfor i in range(60): print('line', i, flush=True); time.sleep(0.1)\nraise SystemExit(3)"
ALL_LINES = "".join(f"line {number}\n" for number in range(60))


@pytest.mark.parametrize("name", PROCESSES)
def test_a_job_outlives_the_death_of_a_process(own_box: RunningBox, name: str) -> None:
    own_box.start()
    job_id = own_box.submit(own_box.script(COUNTS))
    until(lambda: "line 10" in own_box.spud("logs", str(job_id)).stdout, "the job has written")
    own_box.kill(name)
    own_box.start(name)
    job = own_box.wait(job_id)
    assert (job["exit_code"], len(job["attempts"])) == (3, 1)
    assert own_box.spud("logs", str(job_id)).stdout == ALL_LINES


def test_what_ended_while_the_scheduler_was_dead_is_told_whole(own_box: RunningBox) -> None:
    own_box.start()
    job_id = own_box.submit(
        own_box.script("import time; time.sleep(1); print('last words'); raise SystemExit(5)")
    )
    own_box.wait(job_id, "running")
    own_box.kill("scheduler")
    until(lambda: is_ended(f"{own_box.prefix}-{job_id}-1"), "the container has ended")
    own_box.start("scheduler")
    assert own_box.wait(job_id)["exit_code"] == 5
    assert own_box.spud("logs", str(job_id)).stdout == "last words\n"


def test_a_container_removed_by_hand_is_noticed(own_box: RunningBox) -> None:
    own_box.start()
    job_id = own_box.submit("--", "sleep", "600")
    own_box.wait(job_id, "running")
    docker("rm", "--force", f"{own_box.prefix}-{job_id}-1")
    job = own_box.wait(job_id)
    assert (job["outcome"], job["reason"]) == ("lost", "container_removed")


@pytest.fixture
def slow_box(tmp_path: Path) -> Iterator[RunningBox]:
    """A Spud that looks at the engine rarely."""
    box = RunningBox(tmp_path, SPUD_SCHEDULER_RECONCILE_SECONDS="10")
    yield box
    box.stop()


def test_a_job_waits_for_its_network_that_somebody_has_removed(slow_box: RunningBox) -> None:
    slow_box.start()
    script = slow_box.script("print('done')")
    slow_box.wait(slow_box.submit(script))
    docker("network", "rm", slow_box.prefix)
    assert slow_box.wait(slow_box.submit(script))["outcome"] == "succeeded"


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[OwnEngine]:
    engine = OwnEngine(tmp_path / "engine")
    engine.start()
    engine.load("spud/base:latest")
    yield engine
    engine.remove()


@pytest.fixture
def box_on_own_engine(tmp_path: Path, own_engine: OwnEngine) -> Iterator[RunningBox]:
    box = RunningBox(tmp_path, SPUD_ENGINE_SOCKET=own_engine.socket)
    yield box
    box.stop()


def test_jobs_wait_for_an_engine_that_is_down(box_on_own_engine: RunningBox, own_engine: OwnEngine) -> None:
    box = box_on_own_engine
    own_engine.kill()
    box.start()
    job_id = box.submit("--", "true")
    until(lambda: "engine" in (box.job(job_id)["waiting_for"] or ""), "the job says why it waits")
    own_engine.start()
    assert box.wait(job_id)["outcome"] == "succeeded"


def test_a_job_outlives_the_death_of_the_engine(box_on_own_engine: RunningBox, own_engine: OwnEngine) -> None:
    box = box_on_own_engine
    box.start()
    job_id = box.submit(box.script(COUNTS))
    until(lambda: "line 10" in box.spud("logs", str(job_id)).stdout, "the job has written")
    own_engine.kill()
    own_engine.start()
    assert box.wait(job_id)["exit_code"] == 3
    assert box.spud("logs", str(job_id)).stdout == ALL_LINES


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def is_ended(name: str) -> bool:
    return docker("inspect", "--format", "{{.State.Running}}", name).strip() == "false"
