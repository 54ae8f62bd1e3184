"""Attempts on a real store and a real engine, without Spud's other processes."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.containers.cgroup import MemoryPoller
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.context import Context, boot_id
from appliance.executors.local import LocalExecutor
from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.gpus.xid import XidWatch
from appliance.jobs.box_store import RESTORED_ATTEMPT
from appliance.jobs.job import Again, Attempt, Job, JobState
from appliance.jobs.reason import Outcome
from appliance.jobs.verdict import disk_full
from appliance.storage import open_storage
from appliance.users.user import Role
from tests.factories import make_spec
from tests.system.running_box import until

pytestmark = pytest.mark.docker

MEMORY_BYTES = 1024**3


class ExecutingBox:
    """A store with an executor, and no scheduler that tells it what to do."""

    def __init__(self, folder: Path, driver: NvmlDriver) -> None:
        self.settings = load_settings(
            environ={
                "SPUD_CONFIG": "/dev/null",
                "SPUD_STORE_DIRECTORY": str(folder / "store"),
                "SPUD_ENGINE_PREFIX": f"spud-test-{secrets.token_hex(4)}",
                "SPUD_IMAGES_DEFAULT": "base",
                "SPUD_NETWORK_MODE": "none",
            }
        )
        self.storage = open_storage(self.settings)
        self.ada = self.storage.users.add("ada", Role.USER)
        self.engine = DockerEngine(self.settings.engine, self.settings.gpus, self.storage.box.store_id())
        self.xids = XidWatch(driver)
        gpus, memory = Inventory(driver), MemoryPoller()
        context = Context(self.storage, self.engine, self.settings, gpus, self.xids, memory, boot_id())
        self.ended = threading.Event()
        self.executor = LocalExecutor(context, on_end=self.ended.set)

    def start(self) -> Attempt:
        job = self.storage.jobs.add(make_spec(command=["true"]), self.ada, None, None)
        attempt = self.storage.lifecycle.start(job.id, (), boot_id())
        assert attempt
        return attempt

    def watch(self, job: Job, attempt: Attempt) -> None:
        self.executor.watch(job, attempt, MEMORY_BYTES)

    def ended_job(self, job_id: int) -> Job:
        until(lambda: self.storage.jobs.get(job_id).is_finished, f"job {job_id} has ended")
        return self.storage.jobs.get(job_id)

    def close(self) -> None:
        self.xids.close()
        for container in self.engine.containers():
            subprocess.run(["docker", "rm", "--force", container.name], check=False, capture_output=True)


@pytest.fixture
def box(tmp_path: Path, nvml_driver: NvmlDriver) -> Iterator[ExecutingBox]:
    box = ExecutingBox(tmp_path, nvml_driver)
    yield box
    box.close()


def test_an_attempt_that_ended_since_the_scheduler_looked_is_not_launched_again(box: ExecutingBox) -> None:
    attempt = box.start()
    [(job, seen)] = box.storage.jobs.active()
    again = Again(time.time() + 60, "tried again")
    assert box.storage.lifecycle.finish(attempt, disk_full("/store"), time.time(), again)
    box.watch(job, seen)
    assert box.ended.wait(30)
    assert not box.engine.containers()
    now = box.storage.jobs.get(job.id)
    assert (now.state, now.started_at) == (JobState.PENDING, None)


def test_only_what_was_open_in_a_backup_is_lost_after_a_restore_whatever_the_clock_says(
    box: ExecutingBox,
) -> None:
    before = box.start()
    box.storage.box.set_fact(RESTORED_ATTEMPT, str(box.storage.jobs.last_attempt_id()))
    after = box.start()
    with box.storage.database.transaction() as connection:  # the box's clock has been set back since
        connection.execute("UPDATE attempt SET created_at = 0 WHERE id = ?", (after.id,))
    for job, attempt in box.storage.jobs.active():
        box.watch(job, attempt)
    outcomes = [box.ended_job(attempt.job_id).verdict for attempt in (before, after)]
    assert [verdict.outcome for verdict in outcomes if verdict] == [Outcome.LOST, Outcome.SUCCEEDED]


def test_an_attempt_for_which_there_was_no_thread_gets_one_later(
    box: ExecutingBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = box.start()
    job = box.storage.jobs.get(attempt.job_id)

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            box.watch(job, attempt)
    box.watch(job, attempt)
    assert box.ended_job(job.id).verdict
