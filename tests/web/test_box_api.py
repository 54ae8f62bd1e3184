"""The box as a whole: drained and resumed, and why jobs wait."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.factories import make_gpu
from tests.web.box import WebBox, bearer, sign_in

pytestmark = pytest.mark.unit


def get(client: FlaskClient, token: str, path: str) -> Any:
    return client.get(f"/api/v1{path}", headers=bearer(token)).json


def test_an_admin_drains_the_box_and_resumes(box: WebBox, client: FlaskClient, ada: str) -> None:
    drained: Any = client.post("/api/v1/box/drain", headers=bearer(ada), json={"reason": "new\ndriver"}).json
    assert (drained["drain"]["by"], drained["drain"]["reason"]) == ("ada", "new driver")
    assert get(client, ada, "/box")["drain"] == drained["drain"]
    assert client.post("/api/v1/box/resume", headers=bearer(ada)).json["drain"] is None  # type: ignore[index]
    assert box.storage.box.drain() is None
    assert [entry.action for entry in box.storage.audit.entries()][:2] == ["box.resume", "box.drain"]


def test_no_one_else_may(client: FlaskClient, bob: str) -> None:
    for verb in ("drain", "resume"):
        assert client.post(f"/api/v1/box/{verb}", headers=bearer(bob), json={}).status_code == 403


def test_the_box_says_what_holds_jobs_back(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.see(hold="space on the disk", strangers=("spud-9-1",), disk_free_bytes=64, disk_total_bytes=128)
    found = get(client, bob, "/box")
    assert (found["hold"], found["strangers"]) == ("space on the disk", ["spud-9-1"])
    assert (found["disk_free_bytes"], found["disk_total_bytes"]) == (64, 128)


def test_a_job_without_a_reason_of_its_own_has_that_of_its_lane(
    box: WebBox, client: FlaskClient, bob: str
) -> None:
    box.see(make_gpu(0))
    jobs = [box.submit("bob", gpus=1), box.submit("bob", gpus=1), box.submit("bob")]
    box.storage.lifecycle.set_waiting_for({jobs[0].id: "a GPU"})
    box.storage.box.set_lanes({"gpus": "job 1, which is ahead"})
    listed = {job["id"]: job["waiting_for"] for job in get(client, bob, "/jobs")["jobs"]}
    assert listed == {1: "a GPU", 2: "job 1, which is ahead", 3: None}


def test_a_job_that_runs_waits_for_nothing(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.storage.box.set_lanes({"cpus": "cores"})
    box.start(box.submit("bob"))
    found = get(client, bob, "/jobs/1")
    assert (found["waiting_for"], found["jobs_ahead"]) == (None, None)


def test_a_job_counts_those_ahead_of_it(box: WebBox, client: FlaskClient, ada: str, bob: str) -> None:
    box.submit("ada", gpus=1)
    box.submit("ada", gpus=1, priority=-1)
    box.submit("ada", gpus=1, priority=1)
    box.submit("ada")
    job = box.submit("bob", gpus=1)
    assert get(client, bob, f"/jobs/{job.id}")["jobs_ahead"] == 2


def test_the_page_says_that_the_box_is_drained_and_why_a_card_is_not_given_away(
    box: WebBox, client: FlaskClient, ada: str
) -> None:
    box.see(make_gpu(0), occupied={"GPU-0": "process 42 from outside Spud holds 3.1 GiB"})
    client.post("/api/v1/box/drain", headers=bearer(ada), json={"reason": "new driver"})
    box.submit("ada")
    box.storage.box.set_lanes({"cpus": "the end of the drain by ada"})
    sign_in(client, ada)
    page = client.get("/").text
    assert "ada has drained the box (new driver)" in page
    assert "Not given to jobs: process 42 from outside Spud holds 3.1 GiB" in page
    assert "waits for the end of the drain by ada" in page
    assert "Waits for the end of the drain by ada" in client.get("/jobs/1").text
