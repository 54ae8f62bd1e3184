"""GPUs between jobs, strangers and faults: simulated cards, and real jobs in real containers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.jobs.box import LEFT_OVER, LOST, XID, Box
from tests.nvml.simulation import GTX_1070_TI, SimulatedGpus, uuid_of
from tests.system.running_box import RunningBox, until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

GIB = 1024**3
FIRST, SECOND = uuid_of(0), uuid_of(1)
SLEEP = ("--", "sleep", "300")
CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def cards(nvml_library: Path) -> SimulatedGpus:
    return SimulatedGpus(nvml_library.parent)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, nvml_library: Path, cards: SimulatedGpus
) -> Iterator[RunningBox]:
    cards.write([GTX_1070_TI, GTX_1070_TI])
    box = RunningBox(
        tmp_path_factory.mktemp("box"),
        SPUD_GPUS_LIBRARY=str(nvml_library),
        SPUD_SIMULATED_GPUS=str(cards.path),
        SPUD_GPUS_INJECTION="environment",
        SPUD_GPUS_RELEASE_SECONDS="1",
        SPUD_SCHEDULER_STOP_GRACE_SECONDS="1",
    )
    box.start()
    yield box
    box.stop()


@pytest.fixture
def box(running: RunningBox, cards: SimulatedGpus) -> Iterator[RunningBox]:
    """The box with two cards at rest, on which nothing runs."""
    yield running
    cards.write([GTX_1070_TI, GTX_1070_TI])
    for job, _ in running.storage.jobs.active():
        running.spud("cancel", str(job.id), check=False)
    for waiting in running.storage.jobs.waiting():
        running.spud("cancel", str(waiting.id), check=False)
    until(lambda: not running.storage.jobs.active(), "nothing runs")
    for entry in running.storage.box.quarantines():
        running.storage.box.request_release(entry.gpu_uuid, "ada")
    until(lambda: is_at_rest(running), "the cards are free again")


def is_at_rest(box: RunningBox) -> bool:
    return not (box.storage.box.quarantines() or seen(box).occupied)


def seen(box: RunningBox) -> Box:
    return box.storage.box.box() or Box()


def causes(box: RunningBox) -> dict[str, str]:
    return {entry.gpu_uuid: entry.cause for entry in box.storage.box.quarantines()}


def wait_for_reason(box: RunningBox, job_id: int, words: str) -> str:
    """Wait until a job says that it waits for this, and return all that it says."""
    jobs = box.storage.jobs
    until(lambda: words in (jobs.reason_to_wait(jobs.get(job_id)) or ""), f"job {job_id} waits for {words}")
    return jobs.reason_to_wait(jobs.get(job_id)) or ""


def container_of(box: RunningBox, job_id: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(
        subprocess.check_output(["docker", "inspect", f"{box.prefix}-{job_id}-1"])
    )
    return found[0]


@contextmanager
def process_of_container(container_id: str) -> Iterator[int]:
    """Run a process that the kernel lists under the container's id and that outlives the container."""
    hierarchy = CGROUPS / "freezer" if (CGROUPS / "freezer").is_dir() else CGROUPS
    group = hierarchy / "spud-test" / container_id
    group.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "300"])
    (group / "cgroup.procs").write_text(str(process.pid))
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        until(lambda: not (group / "cgroup.procs").read_text(), "the process has left its group")
        group.rmdir()
        group.parent.rmdir()


def test_a_job_waits_while_a_stranger_holds_its_card_and_says_so(
    box: RunningBox, cards: SimulatedGpus
) -> None:
    cards.hold_memory(SECOND, os.getpid(), 3 * GIB)
    until(lambda: seen(box).occupied, "the stranger is seen")
    job = box.submit("--gpus", "2", *SLEEP)
    reason = wait_for_reason(box, job, "not given away")
    assert f"GPU 1 is not given away: process {os.getpid()} (" in reason
    assert "from outside Spud holds 3.0 GiB" in reason
    assert "not given to jobs: process" in box.spud("gpus").stdout
    cards.unset(1, "process")
    cards.set(1, "memory_used_bytes", 0)
    box.wait(job, "running")


def test_a_job_on_its_own_card_is_no_stranger(box: RunningBox, cards: SimulatedGpus) -> None:
    job = box.submit("--gpu-memory", "3G", *SLEEP)
    box.wait(job, "running")
    cards.hold_memory(FIRST, container_of(box, job)["State"]["Pid"], 2 * GIB)
    other = box.submit("--gpu-memory", "3G", *SLEEP)
    box.wait(other, "running")
    assert box.job(other)["gpu_uuids"] == [FIRST]
    assert seen(box).occupied == {}


def test_jobs_share_a_card_and_the_next_one_waits(box: RunningBox, cards: SimulatedGpus) -> None:
    cards.hold_memory(SECOND, os.getpid(), GIB)
    until(lambda: seen(box).occupied, "the stranger is seen")
    first, second, third = (box.submit("--gpu-memory", "3G", *SLEEP) for _ in range(3))
    box.wait(first, "running")
    box.wait(second, "running")
    reason = wait_for_reason(box, third, "3.0 GiB of the memory of a GPU")
    assert f"job {first} has 3.0 GiB of GPU 0; job {second} has 3.0 GiB of GPU 0" in reason
    assert [box.job(job)["gpu_uuids"] for job in (first, second)] == [[FIRST], [FIRST]]
    assert f"{first} sleep (ada, 3.0 GiB); {second} sleep (ada, 3.0 GiB)" in box.spud("gpus").stdout
    box.spud("cancel", str(first))
    box.wait(third, "running")


def test_a_lost_card_comes_back_by_itself_also_to_the_next_scheduler(
    box: RunningBox, cards: SimulatedGpus
) -> None:
    cards.vanish(SECOND)
    until(lambda: causes(box) == {SECOND: LOST}, "it is in quarantine")
    job = box.submit("--gpus", "2", *SLEEP)
    box.kill("scheduler")
    box.start("scheduler")
    assert causes(box) == {SECOND: LOST}
    assert "GPU 1 is not given away" in wait_for_reason(box, job, "GPU 1")
    small = box.submit("--gpus", "1", "--", "true")
    assert box.wait(small)["outcome"] == "succeeded"
    assert "in quarantine since" in box.spud("gpus").stdout
    cards.recover(SECOND)
    box.wait(job, "running")
    assert causes(box) == {}


def test_a_card_with_a_critical_fault_is_released_by_hand(box: RunningBox, cards: SimulatedGpus) -> None:
    until(lambda: not seen(box).occupied, "the cards are free")
    cards.raise_xid(FIRST, 79)
    until(lambda: causes(box) == {FIRST: XID}, "it is in quarantine")
    job = box.submit("--gpus", "2", *SLEEP)
    assert "Xid 79 (GPU has fallen off the bus)" in wait_for_reason(box, job, "Xid")
    assert "is given to jobs again" in box.spud("gpus", "release", "0").stdout
    box.wait(job, "running")


def test_a_card_that_an_ended_job_still_holds_is_not_given_on(box: RunningBox, cards: SimulatedGpus) -> None:
    job = box.submit("--gpus", "1", *SLEEP)
    box.wait(job, "running")
    with process_of_container(container_of(box, job)["Id"]) as pid:
        cards.hold_memory(FIRST, pid, 2 * GIB)
        box.spud("cancel", str(job))
        box.wait(job)
        assert causes(box) == {FIRST: LEFT_OVER}
        waiting = box.submit("--gpus", "2", *SLEEP)
        assert f"rocess {pid} (sleep)" in wait_for_reason(box, waiting, "GPU 0 is not given away")
    cards.unset(0, "process")
    cards.set(0, "memory_used_bytes", 0)
    box.wait(waiting, "running")


def test_a_drained_box_starts_nothing_until_it_resumes(box: RunningBox) -> None:
    runs = box.submit("--gpus", "1", "--", "sleep", "3")
    box.wait(runs, "running")
    drained = box.spud("drain", "--reason", "new driver", "--wait")
    assert f"Waiting for 1 job: {runs}" in drained.stderr
    assert box.job(runs)["outcome"] == "succeeded"
    job = box.submit("--gpus", "1", *SLEEP)
    assert "the end of the drain by ada (new driver)" in wait_for_reason(box, job, "drain")
    box.kill("scheduler")
    box.start("scheduler")
    assert box.storage.jobs.get(job).state == "pending"
    box.spud("resume")
    box.wait(job, "running")


def test_a_container_with_our_label_and_no_job_keeps_its_card(box: RunningBox) -> None:
    name = f"{box.prefix}-999-1"
    label = f"spud.store={box.storage.box.store_id()}"
    options = ["--detach", "--name", name, "--label", label, "--label", f"spud.gpus={SECOND}"]
    subprocess.run(["docker", "run", *options, "spud/base", "sleep", "300"], check=True, capture_output=True)
    try:
        until(lambda: seen(box).strangers == (name,), "it is seen")
        job = box.submit("--gpus", "2", *SLEEP)
        assert f"the container {name}, which belongs to no job, has it" in wait_for_reason(box, job, "GPU 1")
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    box.wait(job, "running")
