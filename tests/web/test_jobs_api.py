from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.users.user import Role
from tests.factories import make_archive, make_gpu
from tests.web.box import FAILED, WebBox, bearer

pytestmark = pytest.mark.unit


def get(client: FlaskClient, token: str, path: str, code: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}", headers=bearer(token))
    assert answer.status_code == code, answer.text
    return answer.json


def test_a_job_is_submitted_with_its_code(client: FlaskClient, bob: str) -> None:
    spec = json.dumps({"command": ["python3", "train.py"], "gpus": 0})
    form = {
        "spec": spec,
        "git_commit": "1a2b3c4",
        "code": (make_archive({"train.py": "pass"}), "code.tar.gz"),
    }
    answer = client.post("/api/v1/jobs", data=form, headers=bearer(bob))
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/api/v1/jobs/1"
    assert answer.json is not None
    assert (answer.json["state"], answer.json["owner"]) == ("pending", "bob")
    assert answer.json["git_commit"] == "1a2b3c4"


def test_the_default_image_is_fixed_at_submit(client: FlaskClient, bob: str) -> None:
    answer = client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(bob))
    assert answer.json is not None
    assert answer.json["image"] == "tensorflow"


def test_a_job_tells_how_it_went(box: WebBox, client: FlaskClient, ada: str) -> None:
    attempt = box.start(box.submit("ada", gpus=1), "GPU-1")
    box.finish(attempt, FAILED)
    job = get(client, ada, "/jobs/1")
    assert (job["outcome"], job["reason"], job["exit_code"]) == ("failed", "user_error", 1)
    assert job["evidence"] == ["ModuleNotFoundError: No module named 'nmupy'"]
    assert job["gpu_uuids"] == ["GPU-1"]
    assert [attempt["number"] for attempt in job["attempts"]] == [1]
    assert [event["state"] for event in job["events"]] == ["pending", "starting", "running", "finished"]
    assert job["finished_at"].endswith("Z")


def test_another_user_s_job_is_as_missing_as_none(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.submit("ada")
    tails = ("", "/logs", "/logs/stream", "/files", "/files/output/x")
    for tail in tails:
        theirs = get(client, bob, f"/jobs/1{tail}", 404)
        missing = get(client, bob, f"/jobs/2{tail}", 404)
        assert json.dumps(theirs).replace("1", "2") == json.dumps(missing)
    assert client.post("/api/v1/jobs/1/cancel", headers=bearer(bob)).status_code == 404


def test_an_admin_sees_and_cancels_everyone_s_jobs(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.submit("bob")
    assert get(client, ada, "/jobs?owner=all")["jobs"][0]["owner"] == "bob"
    assert get(client, ada, "/jobs")["jobs"] == []
    answer = client.post("/api/v1/jobs/1/cancel", headers=bearer(ada))
    assert answer.json is not None
    assert answer.json["cancel_requested_by"] == "ada"


def test_a_user_lists_own_jobs_whatever_is_asked_for(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.submit("ada")
    box.submit("bob")
    for owner in ("me", "all", "ada"):
        assert [job["id"] for job in get(client, bob, f"/jobs?owner={owner}")["jobs"]] == [2]


def test_the_list_comes_in_pages(box: WebBox, client: FlaskClient, ada: str) -> None:
    for _ in range(5):
        box.submit("ada")
    first = get(client, ada, "/jobs?limit=2")
    second = get(client, ada, f"/jobs?limit=3&before={first['next']}")
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == [5, 4, 3, 2, 1]
    assert second["next"] is None


def test_the_list_can_be_of_some_states(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.submit("ada")
    box.start(box.submit("ada"))
    box.finish(box.start(box.submit("ada")))
    found = get(client, ada, "/jobs?state=running&state=finished")
    assert [job["id"] for job in found["jobs"]] == [3, 2]


def test_a_finished_job_cannot_be_cancelled(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.finish(box.start(box.submit("ada")))
    answer = client.post("/api/v1/jobs/1/cancel", headers=bearer(ada))
    assert (answer.status_code, answer.json) == (
        409,
        {"error": {"code": "conflict", "message": "Job 1 is finished already."}},
    )


def test_asking_twice_for_a_cancel_is_no_error(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.start(box.submit("ada"))
    codes = [client.post("/api/v1/jobs/1/cancel", headers=bearer(ada)).status_code for _ in range(2)]
    assert codes == [200, 200]


def test_the_log_can_be_read_whole_or_by_its_end(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.write(box.start(box.submit("ada")), "one\ntwo\nthr\u00e9e\n")
    assert client.get("/api/v1/jobs/1/logs", headers=bearer(ada)).text == "one\ntwo\nthr\u00e9e\n"
    assert client.get("/api/v1/jobs/1/logs?tail=1", headers=bearer(ada)).text == "thr\u00e9e\n"
    assert client.get("/api/v1/jobs/1/logs?tail=0", headers=bearer(ada)).text == ""
    assert get(client, ada, "/jobs/1/logs?attempt=7", 404)["error"]["code"] == "not_found"


def test_a_job_that_cannot_run_here_is_refused_with_the_reason(
    box: WebBox, client: FlaskClient, bob: str
) -> None:
    box.see(make_gpu(0), make_gpu(1))
    answer = client.post("/api/v1/jobs", json={"command": ["x"], "gpus": 99}, headers=bearer(bob))
    assert answer.status_code == 400
    answer = client.post("/api/v1/jobs", json={"command": ["x"], "gpus": 3}, headers=bearer(bob))
    assert answer.json is not None
    assert "this box has 2" in answer.json["error"]["message"]
    assert get(client, bob, "/jobs")["jobs"] == []


def test_an_unknown_data_set_is_refused_with_the_known_ones(
    box: WebBox, client: FlaskClient, bob: str
) -> None:
    answer = client.post("/api/v1/jobs", json={"command": ["x"], "data": ["mnsit"]}, headers=bearer(bob))
    assert answer.status_code == 400
    assert 'Unknown data set "mnsit"' in answer.text.replace("\\", "")


def test_the_box_describes_itself(box: WebBox, client: FlaskClient, bob: str) -> None:
    assert get(client, bob, "/box")["cpus"] is None
    box.see(make_gpu(0), engine_error="The Docker engine does not answer.")
    seen = get(client, bob, "/box")
    assert (seen["gpus"], seen["cpus"], seen["scheduler_running"]) == (1, 2.0, False)
    assert seen["engine_error"] == "The Docker engine does not answer."
    assert seen["images"][0]["name"] == "spud/tensorflow:latest"


def test_users_are_added_given_tokens_and_revoked(client: FlaskClient, ada: str) -> None:
    added = client.post("/api/v1/users", json={"name": "eve", "role": "user"}, headers=bearer(ada))
    assert added.status_code == 201
    assert added.json is not None
    first = added.json["token"]
    second = client.post("/api/v1/users/eve/tokens", headers=bearer(ada)).json
    assert second is not None
    assert get(client, second["token"], "/me") == {"name": "eve", "role": "user"}
    assert client.delete("/api/v1/users/eve/tokens", headers=bearer(ada)).json == {"revoked": 2}
    get(client, first, "/me", 401)


def test_a_token_is_in_no_list(client: FlaskClient, ada: str) -> None:
    users = get(client, ada, "/users")["users"]
    assert users[0]["tokens"] == 1
    assert "token" not in users[0]


def test_the_last_administrator_cannot_be_locked_out(box: WebBox, client: FlaskClient, ada: str) -> None:
    answer = client.delete("/api/v1/users/ada/tokens", headers=bearer(ada))
    assert answer.status_code == 409
    box.token("eve", Role.ADMIN)
    assert client.delete("/api/v1/users/ada/tokens", headers=bearer(ada)).json == {"revoked": 1}
