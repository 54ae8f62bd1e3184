from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.config import RetentionSettings, Settings, StoreSettings
from appliance.containers.images import ImageRecord
from appliance.errors import Conflict, Unavailable
from appliance.jobs.job import Attempt, Job, Verdict
from appliance.jobs.prune import Category, PruneReport, PruneRequest, leave_request, read_report, take_request
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.retention import Limits
from appliance.scheduler.clearing import Clearing
from appliance.scheduler.housekeeper import Housekeeper
from appliance.scheduler.idle_images import IdleImages
from appliance.storage import Storage, open_storage
from appliance.users.user import Role, User
from tests.factories import make_archive, make_spec

pytestmark = pytest.mark.unit

DAY = 86_400.0
OK = Verdict(Outcome.SUCCEEDED, Reason.OK, "succeeded", (), 0)


class Engine:
    """The edge of the engine: images by name, as it would list them."""

    def __init__(self) -> None:
        self.images: dict[str, ImageRecord] = {}
        self.used: set[str] = set()

    def add(self, name: str, image_id: str, label: str | None = None) -> None:
        self.images[name] = ImageRecord(image_id, (name,), {label: "key"} if label else {}, "", 1000)

    def find(self, reference: str) -> ImageRecord | None:
        return self.images.get(reference)

    def list(self, label: str) -> list[ImageRecord]:
        return [image for image in self.images.values() if label in image.labels]

    def own_bytes(self) -> Mapping[str, int]:
        return {image.id: 700 for image in self.images.values()}

    def remove(self, reference: str) -> bool:
        return reference not in self.used and self.images.pop(reference, None) is not None


class Box:
    """A store with jobs that have ended, and its housekeeper."""

    def __init__(self, folder: Path, **retention: float) -> None:
        self.settings = Settings(
            store=StoreSettings(directory=folder / "store"), retention=RetentionSettings(**retention)
        )
        self.storage: Storage = open_storage(self.settings)
        self.ada: User = self.storage.users.add("ada", Role.ADMIN)
        self.engine = Engine()
        self.keeper = Housekeeper(self.storage, self.settings, lambda: self.engine)

    def job(self, *, days_ago: float = 0.0, code: str | None = None, image: str | None = None) -> Job:
        """Add a job that ended so long ago and left one file of 10 kB of each kind."""
        jobs = self.storage.jobs
        snapshot = self.keep(code, days_ago) if code else None
        job = jobs.add(make_spec(image=image) if image else make_spec(), self.ada, snapshot, None)
        attempt = self.storage.lifecycle.start(job.id, (), "boot", "sha256:1")
        assert attempt is not None
        self.fill(attempt)
        self.storage.lifecycle.finish(attempt, OK, time.time() - days_ago * DAY)
        return jobs.get(job.id)

    def keep(self, code: str, days_ago: float) -> str:
        snapshot = self.storage.snapshots.add(make_archive({"train.py": code}))
        then = time.time() - days_ago * DAY
        os.utime(self.storage.snapshots.path(snapshot.sha256), (then, then))
        return snapshot.sha256

    def fill(self, attempt: Attempt) -> None:
        directory = self.storage.job_directory(attempt)
        checkpoints = directory.root.parent / "checkpoints"
        for folder in (directory.workspace, directory.output, directory.home, checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "file").write_bytes(bytes(10_000))
        directory.passwd.touch()
        directory.log.write_bytes(bytes(10_000))

    def prune(
        self, *, dry_run: bool = False, days: float | None = None, results: bool = False
    ) -> PruneReport:
        older_than_s = None if days is None else days * DAY
        leave_request(self.storage.box, PruneRequest("1", "ada", dry_run, older_than_s, results, time.time()))
        self.keeper.look()
        report = read_report(self.storage.box)
        assert report is not None
        assert report.is_done
        return report

    def folder(self, job: Job) -> Path:
        return self.storage.directory / "jobs" / str(job.id)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def names(report: PruneReport) -> list[str]:
    return [item.name for item in report.items]


# Jobs


def test_by_the_settings_old_workspaces_go_and_all_else_stays(box: Box) -> None:
    old, new = box.job(days_ago=8), box.job(days_ago=6)
    report = box.prune()
    assert names(report) == [f"workspace of job {old.id}"]
    left = {path.name for path in (box.folder(old) / "1").iterdir()}
    assert left == {"output", "output.log"}
    assert (box.folder(old) / "checkpoints" / "file").exists()
    assert (box.folder(new) / "1" / "workspace" / "file").exists()


def test_a_dry_run_tells_exactly_what_a_prune_then_frees(box: Box) -> None:
    box.job(days_ago=8, code="print(1)")
    box.job(days_ago=9)
    planned = box.prune(dry_run=True, days=1, results=True)
    assert (box.storage.directory / "jobs" / "1" / "1" / "workspace").exists()
    assert planned.done_bytes == 0
    done = box.prune(days=1, results=True)
    assert names(done) == names(planned)
    assert done.bytes == planned.bytes
    assert planned.bytes is not None
    assert done.done_bytes == sum(planned.bytes.values())
    assert done.kept == ()


def test_what_was_removed_is_recorded_with_its_date_and_in_the_history(box: Box) -> None:
    job = box.job(days_ago=8)
    box.prune()
    (attempt,) = box.storage.jobs.attempts(job.id)
    assert attempt.workspace_removed_at == pytest.approx(time.time(), abs=60)
    assert attempt.output_removed_at is None
    assert "its workspace was removed by retention: older than 7 days" in [
        event.text for event in box.storage.jobs.events(job.id)
    ]


def test_nothing_goes_twice(box: Box) -> None:
    box.job(days_ago=8)
    box.prune(days=1, results=True)
    assert box.prune(days=1, results=True).items == ()


def test_results_take_the_folder_with_them_and_the_row_stays(box: Box) -> None:
    job = box.job(days_ago=8, code="print(1)")
    box.prune(days=1, results=True)
    assert not box.folder(job).exists()
    assert job.snapshot
    assert not box.storage.snapshots.path(job.snapshot).exists()
    assert box.storage.jobs.get(job.id).verdict == OK


def test_code_stays_while_another_job_needs_it(box: Box) -> None:
    old, new = box.job(days_ago=8, code="same"), box.job(days_ago=1, code="same")
    assert old.snapshot == new.snapshot
    box.prune(days=2, results=True)
    assert new.snapshot
    assert box.storage.snapshots.path(new.snapshot).exists()
    box.prune(days=0.5, results=True)
    assert not box.storage.snapshots.path(new.snapshot).exists()


def test_code_that_no_job_needs_goes_after_a_day(box: Box) -> None:
    old, new = box.keep("refused", 2), box.keep("on its way", 0.5)
    report = box.prune()
    assert [item.category for item in report.items] == [Category.CODE]
    assert not box.storage.snapshots.path(old).exists()
    assert box.storage.snapshots.path(new).exists()


def test_code_that_arrives_again_is_not_removed_under_its_job(box: Box) -> None:
    code = box.keep("again", 2)
    clearing = Clearing(box.storage, box.settings, IdleImages(box.storage, box.settings, lambda: box.engine))
    (step,) = clearing.plan(Limits.of(box.settings.retention), time.time())
    assert box.keep("again", 0) == code  # after the plan, before the removal
    step.remove(lambda _bytes: None)
    assert box.storage.snapshots.path(code).exists()


def test_a_job_without_its_code_is_not_retried_and_says_why(box: Box) -> None:
    job = box.job(days_ago=8, code="print(1)")
    box.prune(days=1, results=True)
    with pytest.raises(
        Conflict, match=r"its code was removed on \d{4}-\d\d-\d\d by retention\. Submit it again"
    ):
        box.storage.jobs.request_retry(job.id, box.ada)


def test_a_job_that_is_to_run_again_loses_nothing(box: Box) -> None:
    job = box.job(days_ago=8, code="print(1)")
    assert box.storage.jobs.request_retry(job.id, box.ada)
    assert box.prune(days=1, results=True).items == ()
    assert (box.folder(job) / "1" / "workspace" / "file").exists()


def test_a_retry_between_plan_and_removal_wins(box: Box) -> None:
    job = box.job(days_ago=8, code="print(1)")
    clearing = Clearing(box.storage, box.settings, IdleImages(box.storage, box.settings, lambda: box.engine))
    steps = clearing.plan(Limits.of(box.settings.retention), time.time())
    box.storage.jobs.request_retry(job.id, box.ada)
    for step in steps:
        step.remove(lambda _bytes: None)
    assert (box.folder(job) / "1" / "workspace" / "file").exists()


def test_jobs_under_way_lose_nothing(box: Box) -> None:
    job = box.storage.jobs.add(make_spec(), box.ada, None, None)
    attempt = box.storage.lifecycle.start(job.id, (), "boot")
    assert attempt is not None
    box.fill(attempt)
    assert box.prune(days=0, results=True).items == ()


def test_the_second_attempt_of_a_pruned_job_has_its_own_marks(box: Box) -> None:
    job = box.job(days_ago=8)
    box.prune()
    box.storage.jobs.request_retry(job.id, box.ada)
    box.storage.lifecycle.retry(box.storage.jobs.get(job.id))
    attempt = box.storage.lifecycle.start(job.id, (), "boot")
    assert attempt is not None
    box.fill(attempt)
    box.storage.lifecycle.finish(attempt, OK, time.time())
    first, second = box.storage.jobs.attempts(job.id)
    assert (bool(first.workspace_removed_at), bool(second.workspace_removed_at)) == (True, False)


def test_too_much_lets_the_oldest_workspaces_go(tmp_path: Path) -> None:
    box = Box(tmp_path, max_bytes=200_000)
    jobs = [box.job(days_ago=3 - number) for number in range(3)]
    report = box.prune()
    assert names(report)[0] == f"workspace of job {jobs[0].id}"
    assert f"workspace of job {jobs[2].id}" not in names(report)
    assert "jobs keep more than 200,000 bytes" in report.items[0].why


def test_a_death_between_the_move_and_the_record_is_made_good(box: Box) -> None:
    job = box.job(days_ago=8)
    clearing = Clearing(box.storage, box.settings, IdleImages(box.storage, box.settings, lambda: box.engine))
    trash = box.storage.directory / "jobs" / ".trash"
    trash.mkdir()
    (box.folder(job) / "1" / "workspace").rename(trash / "moved")
    report = box.prune()
    assert names(report) == [f"workspace of job {job.id}"]
    assert list(trash.iterdir()) == []
    assert clearing.finish() == ()


# What is in nobody's name


def test_leftovers_go_and_folders_of_no_job_are_only_shown(box: Box) -> None:
    spool = box.storage.directory / "snapshots" / ".upload-abc"
    stranger = box.storage.directory / "jobs" / "4711"
    spool.touch()
    stranger.mkdir()
    for path in (spool, stranger):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    report = box.prune()
    assert names(report) == [".upload-abc"]
    assert not spool.exists()
    assert stranger.exists()
    assert "jobs/4711 belongs to no job" in report.kept[0]


# Images


def test_a_layer_that_no_job_used_for_long_goes(box: Box) -> None:
    box.job(days_ago=31)
    box.engine.add("spud/layer:1", "sha256:1", "spud.layer")
    box.engine.add("spud/layer:2", "sha256:another-spuds", "spud.layer")
    report = box.prune()
    assert ("spud/layer:1", 700) in [(item.name, item.bytes) for item in report.items]
    assert set(box.engine.images) == {"spud/layer:2"}


def test_a_layer_that_a_job_runs_in_stays(box: Box) -> None:
    box.job(days_ago=31)
    box.engine.add("spud/layer:1", "sha256:1", "spud.layer")
    waiting = box.storage.jobs.add(make_spec(), box.ada, None, None)
    box.storage.lifecycle.start(waiting.id, (), "boot", "sha256:1")
    assert Category.IMAGE not in {item.category for item in box.prune().items}


def test_a_job_that_comes_while_a_layer_retires_keeps_it(box: Box) -> None:
    box.job(days_ago=31)
    box.engine.add("spud/layer:1", "sha256:1", "spud.layer")

    def a_job_starts(_seconds: float) -> None:
        assert images.retiring == {"sha256:1"}
        waiting = box.storage.jobs.add(make_spec(), box.ada, None, None)
        box.storage.lifecycle.start(waiting.id, (), "boot", "sha256:1")

    images = IdleImages(box.storage, box.settings, lambda: box.engine, a_job_starts)
    (idle,) = images.idle(Limits.of(box.settings.retention), time.time())
    images.remove(idle, lambda _bytes: None)
    assert "spud/layer:1" in box.engine.images


def test_pulled_images_go_by_the_name_that_jobs_gave_them(box: Box) -> None:
    box.job(days_ago=31, image="pytorch/old:1")
    box.job(days_ago=1, image="pytorch/new")
    for name in ("pytorch/old:1", "pytorch/new", "never/used", "by/hand"):
        box.engine.add(name, f"sha256:{hashlib.sha256(name.encode()).hexdigest()}")
    for name in ("pytorch/old:1", "pytorch/new", "never/used"):
        box.storage.box.record_pulled(name, time.time() - 40 * DAY)
    box.prune()
    assert set(box.engine.images) == {"pytorch/new", "by/hand"}
    assert set(box.storage.box.pulled_images()) == {"pytorch/new"}


def test_an_engine_that_does_not_answer_stops_only_the_images(tmp_path: Path) -> None:
    box = Box(tmp_path)
    job = box.job(days_ago=40)

    def away() -> Engine:
        raise Unavailable("No Docker engine answers.")

    box.keeper = Housekeeper(box.storage, box.settings, away)
    assert names(box.prune()) == [f"workspace of job {job.id}"]


# Requests


def test_a_request_is_answered_once(box: Box) -> None:
    box.prune(dry_run=True)
    assert take_request(box.storage.box) is None


def test_a_prune_that_fails_says_so_and_is_not_tried_for_ever(box: Box) -> None:
    (box.storage.directory / "snapshots").rename(box.storage.directory / "elsewhere")
    report = box.prune()
    assert report.error == "The prune failed: see the scheduler's log"
    assert take_request(box.storage.box) is None


def test_the_thread_answers_a_request_that_was_left(box: Box) -> None:
    box.job(days_ago=8)
    box.keeper.begin()
    leave_request(box.storage.box, PruneRequest("7", "ada", False, None, False, time.time()))
    box.keeper.wake()
    deadline = time.monotonic() + 20
    while not ((report := read_report(box.storage.box)) and report.is_done):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    assert report.id == "7"
    assert names(report) == ["workspace of job 1"]
