from __future__ import annotations

from pathlib import Path

import pytest

from appliance.database import Database
from appliance.errors import Unavailable
from appliance.jobs.job import Share
from appliance.jobs.lifecycle import Lifecycle
from appliance.jobs.spec import parse_spec
from appliance.jobs.store import JobStore
from appliance.metrics.job_collector import JobCollector
from appliance.users.store import UserStore
from appliance.users.user import Role
from tests.metrics.samples import Samples

pytestmark = pytest.mark.unit


def submit(path: Path, count: int) -> JobStore:
    database = Database(path)
    owner = UserStore(database).add("ada", Role.USER)
    store = JobStore(database)
    for _ in range(count):
        store.add(parse_spec({"command": ["true"], "gpus": 1}), owner, snapshot=None, git_commit=None)
    return store


def test_jobs_are_counted_by_state(tmp_path: Path) -> None:
    submit(tmp_path / "spud.db", count=3)
    samples = Samples(JobCollector(tmp_path / "spud.db"))
    assert samples.value("spud_jobs", state="pending") == 3
    assert samples.value("spud_jobs", state="running") == 0


def test_the_job_that_holds_a_gpu_is_told(tmp_path: Path) -> None:
    submit(tmp_path / "spud.db", count=1)
    Lifecycle(Database(tmp_path / "spud.db")).start(1, [Share("GPU-a")], boot_id="boot")
    assert Samples(JobCollector(tmp_path / "spud.db")).value("spud_gpu_job", uuid="GPU-a", job_id="1") == 1


def test_a_database_may_come_later(tmp_path: Path) -> None:
    collector = JobCollector(tmp_path / "later" / "spud.db")
    with pytest.raises(Unavailable):
        list(collector.collect())
    (tmp_path / "later").mkdir()
    assert Samples(collector).value("spud_jobs", state="pending") == 0
