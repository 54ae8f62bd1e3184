from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from appliance.jobs.job import Attempt
from appliance.jobs.prune import take_request
from appliance.scheduler import lock
from appliance.scheduler.housekeeper import Housekeeper
from tests.web.box import WebBox, bearer

pytestmark = pytest.mark.unit

DAY = 86_400.0
PRUNE = "/api/v1/box/prune"


@pytest.fixture
def keeper(box: WebBox) -> Iterator[Housekeeper]:
    """The housekeeper of a scheduler that holds the store."""
    with lock.hold(box.storage.directory / lock.FILE_NAME):
        yield Housekeeper(box.storage, box.settings)


@pytest.fixture
def attempt(box: WebBox, bob: str) -> Attempt:
    """An attempt of bob's that ended eight days ago and left files and a log."""
    made = box.start(box.submit("bob"))
    box.write(made, "hello\n")
    directory = box.storage.job_directory(made)
    (directory.output / "model").write_text("weights")
    (directory.workspace / "train.py").write_text("code")
    box.finish(made)
    with box.storage.database.transaction() as connection:
        connection.execute("UPDATE job SET finished_at = ?", (time.time() - 8 * DAY,))
    return made


def prune(client: FlaskClient, token: str, keeper: Housekeeper, **body: object) -> dict[str, object]:
    asked = client.post(PRUNE, json=body, headers=bearer(token))
    assert asked.status_code == 202
    keeper.look()
    report: dict[str, object] = client.get(PRUNE, headers=bearer(token)).get_json()
    assert report["id"] == asked.get_json()["id"]
    assert report["is_done"]
    return report


def test_an_admin_is_told_what_would_go(
    client: FlaskClient, ada: str, keeper: Housekeeper, attempt: Attempt
) -> None:
    report = prune(client, ada, keeper, dry_run=True)
    assert [item["name"] for item in report["items"]] == [f"workspace of job {attempt.job_id}"]  # type: ignore[attr-defined]
    assert report["done_bytes"] == 0


def test_users_may_neither_ask_nor_look(client: FlaskClient, bob: str, keeper: Housekeeper) -> None:
    assert client.post(PRUNE, json={}, headers=bearer(bob)).status_code == 403
    assert client.get(PRUNE, headers=bearer(bob)).status_code == 403


def test_without_a_scheduler_nobody_would_do_it(client: FlaskClient, box: WebBox, ada: str) -> None:
    refused = client.post(PRUNE, json={}, headers=bearer(ada))
    assert refused.status_code == 503
    assert "is not running" in refused.get_json()["error"]["message"]
    assert take_request(box.storage.box) is None


@pytest.mark.parametrize("body", [{"older_than_days": -1}, {"older_then_days": 3}, {"dry_run": "perhaps"}])
def test_a_wrong_wish_is_refused(
    client: FlaskClient, ada: str, keeper: Housekeeper, body: dict[str, object]
) -> None:
    assert client.post(PRUNE, json=body, headers=bearer(ada)).status_code == 400


def test_before_the_first_prune_there_is_no_report(client: FlaskClient, ada: str) -> None:
    answer = client.get(PRUNE, headers=bearer(ada))
    assert answer.status_code == 404
    assert "spud prune --dry-run" in answer.get_json()["error"]["message"]


def test_a_prune_is_in_the_audit_trail(
    client: FlaskClient, box: WebBox, ada: str, keeper: Housekeeper
) -> None:
    prune(client, ada, keeper, older_than_days=2, with_results=True)
    (entry,) = box.storage.audit.entries(action="box.prune")
    assert (entry.actor, entry.detail) == ("ada", "older than 2 days, results too")


def test_removed_files_are_gone_with_their_date_not_missing(
    client: FlaskClient, ada: str, bob: str, keeper: Housekeeper, attempt: Attempt
) -> None:
    prune(client, ada, keeper)
    job = f"/api/v1/jobs/{attempt.job_id}"
    gone = client.get(f"{job}/files/workspace/train.py", headers=bearer(bob))
    assert gone.status_code == 410
    assert gone.get_json()["error"]["code"] == "gone"
    today = time.strftime("%Y-%m-%d")
    assert f"were removed on {today} by retention" in gone.get_json()["error"]["message"]
    assert client.get(f"{job}/files/output/model", headers=bearer(bob)).text == "weights"
    assert client.get(f"{job}/files/output/other", headers=bearer(bob)).status_code == 404
    files = client.get(f"{job}/files", headers=bearer(bob)).get_json()["files"]
    assert [file["path"] for file in files] == ["output/model"]


def test_a_removed_log_is_gone(
    client: FlaskClient, ada: str, bob: str, keeper: Housekeeper, attempt: Attempt
) -> None:
    prune(client, ada, keeper, older_than_days=1, with_results=True)
    job = f"/api/v1/jobs/{attempt.job_id}"
    for path in (f"{job}/logs", f"{job}/logs/stream", f"{job}/files"):
        answer = client.get(path, headers=bearer(bob))
        assert answer.status_code == 410
        assert "by retention. What is recorded of it stays" in answer.get_json()["error"]["message"]
    shown = client.get(job, headers=bearer(bob)).get_json()
    assert shown["attempts"][0]["log_removed_at"]
    assert shown["outcome"] == "succeeded"


def test_the_page_of_a_pruned_job_says_so(
    client: FlaskClient, ada: str, keeper: Housekeeper, attempt: Attempt
) -> None:
    prune(client, ada, keeper, older_than_days=1, with_results=True)
    page = client.get(f"/jobs/{attempt.job_id}", headers=bearer(ada))
    assert page.status_code == 200
    assert "its log was removed by retention" in page.text
