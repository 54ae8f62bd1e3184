"""The power fails, and the box comes back by itself with all that it had promised.

One machine lives through two cuts: one in the middle of a burst of submissions, one while a job starts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.running_box import until
from tests.system.vm import PATIENCE_S, VirtualMachine
from tests.system.vm_image import vm_image

# Without KVM a boot takes a minute, on busy processors four, and the disk may have to be made first.
pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

FINISHED_LINES = 300
FINISHES = f"""
for number in range({FINISHED_LINES}): print("line", number)
open("/output/model", "w").write("weights " * 100_000)
"""
FINISHED_LOG = "".join(f"line {number}\n" for number in range(FINISHED_LINES))
# Trains without end at first; from a checkpoint it makes a few more steps and is done.
RESUMES = """
import os, time
path = "/checkpoints/step"
first = int(open(path).read()) if os.path.exists(path) else 0
print("from step", first, flush=True)
step = first
while not first or step < first + 5:
    step += 1
    with open(path + ".new", "w") as file:
        file.write(str(step))
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    time.sleep(0.2)
print("to step", step)
"""
# Counts its runs, over all attempts, where they outlive a power cut.
COUNTS_RUNS = """
import os
with open("/checkpoints/runs", "a") as file:
    file.write("x")
    file.flush()
    os.fsync(file.fileno())
os.sync()
print("run", os.path.getsize("/checkpoints/runs"), "of", {name!r})
"""
LOST_LINES = "its last lines may be lost"
BURST = 5
CLIENTS = 3
WHOLE_BOX = ("--image", "base", "--cpus", "2")
PART_OF_BOX = ("--image", "base", "--cpus", "0.5")


@dataclass(frozen=True, slots=True)
class Promises:
    """What the box had acknowledged when the power failed: ids, those of the burst with their names."""

    finished: int
    resuming: int
    never_again: int
    burst: dict[int, str]


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMachine]:
    machine = VirtualMachine(vm_image(), tmp_path_factory.mktemp("vm"))
    try:
        machine.boot()
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def promises(vm: VirtualMachine) -> Promises:
    """Cut the power in the middle of a burst of submissions, and switch it on again; nothing more is done."""
    resuming = submit_script(vm, "resumes", RESUMES, *PART_OF_BOX)
    never_again = vm.submit(*PART_OF_BOX, "--no-requeue", "--", "sleep", "3600")
    for job_id in (resuming, never_again):
        vm.wait(job_id, lambda job: job["state"] == "running", "runs")
    checkpoint = f"/var/lib/spud/jobs/{resuming}/checkpoints/step"
    until(lambda: vm.run(f"cat {checkpoint} || true"), "it has a checkpoint", PATIENCE_S)
    finished = submit_script(vm, "finishes", FINISHES, *PART_OF_BOX)
    vm.wait(finished, lambda job: job["state"] == "finished", "is finished")
    vm.run("echo kept > /root/flushed && sync /root/flushed && echo lost > /root/unflushed")
    burst = submit_until_the_power_fails(vm)
    vm.boot()
    return Promises(finished, resuming, never_again, burst)


def submit_script(vm: VirtualMachine, name: str, text: str, *options: str) -> int:
    folder: Path = vm.home / name
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(text)
    return vm.submit(*options, "--name", name, "train.py", cwd=folder)


def submit_until_the_power_fails(vm: VirtualMachine) -> dict[int, str]:
    """Submit from several clients at once, cut the power at an acknowledgement, return all that came."""
    acknowledged: dict[int, str] = {}
    numbers = iter(range(10 * BURST))
    lock, is_cut = threading.Lock(), threading.Event()

    def submit() -> None:
        while not is_cut.is_set():
            with lock:
                name = f"burst-{next(numbers)}"
            try:
                job_id = submit_script(vm, name, COUNTS_RUNS.format(name=name), *WHOLE_BOX)
            except AssertionError:
                assert is_cut.wait(60), "the box refused a job before the power failed"
                return
            with lock:
                acknowledged[job_id] = name
                if len(acknowledged) == BURST:
                    vm.cut_power()
                    is_cut.set()

    with ThreadPoolExecutor(CLIENTS) as clients:
        for client in [clients.submit(submit) for _ in range(CLIENTS)]:
            client.result()
    return acknowledged


def test_the_disk_forgets_what_was_not_flushed(vm: VirtualMachine, promises: Promises) -> None:
    """Of the harness: without this the other tests would prove nothing."""
    assert vm.run("cat /root/flushed") == "kept\n"
    assert vm.run("cat /root/unflushed || true") == ""


def test_every_acknowledged_job_is_there(vm: VirtualMachine, promises: Promises) -> None:
    assert len(promises.burst) >= BURST
    assert {job_id: vm.job(job_id)["name"] for job_id in promises.burst} == promises.burst


def test_a_finished_job_has_its_outcome_log_and_output(
    vm: VirtualMachine, promises: Promises, tmp_path: Path
) -> None:
    job = vm.job(promises.finished)
    assert (job["outcome"], job["exit_code"], len(job["attempts"])) == ("succeeded", 0, 1)
    assert vm.log(promises.finished) == FINISHED_LOG
    vm.spud("fetch", str(promises.finished), "model", cwd=tmp_path)
    assert next(tmp_path.rglob("model")).read_text() == "weights " * 100_000


def test_a_running_job_goes_on_from_its_checkpoint(vm: VirtualMachine, promises: Promises) -> None:
    job = vm.wait(promises.resuming, is_finished, "has run to its end")
    assert (job["outcome"], reasons(job)) == ("succeeded", ["box_restarted", "ok"])
    begin, end = vm.log(promises.resuming, "--attempt", "2").splitlines()
    assert int(begin.removeprefix("from step ")) > 0
    assert int(end.removeprefix("to step ")) == int(begin.removeprefix("from step ")) + 5
    assert output_of(vm.log(promises.resuming, "--attempt", "1")) in ("from step 0\n", "")


def test_a_job_that_must_not_run_again_is_lost(vm: VirtualMachine, promises: Promises) -> None:
    job = vm.wait(promises.never_again, is_finished, "is finished")
    assert (job["outcome"], reasons(job)) == ("lost", ["box_restarted"])


def test_the_queue_goes_on_in_its_order_whenever_the_power_fails(
    vm: VirtualMachine, promises: Promises
) -> None:
    ids = sorted(promises.burst)
    third = ids[2]
    vm.wait(third, lambda job: job["state"] != "pending", "starts")
    vm.cut_power()
    vm.boot()
    jobs = [vm.wait(job_id, is_finished, "has run to its end") for job_id in ids]
    assert [job["outcome"] for job in jobs] == ["succeeded"] * len(ids)
    assert [job["id"] for job in sorted(jobs, key=lambda job: str(job["started_at"]))] == ids
    for job in jobs:
        attempts, log = len(job["attempts"]), vm.log(job["id"])
        if job["id"] > third:
            assert (attempts, log) == (1, f"run 1 of {job['name']}\n")
            continue
        # It may have ended as the power failed, or begun, or only been about to; its log says what it lacks.
        assert attempts == 1 or reasons(job) == ["box_restarted", "ok"]
        told = {f"run {run} of {job['name']}\n" for run in (1, attempts)}
        assert output_of(log) in (told | {""} if LOST_LINES in log else told)


def test_nothing_is_left_over_and_new_jobs_run(vm: VirtualMachine, promises: Promises) -> None:
    job_id = vm.submit("--image", "base", "--", "echo", "as before")
    assert job_id > max(promises.burst)
    vm.wait(job_id, is_finished, "has run")
    assert vm.log(job_id) == "as before\n"
    assert vm.run("docker ps --quiet") == ""
    assert vm.run("systemctl --failed --quiet --no-legend") == ""


def output_of(log: str) -> str:
    """Return what a job wrote itself."""
    return "".join(line for line in log.splitlines(keepends=True) if not line.startswith("[spud] "))


def is_finished(job: dict[str, Any]) -> bool:
    return bool(job["state"] == "finished")


def reasons(job: dict[str, Any]) -> list[str]:
    return [attempt["reason"] for attempt in job["attempts"]]
