"""Jobs as a user runs them, on the real engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.system.running_box import RunningBox, until

pytestmark = pytest.mark.docker


def test_a_script_runs_and_its_output_comes_back(box: RunningBox) -> None:
    done = box.spud("run", box.script("import sys; print('hello', sys.argv[1])"), "--", "world")
    assert done.stdout == "hello world\n"


def test_run_exits_with_the_jobs_own_code(box: RunningBox) -> None:
    done = box.spud("run", box.script("raise SystemExit(7)"), check=False)
    assert done.returncode == 7


def test_a_failure_shows_its_last_error(box: RunningBox) -> None:
    job_id = box.submit(box.script("raise ValueError('bad shape')"))
    job = box.wait(job_id)
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("failed", "user_error", 1)
    assert job["evidence"][-1] == "ValueError: bad shape"


def test_what_a_job_writes_is_kept_and_fetched(box: RunningBox) -> None:
    job_id = box.submit(
        box.script("open('/output/model', 'w').write('weights'); open('trace.txt', 'w').write('kept')")
    )
    box.wait(job_id)
    box.spud("fetch", str(job_id), "--to", "fetched")
    found = {path.name: path.read_text() for path in (box.home / "fetched").rglob("*") if path.is_file()}
    assert found["model"] == "weights"


def test_the_whole_folder_travels(box: RunningBox) -> None:
    script = box.script("import helper; print(helper.ANSWER)")
    Path(script).with_name("helper.py").write_text("ANSWER = 42")
    assert box.spud("run", script).stdout == "42\n"


def test_a_cancelled_job_stops(box: RunningBox) -> None:
    job_id = box.submit("--", "sleep", "600")
    box.wait(job_id, "running")
    box.spud("cancel", str(job_id))
    assert box.wait(job_id)["outcome"] == "cancelled"


def test_a_pending_job_is_cancelled_without_being_started(box: RunningBox) -> None:
    first, second = box.submit("--", "sleep", "600"), box.submit("--", "true")
    box.wait(first, "running")
    until(lambda: box.job(second)["waiting_for"], "the second job says why it waits")
    assert "of which none is free" in box.job(second)["waiting_for"]
    box.spud("cancel", str(second), str(first))
    assert (box.wait(second)["started_at"], box.wait(second)["attempts"]) == (None, [])
    box.wait(first)


def test_a_time_limit_ends_a_job(box: RunningBox) -> None:
    job_id = box.submit("--time", "1s", "--", "sleep", "600")
    assert box.wait(job_id)["outcome"] == "timed_out"


def test_higher_priority_starts_first(box: RunningBox) -> None:
    running = box.submit("--", "sleep", "600")
    box.wait(running, "running")
    low, high = box.submit("--", "true"), box.submit("--priority", "5", "--", "true")
    box.spud("cancel", str(running))
    assert box.wait(high)["started_at"] < box.wait(low)["started_at"]


def test_an_image_that_nobody_has_ends_the_job(box: RunningBox) -> None:
    job = box.wait(box.submit("--image", "nonsense", "--", "true"))
    assert job["reason"] == "image_error"
    assert "the image nonsense could not be pulled" in job["message"]
    assert job["advice"]


def test_a_program_that_is_not_in_the_image_is_named(box: RunningBox) -> None:
    job = box.wait(box.submit("--", "nonsense"))
    assert job["reason"] == "launch_error"
    assert "the program nonsense cannot be run" in job["message"]


def test_a_job_that_ends_in_a_progress_bar_ends(box: RunningBox) -> None:
    text = "import sys; sys.stderr.write('10%\\r50%\\r100%'); print('done')"
    job_id = box.submit(box.script(text))
    assert box.wait(job_id)["outcome"] == "succeeded"
    shown = box.spud("logs", str(job_id)).stdout
    assert "100%" in shown
    assert "done\n" in shown


def test_another_containers_name_is_not_taken_for_the_jobs(box: RunningBox) -> None:
    stranger = f"{box.prefix}-{box.storage.jobs.list(limit=1)[0].id + 1}-1"
    subprocess.run(
        ["docker", "create", "--name", stranger, "spud/base", "true"], check=True, capture_output=True
    )
    job = box.wait(box.submit("--", "true"))
    assert job["reason"] == "launch_error"
    assert f"docker rm {stranger}" in job["message"]


def test_many_short_jobs_all_end(box: RunningBox) -> None:
    jobs = [box.submit("--cpus", "1", "--", "true") for _ in range(20)]
    assert {box.wait(job_id)["outcome"] for job_id in jobs} == {"succeeded"}


CONFINEMENT = """
import json, os, pathlib, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": status["CapBnd"].strip(),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "engine": os.path.exists("/var/run/docker.sock"),
    "store": os.path.exists("/var/lib/spud"),
    "gpus": os.environ["NVIDIA_VISIBLE_DEVICES"],
    "name": __import__("pwd").getpwuid(os.getuid()).pw_name,
    "init": pathlib.Path("/proc/1/cmdline").read_bytes().split(b"\\0")[0].decode(),
}))
"""


def test_a_job_is_confined(box: RunningBox) -> None:
    seen = json.loads(box.spud("run", box.script(CONFINEMENT)).stdout)
    assert seen.pop("uid") > 1_900_000_000
    assert seen == {
        "capabilities": "0000000000000000",
        "no_new_privileges": "1",
        "engine": False,
        "store": False,
        "gpus": "void",
        "name": "ada",
        "init": "/sbin/docker-init",
    }


def test_a_job_cannot_write_to_its_data(box: RunningBox) -> None:
    folder = box.folder / "data" / "digits"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps(
            {
                "name": "digits",
                "title": "Digits",
                "files": [],
                "source": "test",
                "imported_at": "2026-11-21T00:00:00Z",
            }
        )
    )
    done = box.spud("run", "--data", "digits", "--", "touch", "/data/digits/x", check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stdout
