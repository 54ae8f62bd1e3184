from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.errors import NotFound
from appliance.jobs.box import Box, Quarantine
from appliance.jobs.job import TRANSITIONS, Again, Job, JobState, Share, Verdict
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.verdict import image_failed
from appliance.storage import Storage, open_storage
from appliance.users.user import Role, User
from tests.factories import make_gpu, make_spec

pytestmark = pytest.mark.unit

DONE = Verdict(Outcome.SUCCEEDED, Reason.OK, "succeeded", exit_code=0)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(load_settings(None, {"SPUD_STORE_DIRECTORY": str(tmp_path)}))


@pytest.fixture
def ada(storage: Storage) -> User:
    return storage.users.add("ada", Role.USER)


def add(storage: Storage, owner: User, **values: object) -> Job:
    return storage.jobs.add(make_spec(**values), owner, None, None)


def test_a_submitted_job_is_pending_and_its_history_begins(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert (job.state, job.owner) == (JobState.PENDING, "ada")
    assert [event.text for event in storage.jobs.events(job.id)] == ["submitted by ada"]


def test_an_unknown_job_is_not_found(storage: Storage) -> None:
    with pytest.raises(NotFound, match=r"No job 17\. List jobs with: spud list"):
        storage.jobs.get(17)


def test_pending_jobs_come_by_priority_then_age(storage: Storage, ada: User) -> None:
    for priority in (0, 5, 0, 5):
        add(storage, ada, priority=priority)
    assert [job.id for job in storage.jobs.waiting()] == [2, 4, 1, 3]


def test_a_gpu_is_given_to_one_attempt_only(storage: Storage, ada: User) -> None:
    first, second = add(storage, ada, gpus=1), add(storage, ada, gpus=1)
    assert storage.lifecycle.start(first.id, [Share("GPU-0")], "boot")
    assert storage.lifecycle.start(second.id, [Share("GPU-0")], "boot") is None
    assert storage.jobs.get(second.id).state is JobState.PENDING
    assert storage.jobs.attempts(second.id) == ()


def test_a_job_starts_once_however_many_try(storage: Storage, ada: User) -> None:
    job, started = add(storage, ada), []
    threads = [
        threading.Thread(target=lambda: started.append(storage.lifecycle.start(job.id, [], "boot")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([attempt for attempt in started if attempt]) == 1


def test_finishing_frees_the_gpus(storage: Storage, ada: User) -> None:
    job = add(storage, ada, gpus=1)
    attempt = storage.lifecycle.start(job.id, [Share("GPU-0")], "boot")
    assert attempt
    assert storage.lifecycle.finish(attempt, DONE, 1.0)
    assert storage.jobs.reservations() == ()
    assert storage.jobs.get(job.id).verdict == DONE


def test_an_attempt_is_finished_once(storage: Storage, ada: User) -> None:
    attempt = storage.lifecycle.start(add(storage, ada).id, [], "boot")
    assert attempt
    assert storage.lifecycle.finish(attempt, DONE, 1.0)
    assert not storage.lifecycle.finish(attempt, Verdict(Outcome.LOST, Reason.CONTAINER_REMOVED, "gone"), 2.0)
    assert storage.jobs.get(attempt.job_id).verdict == DONE


def test_no_change_leaves_the_table_of_transitions(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert not storage.lifecycle.stop(job.id, Reason.CANCELLED, "too early")
    storage.lifecycle.finish_pending(job.id, DONE)
    assert storage.lifecycle.start(job.id, [], "boot") is None
    assert JobState.FINISHED in TRANSITIONS[JobState.RUNNING]


def test_cancelling_is_asked_for_once_and_never_after_the_end(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert storage.jobs.request_cancel(job.id, ada)
    assert not storage.jobs.request_cancel(job.id, ada)
    storage.lifecycle.finish_pending(job.id, DONE)
    assert not storage.jobs.request_cancel(job.id, ada)


def test_lists_are_paged_and_filtered(storage: Storage, ada: User) -> None:
    bob = storage.users.add("bob", Role.USER)
    jobs = [add(storage, owner) for owner in (ada, bob, ada, bob)]
    storage.lifecycle.finish_pending(jobs[0].id, DONE)
    assert [job.id for job in storage.jobs.list(owner_id=ada.id)] == [3, 1]
    assert [job.id for job in storage.jobs.list(states=[JobState.FINISHED])] == [1]
    assert [job.id for job in storage.jobs.list(before=3, limit=1)] == [2]


def test_the_box_is_seen_by_other_processes(storage: Storage) -> None:
    assert storage.box.box() is None
    box = Box(gpus=(make_gpu(0),), cpus=2.0, engine_error="down")
    storage.box.set_box(box)
    assert storage.box.box() == box


def test_the_version_changes_with_another_connection_only(storage: Storage, ada: User) -> None:
    before = storage.jobs.version()
    thread = threading.Thread(target=lambda: add(storage, ada))
    thread.start()
    thread.join()
    assert storage.jobs.version() != before


def test_a_job_tried_again_is_pending_and_its_first_attempt_stays(storage: Storage, ada: User) -> None:
    job = add(storage, ada, gpus=1)
    first = storage.lifecycle.start(job.id, [Share("GPU-0")], "boot")
    assert first
    lost = Verdict(Outcome.LOST, Reason.BOX_RESTARTED, "the box restarted", ("boot",), 255, "do this")
    assert storage.lifecycle.finish(first, lost, 1.0, Again(0.0, "tried again"))
    assert storage.jobs.get(job.id).state is JobState.PENDING
    assert storage.jobs.get(job.id).verdict is None
    second = storage.lifecycle.start(job.id, [Share("GPU-0")], "boot")
    assert second
    assert second.number == 2
    assert second.token != first.token
    assert storage.jobs.attempts(job.id)[0].verdict == lost
    assert [event.text for event in storage.jobs.events(job.id)][2] == "tried again"


def test_a_job_that_was_told_to_stop_is_not_tried_again(storage: Storage, ada: User) -> None:
    attempt = storage.lifecycle.start(add(storage, ada).id, [], "boot")
    assert attempt
    storage.lifecycle.stop(attempt.job_id, Reason.CANCELLED, "cancelled")
    assert storage.lifecycle.finish(attempt, DONE, 1.0, Again(0.0, "tried again"))
    assert storage.jobs.get(attempt.job_id).state is JobState.FINISHED


def test_a_job_to_be_tried_later_is_not_in_the_queue_yet(storage: Storage, ada: User) -> None:
    attempt = storage.lifecycle.start(add(storage, ada).id, [], "boot")
    assert attempt
    storage.lifecycle.finish(attempt, DONE, 1.0, Again(time.time() + 300, "tried again later"))
    assert storage.jobs.get(attempt.job_id).state is JobState.PENDING
    assert storage.jobs.queue(gpus=False, limit=10) == ()


def test_a_finished_job_runs_again_when_asked(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert not storage.jobs.request_retry(job.id, ada)
    storage.lifecycle.finish_pending(job.id, DONE)
    assert storage.jobs.request_retry(job.id, ada)
    (wanted,) = storage.jobs.to_retry()
    assert storage.lifecycle.retry(wanted)
    assert storage.jobs.get(job.id).state is JobState.PENDING
    assert storage.jobs.to_retry() == ()
    assert storage.jobs.events(job.id)[-1].text == "asked to run again by ada"


def test_each_lane_has_its_own_queue(storage: Storage, ada: User) -> None:
    for gpus in (0, 1, 0, 2):
        add(storage, ada, gpus=gpus)
    assert [request.job_id for request in storage.jobs.queue(gpus=True, limit=10)] == [2, 4]
    assert [request.gpus for request in storage.jobs.queue(gpus=False, limit=1)] == [0]


def test_shares_of_a_gpu_fit_or_are_refused(storage: Storage, ada: User) -> None:
    def start(memory: int | None) -> bool:
        job = add(storage, ada, gpus=1)
        share = Share("GPU-0", memory, 10 if memory else None)
        return storage.lifecycle.start(job.id, [share], "boot") is not None

    assert [start(6), start(5), start(4), start(1)] == [True, False, True, False]
    assert not start(None)
    assert sum(held.memory_bytes or 0 for held in storage.jobs.reservations()) == 10


def test_a_whole_card_is_not_shared(storage: Storage, ada: User) -> None:
    whole, part = add(storage, ada, gpus=1), add(storage, ada, gpus=1)
    assert storage.lifecycle.start(whole.id, [Share("GPU-0")], "boot")
    assert storage.lifecycle.start(part.id, [Share("GPU-0", 1, 10)], "boot") is None


def test_an_attempt_waits_for_its_place_while_its_image_is_made(storage: Storage, ada: User) -> None:
    job = add(storage, ada, gpus=1)
    attempt = storage.lifecycle.begin_image(job.id, "boot", "its image is made")
    assert attempt
    assert storage.jobs.queue(gpus=True, limit=10) == ()
    storage.lifecycle.record_image(attempt, "sha256:2")
    (request,) = storage.jobs.queue(gpus=True, limit=10)
    assert request.attempt_id == attempt.id
    placed = storage.lifecycle.place(attempt.id, [Share("GPU-0")], "boot")
    assert placed
    assert (placed.gpu_uuids, placed.image_digest) == (("GPU-0",), "sha256:2")
    assert storage.lifecycle.place(attempt.id, [Share("GPU-1")], "boot") is None


def test_a_gpu_that_is_freed_into_quarantine_stays_there(storage: Storage, ada: User) -> None:
    attempt = storage.lifecycle.start(add(storage, ada, gpus=1).id, [Share("GPU-0")], "boot")
    assert attempt
    entry = Quarantine("GPU-0", "occupied", "a process is left", "boot", 1.0)
    storage.lifecycle.release(attempt, [entry])
    assert storage.jobs.reservations() == ()
    assert storage.jobs.get(attempt.job_id).state is JobState.STARTING
    assert storage.box.quarantines() == (entry,)
    assert storage.box.request_release("GPU-0", "root")
    storage.box.release("GPU-0")
    assert storage.box.quarantines() == ()


def test_an_image_that_fails_late_does_not_end_an_attempt_that_has_its_place(
    storage: Storage, ada: User
) -> None:
    job = add(storage, ada, gpus=1)
    attempt = storage.lifecycle.begin_image(job.id, "boot", "its image is made")
    assert attempt
    storage.lifecycle.record_image(attempt, "sha256:1")
    assert storage.lifecycle.place(attempt.id, [Share("GPU-0")], "boot")
    assert not storage.lifecycle.finish_unplaced(attempt, image_failed("gone"), 1.0)
    assert [held.gpu_uuid for held in storage.jobs.reservations()] == ["GPU-0"]
    assert storage.jobs.get(job.id).state is JobState.STARTING
