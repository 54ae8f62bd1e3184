"""Secrets go in by the API and never come out of it."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from tests.web.box import WebBox, bearer

pytestmark = pytest.mark.unit

VALUE = "correct horse battery staple"
SECRET = "/api/v1/secrets/API_KEY"


def test_a_secret_is_kept_and_only_its_name_is_told(box: WebBox, client: FlaskClient, bob: str) -> None:
    answers = [
        client.put(SECRET, json={"value": VALUE}, headers=bearer(bob)),
        client.get("/api/v1/secrets", headers=bearer(bob)),
        client.get(SECRET, headers=bearer(bob)),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 405]
    assert '"name":"API_KEY"' in answers[1].text
    assert not [answer for answer in answers if VALUE in answer.text]
    owner = box.storage.users.get("bob")
    assert box.storage.secrets.values(owner.id, ["API_KEY"]) == {"API_KEY": VALUE}


def test_a_secret_is_removed(client: FlaskClient, bob: str) -> None:
    client.put(SECRET, json={"value": VALUE}, headers=bearer(bob))
    assert client.delete(SECRET, headers=bearer(bob)).json == {"secrets": []}
    assert client.delete(SECRET, headers=bearer(bob)).status_code == 404


def test_nobody_else_has_it_not_even_an_administrator(client: FlaskClient, ada: str, bob: str) -> None:
    client.put(SECRET, json={"value": VALUE}, headers=bearer(bob))
    assert client.get("/api/v1/secrets", headers=bearer(ada)).json == {"secrets": []}
    job = {"command": ["env"], "secrets": ["API_KEY"]}
    assert client.post("/api/v1/jobs", json=job, headers=bearer(ada)).status_code == 400


@pytest.mark.parametrize("body", [{"value": [VALUE]}, {"value": {"a": VALUE}}, {"value": VALUE + "\0"}, {}])
def test_a_refusal_does_not_repeat_the_value(client: FlaskClient, bob: str, body: object) -> None:
    answer = client.put(SECRET, json=body, headers=bearer(bob))
    assert answer.status_code == 400
    assert VALUE not in answer.text


def test_a_job_names_secrets_that_are_there(client: FlaskClient, bob: str) -> None:
    job = {"command": ["env"], "secrets": ["API_KEY"]}
    refused = client.post("/api/v1/jobs", json=job, headers=bearer(bob))
    assert refused.status_code == 400
    assert "You have no secret API_KEY. Set it with: spud secret set API_KEY" in refused.text
    client.put(SECRET, json={"value": VALUE}, headers=bearer(bob))
    assert client.post("/api/v1/jobs", json=job, headers=bearer(bob)).status_code == 201


def test_a_variable_is_not_a_secret_too(client: FlaskClient, bob: str) -> None:
    client.put(SECRET, json={"value": VALUE}, headers=bearer(bob))
    job = {"command": ["env"], "secrets": ["API_KEY"], "env": {"API_KEY": "x"}}
    assert "both a secret and a variable" in client.post("/api/v1/jobs", json=job, headers=bearer(bob)).text


def test_the_trail_tells_the_name_alone(box: WebBox, client: FlaskClient, bob: str) -> None:
    client.put(SECRET, json={"value": VALUE}, headers=bearer(bob))
    client.delete(SECRET, headers=bearer(bob))
    entries = box.storage.audit.entries()
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("secret.remove", "API_KEY"),
        ("secret.set", "API_KEY"),
    ]
    assert VALUE not in json.dumps([entry.detail for entry in entries])
