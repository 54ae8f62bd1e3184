from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.jobs.box import Image
from appliance.web.app import create_app
from tests.factories import make_archive
from tests.web.box import FAILED, WebBox, bearer

pytestmark = pytest.mark.unit

DIFF = b"--- a/train.py\n+++ b/train.py\n\xff\xfe not text\n"


def send(
    client: FlaskClient, token: str, spec: dict[str, object] | None = None, **parts: object
) -> TestResponse:
    form = {"spec": json.dumps({"command": ["true"], **(spec or {})}), **parts}
    headers = {**bearer(token), "Content-Type": "multipart/form-data"}
    return client.post("/api/v1/jobs", data=form, headers=headers)


def code(**files: str) -> tuple[io.BytesIO, str]:
    return make_archive({name.replace("_", "."): text for name, text in files.items()}), "code.tar.gz"


def sentence(answer: TestResponse) -> str:
    assert answer.json is not None
    return str(answer.json["error"]["message"])


# Requirements


def test_requirements_are_named_by_their_content(box: WebBox, client: FlaskClient, bob: str) -> None:
    for text in ("numpy\n", "# mine\nnumpy", "scipy"):
        assert send(client, bob, code=code(requirements_txt=text)).status_code == 201
    one, same, other = (box.storage.jobs.get(job_id).requirements_hash for job_id in (1, 2, 3))
    assert one == same != other
    assert one


def test_a_job_without_requirements_has_none(box: WebBox, client: FlaskClient, bob: str) -> None:
    send(client, bob, code=code(train_py="pass"))
    send(client, bob, {"requirements": ""}, code=code(requirements_txt="numpy"))
    assert [box.storage.jobs.get(job_id).requirements_hash for job_id in (1, 2)] == [None, None]


@pytest.mark.parametrize(
    ("spec", "files", "reason"),
    [
        ({"requirements": "gpu.txt"}, {"train_py": ""}, "the code has no file gpu.txt"),
        ({}, {"requirements_txt": "-r base.txt"}, "includes base.txt, which is not in the code"),
        ({"requirements": "../x"}, {"train_py": ""}, "must be a file in the job's code"),
    ],
)
def test_requirements_that_are_not_there_are_refused(
    client: FlaskClient, bob: str, spec: dict[str, object], files: dict[str, str], reason: str
) -> None:
    answer = send(client, bob, spec, code=code(**files))
    assert answer.status_code == 400
    assert reason in sentence(answer)


def test_requirements_without_code_are_refused(client: FlaskClient, bob: str) -> None:
    answer = client.post(
        "/api/v1/jobs", json={"command": ["true"], "requirements": "a.txt"}, headers=bearer(bob)
    )
    assert (answer.status_code, sentence(answer)) == (
        400,
        "requirements: no code was sent, so there is no a.txt in it.",
    )


# Images


def test_an_image_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    box = WebBox(tmp_path, SPUD_IMAGES_ALLOWED="nvcr.io/*", SPUD_JOBS_MIN_FREE_BYTES="0")
    box.see()
    client = create_app(box.settings, box.storage).test_client()
    answer = send(client, box.token("bob"), {"image": "evil.example/x"})
    assert answer.status_code == 400
    assert "It takes Spud's own and nvcr.io/*." in sentence(answer)
    assert send(client, box.token("bob"), {"image": "nvcr.io/x"}).status_code == 201


def test_an_absent_image_is_refused_where_nothing_is_pulled(tmp_path: Path) -> None:
    box = WebBox(tmp_path, SPUD_IMAGES_PULL="false", SPUD_JOBS_MIN_FREE_BYTES="0")
    box.see()
    client = create_app(box.settings, box.storage).test_client()
    answer = send(client, box.token("bob"), {"image": "python:3.12"})
    assert "There are: tensorflow." in sentence(answer)


def test_other_peoples_requirements_are_not_shown(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.see(images=(Image("spud/layer:12", "sha256:1", 1), Image("debian:12", "sha256:2", 1)))
    answer = client.get("/api/v1/box", headers=bearer(bob))
    assert answer.json is not None
    assert [image["name"] for image in answer.json["images"]] == ["debian:12"]


# Changes that were not committed


def test_uncommitted_changes_come_back_byte_for_byte(client: FlaskClient, bob: str) -> None:
    answer = send(client, bob, code=code(train_py=""), git_diff=(io.BytesIO(DIFF), "git.diff"))
    assert answer.json is not None
    assert answer.json["has_git_diff"]
    assert client.get("/api/v1/jobs/1/diff", headers=bearer(bob)).data == DIFF


def test_changes_over_the_limit_are_refused(client: FlaskClient, bob: str) -> None:
    large = io.BytesIO(bytes(1024**2 + 1))
    assert send(client, bob, git_diff=(large, "git.diff")).status_code == 413


def test_a_job_without_changes_says_so(client: FlaskClient, bob: str) -> None:
    send(client, bob)
    answer = client.get("/api/v1/jobs/1/diff", headers=bearer(bob))
    assert (answer.status_code, sentence(answer)) == (404, "Job 1 has no uncommitted changes on record.")


# Again


def test_a_finished_job_is_asked_to_run_again(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.finish(box.start(box.submit("bob")), FAILED)
    answer = client.post("/api/v1/jobs/1/retry", headers=bearer(bob))
    assert answer.json is not None
    assert answer.json["retry_requested_by"] == "bob"
    assert [job.id for job in box.storage.jobs.to_retry()] == [1]


def test_a_job_that_runs_is_not(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.start(box.submit("bob"))
    answer = client.post("/api/v1/jobs/1/retry", headers=bearer(bob))
    assert answer.status_code == 409
    assert sentence(answer).startswith("Job 1 is running, not finished.")


def test_a_job_whose_code_is_gone_is_not(box: WebBox, client: FlaskClient, bob: str) -> None:
    send(client, bob, code=code(train_py=""))
    job = box.storage.jobs.get(1)
    box.finish(box.start(job), FAILED)
    box.storage.snapshots.path(str(job.snapshot)).unlink()
    answer = client.post("/api/v1/jobs/1/retry", headers=bearer(bob))
    assert answer.status_code == 409
    assert "its code is no longer kept" in sentence(answer)


@pytest.mark.parametrize("path", ["retry", "diff", "command"])
def test_another_users_job_is_as_missing_as_none(
    box: WebBox, client: FlaskClient, ada: str, bob: str, path: str
) -> None:
    box.finish(box.start(box.submit("ada")), FAILED)
    call = client.post if path == "retry" else client.get
    answers = [call(f"/api/v1/jobs/{job_id}/{path}", headers=bearer(bob)) for job_id in (1, 2)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert sentence(answers[0]) == sentence(answers[1]).replace("2", "1")


# The engine's command


def command(client: FlaskClient, token: str) -> list[str]:
    answer = client.get("/api/v1/jobs/1/command", headers=bearer(token))
    assert answer.status_code == 200, answer.text
    return shlex.split(answer.text)


def test_the_command_names_the_image_by_its_content(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.see()
    box.start(box.submit("bob", command=["python3", "a b.py"], env={"A": "x'y"}))
    words = command(client, bob)
    assert words[:3] == ["docker", "run", "--rm"]
    assert words[-3:] == ["sha256:8f2b1c", "python3", "a b.py"]
    assert "A=x'y" in words


def test_the_command_has_no_secrets(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.see()
    box.storage.secrets.set(box.storage.users.get("bob").id, "API_KEY", "hunter2")
    box.start(box.submit("bob", secrets=["API_KEY"]))
    words = command(client, bob)
    assert words[words.index("API_KEY") - 1] == "--env"
    assert "hunter2" not in " ".join(words)


def test_a_job_that_has_not_run_has_no_command(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.submit("bob")
    answer = client.get("/api/v1/jobs/1/command", headers=bearer(bob))
    assert answer.status_code == 404
    assert "has not run yet" in sentence(answer)
