"""Attempts that an earlier boot of the box has left open, each settled by the scheduler of this boot."""

from __future__ import annotations

import subprocess

import pytest

from appliance.executors.context import boot_id
from tests.system.running_box import RunningBox, until

pytestmark = pytest.mark.docker

EARLIER_BOOT = "00000000-0000-0000-0000-000000000000"


def submit_and_begin(box: RunningBox, boot: str, *options: str) -> int:
    """Submit a job and open its attempt, as a scheduler of that boot did before it died."""
    box.start("web")
    job_id = box.submit(*options, box.script("print('ran')"))
    assert box.storage.lifecycle.start(job_id, (), boot)
    return job_id


def reasons(box: RunningBox, job_id: int) -> list[str]:
    return [attempt["reason"] for attempt in box.job(job_id)["attempts"]]


def test_what_was_starting_starts_again_as_a_new_attempt(own_box: RunningBox) -> None:
    """Its workspace may lack what the last boot had not flushed; a new attempt has one of its own."""
    job_id = submit_and_begin(own_box, EARLIER_BOOT)
    own_box.start("scheduler")
    assert own_box.wait(job_id)["outcome"] == "succeeded"
    assert reasons(own_box, job_id) == ["box_restarted", "ok"]
    assert own_box.spud("logs", str(job_id)).stdout == "ran\n"


def test_what_must_not_run_twice_does_not_start_after_a_restart(own_box: RunningBox) -> None:
    """Whether it ran cannot be known: the engine too forgets what it had not flushed."""
    job_id = submit_and_begin(own_box, EARLIER_BOOT, "--no-requeue")
    own_box.start("scheduler")
    assert own_box.wait(job_id)["outcome"] == "lost"
    assert reasons(own_box, job_id) == ["box_restarted"]
    assert own_box.spud("logs", str(job_id)).stdout == ""


def test_a_container_that_the_engine_remembers_as_not_started_stays_so(own_box: RunningBox) -> None:
    job_id = submit_and_begin(own_box, EARLIER_BOOT, "--no-requeue")
    (attempt,) = own_box.storage.jobs.attempts(job_id)
    name = f"{own_box.prefix}-{job_id}-1"
    labels = {"store": own_box.storage.box.store_id(), "job": job_id, "attempt": 1, "token": attempt.token}
    words = [f"--label=spud.{key}={value}" for key, value in labels.items()]
    subprocess.run(["docker", "create", "--name", name, *words, "spud/base"], check=True, capture_output=True)
    own_box.start("scheduler")
    assert own_box.wait(job_id)["reason"] == "box_restarted"


def test_what_this_boot_was_starting_goes_on_as_the_same_attempt(own_box: RunningBox) -> None:
    job_id = submit_and_begin(own_box, boot_id())
    own_box.start("scheduler")
    assert own_box.wait(job_id)["outcome"] == "succeeded"
    until(lambda: reasons(own_box, job_id) == ["ok"], "it has ended at its first attempt")


def test_what_only_waited_for_its_image_has_lost_nothing(own_box: RunningBox) -> None:
    own_box.start("web")
    job_id = own_box.submit("--no-requeue", own_box.script("print('ran')"))
    assert own_box.storage.lifecycle.begin_image(job_id, EARLIER_BOOT, "its image is being made")
    own_box.start("scheduler")
    assert own_box.wait(job_id)["outcome"] == "succeeded"
    assert reasons(own_box, job_id) == ["ok"]
