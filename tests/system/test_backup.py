"""A backup of a box at work, and the box after it was brought back."""

from __future__ import annotations

import json
import subprocess
import threading

import pytest

from tests.system.running_box import RunningBox, until

pytestmark = pytest.mark.docker

COUNTS = """
import time
for number in range(60):
    print("line", number, flush=True)
    time.sleep(0.25)
open("/output/end", "w").write("reached")
"""


def restore(box: RunningBox, *words: str) -> subprocess.CompletedProcess[str]:
    box.storage.database.close()  # the test has looked at the store as well
    return box.spud("restore", *words, check=False)


def test_a_box_comes_back_as_it_was_and_its_running_job_goes_on(own_box: RunningBox) -> None:
    own_box.start()
    ended = own_box.submit(own_box.script("print('hello'); open('/output/model', 'w').write('weights')"))
    own_box.wait(ended)
    running = own_box.submit(own_box.script(COUNTS))
    until(lambda: "line 3" in own_box.spud("logs", str(running)).stdout, "the job has begun to write")
    archive = own_box.folder / "backup.tar.gz"
    told = json.loads(own_box.spud("backup", "--outputs", "--json", str(archive)).stdout)
    assert told["files"] >= 5
    later = own_box.submit("--", "sleep", "600")
    own_box.wait(later, "running")

    busy = own_box.spud("restore", "--replace", str(archive), check=False)
    assert busy.returncode == 1
    assert "Stop Spud first" in busy.stderr

    for name in ("scheduler", "web", "exporter"):
        own_box.kill(name)
    done = restore(own_box, "--replace", str(archive))
    assert done.returncode == 0, done.stderr
    assert "remove it when you no longer need it" in done.stderr

    own_box.start()
    assert own_box.job(ended)["outcome"] == "succeeded"
    assert own_box.spud("logs", str(ended)).stdout == "hello\n"
    own_box.spud("fetch", str(ended), "--to", "back")
    assert (own_box.home / "back" / "output" / "model").read_text() == "weights"
    assert own_box.wait(running)["outcome"] == "succeeded", "its container was taken over"
    assert len(own_box.job(running)["attempts"]) == 1
    assert own_box.spud("logs", str(running)).stdout == "".join(f"line {n}\n" for n in range(60))
    assert own_box.spud("show", str(later), check=False).returncode == 1
    strangers = until(lambda: own_box.storage.box.box().strangers, "the later job's container is shown")  # type: ignore[union-attr]
    assert strangers == (f"{own_box.prefix}-{later}-1",)
    assert own_box.submit("--", "true") == later + 1


def test_a_backup_while_jobs_arrive_holds_every_job_that_it_tells_of(own_box: RunningBox) -> None:
    own_box.start("web")
    script = own_box.script("print(1)")
    stop = threading.Event()
    acknowledged: list[int] = []

    def submit() -> None:
        while not stop.is_set():
            acknowledged.append(own_box.submit(script))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        until(lambda: len(acknowledged) > 3, "jobs arrive")
        before = list(acknowledged)
        archive = own_box.folder / "backup.tar.gz"
        own_box.spud("backup", str(archive))
    finally:
        stop.set()
        thread.join()
    last = acknowledged[-1]
    own_box.stop()
    own_box.storage.database.close()
    assert restore(own_box, "--replace", str(archive)).returncode == 0
    own_box.start("web")
    ids = {job.id for job in own_box.storage.jobs.list(limit=500)}
    assert ids.issuperset(before)
    for job_id in ids:
        code = own_box.storage.jobs.get(job_id).snapshot
        assert code
        assert own_box.storage.snapshots.path(code).exists()
    assert own_box.submit(script) > last
