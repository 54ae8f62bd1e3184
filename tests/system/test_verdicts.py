"""Jobs that really run out of what they are given, on the real engine, and what Spud says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.running_box import RunningBox

pytestmark = pytest.mark.docker

MIB = 1024**2


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """A Spud whose jobs have little shared memory and little time to stop."""
    running = RunningBox(
        tmp_path_factory.mktemp("box"),
        SPUD_JOBS_SHM_BYTES=str(8 * MIB),
        SPUD_SCHEDULER_STOP_GRACE_SECONDS="1",
    )
    running.start()
    yield running
    running.stop()


def ended(box: RunningBox, script: str, *options: str) -> dict[str, Any]:
    return box.wait(box.submit(*options, box.script(script)))


def test_a_job_that_fills_its_memory_ran_out_of_memory(box: RunningBox) -> None:
    job = ended(box, "block = bytearray(1 << 28)", "--memory", "64M")
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("failed", "out_of_memory", 137)
    assert job["message"] == "ran out of memory: the kernel killed it at the limit of 64 MiB"
    assert "1 of its processes killed for lack of memory; used at most 64 MiB of 64 MiB" in job["evidence"][0]
    assert "--memory" in job["advice"]


CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "bytearray(1 << 28)"], check=True)
"""


def test_a_worker_that_fills_the_memory_is_found_though_the_job_ends_by_itself(box: RunningBox) -> None:
    job = ended(box, CHILD, "--memory", "64M")
    assert (job["reason"], job["exit_code"]) == ("out_of_memory", 1)
    assert "the kernel killed a process of it" in job["message"]
    assert any("died with <Signals.SIGKILL: 9>" in line for line in job["evidence"])


SURVIVOR = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "bytearray(1 << 28)"])
"""


def test_a_job_that_survives_the_death_of_its_worker_succeeded(box: RunningBox) -> None:
    assert ended(box, SURVIVOR, "--memory", "64M")["outcome"] == "succeeded"


def test_a_job_that_kills_itself_did_not_run_out_of_memory(box: RunningBox) -> None:
    job = ended(box, "import os, time; time.sleep(0.5); os.kill(os.getpid(), 9)", "--memory", "64M")
    assert (job["reason"], job["exit_code"]) == ("user_error", 137)
    assert job["message"] == "killed by SIGKILL; by whom is not known"
    assert "no process killed for lack of memory" in job["evidence"][1]


BUS_ERROR = """
import mmap
with open("/dev/shm/batch", "wb+") as file:
    file.truncate(1 << 25)
    mmap.mmap(file.fileno(), 0)[:] = bytes(1 << 25)
"""
NO_SPACE = """
import time
with open("/dev/shm/batch", "wb", buffering=0) as file:
    for _ in range(8):
        file.write(bytes(1 << 20))
    time.sleep(0.2)
    file.write(bytes(1 << 20))
"""


def test_a_bus_error_in_shared_memory_is_called_so(box: RunningBox) -> None:
    job = ended(box, BUS_ERROR)
    assert (job["reason"], job["exit_code"]) == ("shared_memory_exhausted", 135)
    assert "/dev/shm has 8 MiB" in job["message"]
    assert "shm_bytes" in job["advice"]


def test_no_space_in_shared_memory_is_told_from_a_full_disk(box: RunningBox) -> None:
    job = ended(box, NO_SPACE)
    assert job["reason"] == "shared_memory_exhausted"
    assert job["evidence"][-1] == "shared memory held at most 8 MiB of 8 MiB"


def test_a_job_that_heeds_sigterm_ends_so_at_its_time_limit(box: RunningBox) -> None:
    job = box.wait(box.submit("--time", "1s", "--", "sleep", "600"))
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("timed_out", "time_limit", 143)
    assert job["message"] == "reached its time limit of 1s and ended by SIGTERM within the grace"


def test_a_job_that_ignores_sigterm_is_killed_at_its_time_limit(box: RunningBox) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    job = ended(box, script, "--time", "1s")
    assert (job["outcome"], job["exit_code"]) == ("timed_out", 137)
    assert job["message"].endswith("was killed, since it did not end within the grace after SIGTERM")


@pytest.mark.parametrize(
    ("script", "message", "advice"),
    [
        (
            "raise ValueError('bad shape')",
            "ended with exit code 1: ValueError: bad shape",
            "Read the end of the log",
        ),
        (
            "import albumentations",
            "ended with exit code 1: ModuleNotFoundError: No module named 'albumentations'",
            "Add the package that has albumentations to requirements.txt",
        ),
        (
            "def f(:",
            "ended with exit code 1: SyntaxError: invalid syntax",
            "Read the end of the log",
        ),
        (
            "open('/home/ada/train.csv')",
            "ended with exit code 1: FileNotFoundError: [Errno 2] No such file or directory",
            "A job sees the folder of its script as /workspace",
        ),
    ],
    ids=["traceback", "module", "syntax", "file"],
)
def test_a_mistake_in_the_script_is_the_users(
    box: RunningBox, script: str, message: str, advice: str
) -> None:
    job = ended(box, script)
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("failed", "user_error", 1)
    assert job["message"].startswith(message)
    assert job["evidence"][0] == 'File "/workspace/train.py", line 1' + (
        "" if "SyntaxError" in message else ", in <module>"
    )
    assert job["advice"].startswith(advice)


def test_a_crash_in_native_code_names_signal_and_place(box: RunningBox) -> None:
    job = ended(box, "import ctypes; ctypes.string_at(0)", "--env", "PYTHONFAULTHANDLER=1")
    assert (job["reason"], job["exit_code"]) == ("user_error", 139)
    assert job["message"] == "ended by SIGSEGV (exit code 139)"
    assert job["evidence"][0] == "Fatal Python error: Segmentation fault"


def test_a_program_that_the_image_lacks_is_a_launch_error(box: RunningBox) -> None:
    job = box.wait(box.submit("--", "trian"))
    assert (job["reason"], job["exit_code"]) == ("launch_error", 127)
    assert job["message"] == "the program trian cannot be run in the image: No such file or directory"
    assert "--image" in job["advice"]


# A full disk


@pytest.fixture
def small_disk_box(tmp_path: Path) -> Iterator[RunningBox]:
    store = tmp_path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "spud-test", str(store)], check=True)
    running = RunningBox(tmp_path, SPUD_JOBS_MIN_FREE_BYTES="0")
    try:
        running.start()
        yield running
    finally:
        running.stop()
        subprocess.run(["umount", "--lazy", str(store)], check=True)


FILL = """
import os
try:
    with open("/output/model", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
finally:
    {finally_}
"""


def test_a_job_that_fills_the_disk_is_told_so(small_disk_box: RunningBox) -> None:
    job = ended(small_disk_box, FILL.format(finally_='os.truncate("/output/model", 0)'))
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("failed", "disk_full", 1)
    assert job["message"] == "found a disk full: OSError: [Errno 28] No space left on device"
    assert "MiB free" in job["evidence"][-1]
    assert "Free some space" in job["advice"]


def test_a_job_that_leaves_the_disk_full_ends_once_there_is_space(small_disk_box: RunningBox) -> None:
    job_id = small_disk_box.submit(small_disk_box.script(FILL.format(finally_="pass")))
    small_disk_box.wait(job_id, "running")
    model = small_disk_box.folder / "store" / "jobs" / str(job_id) / "1" / "output" / "model"
    subprocess.run(["docker", "wait", f"{small_disk_box.prefix}-{job_id}-1"], check=True, capture_output=True)
    model.unlink()
    assert small_disk_box.wait(job_id)["reason"] == "disk_full"
