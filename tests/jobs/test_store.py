from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.errors import NotFound
from appliance.jobs.box import Box
from appliance.jobs.job import TRANSITIONS, Job, JobState, Outcome, Reason, Verdict
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
    assert [job.id for job in storage.jobs.pending()] == [2, 4, 1, 3]


def test_a_gpu_is_given_to_one_attempt_only(storage: Storage, ada: User) -> None:
    first, second = add(storage, ada, gpus=1), add(storage, ada, gpus=1)
    assert storage.jobs.start(first, ["GPU-0"], "boot")
    assert storage.jobs.start(second, ["GPU-0"], "boot") is None
    assert storage.jobs.get(second.id).state is JobState.PENDING
    assert storage.jobs.attempts(second.id) == ()


def test_a_job_starts_once_however_many_try(storage: Storage, ada: User) -> None:
    job, started = add(storage, ada), []
    threads = [
        threading.Thread(target=lambda: started.append(storage.jobs.start(job, [], "boot"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([attempt for attempt in started if attempt]) == 1


def test_finishing_frees_the_gpus(storage: Storage, ada: User) -> None:
    job = add(storage, ada, gpus=1)
    attempt = storage.jobs.start(job, ["GPU-0"], "boot")
    assert attempt
    assert storage.jobs.finish(attempt, DONE, 1.0)
    assert storage.jobs.reservations() == ()
    assert storage.jobs.get(job.id).verdict == DONE


def test_an_attempt_is_finished_once(storage: Storage, ada: User) -> None:
    attempt = storage.jobs.start(add(storage, ada), [], "boot")
    assert attempt
    assert storage.jobs.finish(attempt, DONE, 1.0)
    assert not storage.jobs.finish(attempt, Verdict(Outcome.LOST, Reason.CONTAINER_REMOVED, "gone"), 2.0)
    assert storage.jobs.get(attempt.job_id).verdict == DONE


def test_no_change_leaves_the_table_of_transitions(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert not storage.jobs.stop(job.id, Reason.CANCELLED, "too early")
    storage.jobs.finish_pending(job.id, DONE)
    assert storage.jobs.start(job, [], "boot") is None
    assert TRANSITIONS[JobState.FINISHED] == frozenset()


def test_cancelling_is_asked_for_once_and_never_after_the_end(storage: Storage, ada: User) -> None:
    job = add(storage, ada)
    assert storage.jobs.request_cancel(job.id, ada)
    assert not storage.jobs.request_cancel(job.id, ada)
    storage.jobs.finish_pending(job.id, DONE)
    assert not storage.jobs.request_cancel(job.id, ada)


def test_lists_are_paged_and_filtered(storage: Storage, ada: User) -> None:
    bob = storage.users.add("bob", Role.USER)
    jobs = [add(storage, owner) for owner in (ada, bob, ada, bob)]
    storage.jobs.finish_pending(jobs[0].id, DONE)
    assert [job.id for job in storage.jobs.list(owner_id=ada.id)] == [3, 1]
    assert [job.id for job in storage.jobs.list(states=[JobState.FINISHED])] == [1]
    assert [job.id for job in storage.jobs.list(before=3, limit=1)] == [2]


def test_the_box_is_seen_by_other_processes(storage: Storage) -> None:
    assert storage.jobs.box() is None
    box = Box(gpus=(make_gpu(0),), cpus=2.0, engine_error="down")
    storage.jobs.set_box(box)
    assert storage.jobs.box() == box


def test_the_version_changes_with_another_connection_only(storage: Storage, ada: User) -> None:
    before = storage.jobs.version()
    thread = threading.Thread(target=lambda: add(storage, ada))
    thread.start()
    thread.join()
    assert storage.jobs.version() != before
