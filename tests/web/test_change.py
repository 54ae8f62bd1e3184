"""What was submitted can still be changed, as long as it matters."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.box import WebBox, bearer

pytestmark = pytest.mark.unit


def patch(client: FlaskClient, token: str, **values: object) -> Any:
    return client.patch("/api/v1/jobs/1", json=values, headers=bearer(token))


def test_a_pending_job_is_changed(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.submit("bob", time=60, env={"A": "b"})
    assert patch(client, bob, priority=5, time="2h", name="late").status_code == 200
    job = box.storage.jobs.get(1)
    assert (job.spec.priority, job.spec.time, job.name, job.spec.env) == (5, 7200, "late", {"A": "b"})
    text = "changed: priority from 0 to 5, time from 60 to 7200, name from none to late"
    assert box.storage.jobs.events(1)[-1].text == text
    assert box.storage.audit.entries()[0].action == "job.change"


def test_the_changed_priority_decides_the_queue(box: WebBox, client: FlaskClient, bob: str) -> None:
    second = (box.submit("bob"), box.submit("bob"))[1]
    client.patch(f"/api/v1/jobs/{second.id}", json={"priority": 1}, headers=bearer(bob))
    assert [request.job_id for request in box.storage.jobs.queue(gpus=False, limit=10)] == [2, 1]


def test_of_a_running_job_the_limit_is_changed_alone(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.start(box.submit("bob", time=60))
    late = patch(client, bob, priority=5, time=120)
    assert late.status_code == 409
    assert "runs already, so its priority stays" in late.text
    assert patch(client, bob, time=None).status_code == 200
    assert box.storage.jobs.get(1).spec.time is None


def test_a_limit_that_is_over_already_is_refused(box: WebBox, client: FlaskClient, bob: str) -> None:
    attempt = box.start(box.submit("bob"))
    with box.storage.database.transaction() as connection:
        connection.execute("UPDATE job SET started_at = ? WHERE id = ?", (time.time() - 100, attempt.job_id))
    answer = patch(client, bob, time=50)
    assert answer.status_code == 409
    assert "would end it at once" in answer.text
    assert "spud cancel 1" in answer.text


def test_a_finished_job_stays_as_it_is(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.finish(box.start(box.submit("bob")))
    assert patch(client, bob, time=50).status_code == 409


@pytest.mark.parametrize(
    "values", [{}, {"priority": 1001}, {"time": "soon"}, {"gpus": 2}, {"name": "a b"}, {"priority": None}]
)
def test_values_that_no_job_can_have_are_refused(
    box: WebBox, client: FlaskClient, bob: str, values: dict[str, object]
) -> None:
    box.submit("bob")
    assert patch(client, bob, **values).status_code == 400
    assert len(box.storage.jobs.events(1)) == 1


def test_another_users_job_is_not_there(box: WebBox, client: FlaskClient, ada: str) -> None:
    token = box.token("bob")
    box.submit("ada")
    assert ada
    assert patch(client, token, priority=1).status_code == 404


def test_what_changes_nothing_leaves_no_line(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.submit("bob")
    assert patch(client, bob, priority=0).status_code == 200
    assert len(box.storage.jobs.events(1)) == 1
    assert box.storage.audit.entries() == ()
