"""What users do through the page and the API stands in the audit trail, with who and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from flask.testing import FlaskClient

from appliance.audit import Entry
from tests.web.box import WebBox, bearer, csrf_of, process, sign_in

pytestmark = pytest.mark.unit

LOCALHOST = "127.0.0.1"


def trail(box: WebBox) -> list[tuple[str, str, str]]:
    return [(e.actor, e.action, e.subject) for e in reversed(entries(box))]


def entries(box: WebBox) -> tuple[Entry, ...]:
    return box.storage.audit.entries()


def test_a_job_leaves_its_lines(box: WebBox, client: FlaskClient, bob: str) -> None:
    client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(bob))
    client.post("/api/v1/jobs/1/cancel", headers=bearer(bob))
    client.post("/api/v1/jobs/1/cancel", headers=bearer(bob))  # asked for before: nothing new
    assert trail(box) == [("bob", "job.submit", "1"), ("bob", "job.cancel", "1")]
    assert {entry.address for entry in entries(box)} == {LOCALHOST}


def test_users_and_tokens_leave_their_lines(box: WebBox, client: FlaskClient, ada: str) -> None:
    client.post("/api/v1/users", json={"name": "eve"}, headers=bearer(ada))
    client.post("/api/v1/users/eve/tokens", headers=bearer(ada))
    client.delete("/api/v1/users/eve/tokens", headers=bearer(ada))
    assert trail(box) == [
        ("ada", "user.add", "eve"),
        ("ada", "token.issue", "eve"),
        ("ada", "token.revoke", "eve"),
    ]


def test_what_is_refused_leaves_no_line(box: WebBox, client: FlaskClient, ada: str) -> None:
    client.post("/api/v1/users", json={"name": "ada"}, headers=bearer(ada))
    client.post("/api/v1/users/nobody/tokens", headers=bearer(ada))
    client.delete("/api/v1/users/ada/tokens", headers=bearer(ada))
    client.post("/api/v1/jobs", json={"command": []}, headers=bearer(ada))
    assert trail(box) == []


def test_what_cannot_be_recorded_is_not_done(box: WebBox, client: FlaskClient, ada: str) -> None:
    with box.storage.database.transaction() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    assert client.post("/api/v1/users", json={"name": "eve"}, headers=bearer(ada)).status_code == 500
    assert client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(ada)).status_code == 500
    assert box.storage.users.find("eve") is None
    assert box.storage.jobs.list() == ()


def test_sessions_leave_their_lines(box: WebBox, client: FlaskClient) -> None:
    token = box.token("bob")
    client.post("/login", data={"token": "spud_wrong", "csrf_token": csrf_of(client, "/login")})
    sign_in(client, token)
    client.post("/logout", data={"csrf_token": csrf_of(client, "/")})
    assert trail(box) == [
        ("-", "session.refused", "page"),
        ("bob", "session.begin", "bob"),
        ("bob", "session.end", "bob"),
    ]
    assert not [entry for entry in entries(box) if "spud_" in entry.detail + entry.subject]


def test_wrong_tokens_cannot_fill_the_trail(box: WebBox, client: FlaskClient) -> None:
    answers = {client.get("/api/v1/me", headers=bearer("spud_wrong")).status_code for _ in range(50)}
    assert answers == {401}
    assert trail(box) == [("-", "session.refused", "api")] * 10


def test_an_address_that_the_client_tells_is_not_believed(box: WebBox, client: FlaskClient, bob: str) -> None:
    headers = {**bearer(bob), "X-Forwarded-For": "203.0.113.9"}
    client.post("/api/v1/jobs", json={"command": ["true"]}, headers=headers)
    assert entries(box)[0].address == LOCALHOST


@pytest.mark.parametrize(("trusts", "address"), [("false", LOCALHOST), ("true", "203.0.113.9")])
def test_a_proxy_on_the_box_tells_the_address_when_it_is_trusted_to(
    tmp_path: Path, trusts: str, address: str
) -> None:
    box = WebBox(tmp_path, SPUD_WEB_TRUST_FORWARDED_FOR=trusts)
    headers = {
        **bearer(box.token("bob")),
        "X-Forwarded-For": "203.0.113.9",
        "Content-Type": "application/json",
    }
    with process("web", box.environ, f"{box.url}/healthz"):
        wish = Request(f"{box.url}/api/v1/jobs", b'{"command": ["true"]}', headers)
        urlopen(wish, timeout=10).close()
    assert entries(box)[0].address == address


def test_the_trail_is_told_to_administrators_alone(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(bob))
    assert client.get("/api/v1/audit", headers=bearer(bob)).status_code == 403
    found = client.get("/api/v1/audit", headers=bearer(ada)).json
    assert found is not None
    assert [entry["action"] for entry in found["entries"]] == ["job.submit"]
    assert found["next"] is None


def test_the_trail_comes_in_pages_and_parts(box: WebBox, client: FlaskClient, ada: str, bob: str) -> None:
    for _ in range(3):
        client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(bob))
    client.post("/api/v1/users", json={"name": "eve"}, headers=bearer(ada))
    first: Any = client.get("/api/v1/audit?action=job.*&limit=2", headers=bearer(ada)).json
    second: Any = client.get(
        f"/api/v1/audit?action=job.*&limit=2&before={first['next']}", headers=bearer(ada)
    ).json
    assert [entry["subject"] for page in (first, second) for entry in page["entries"]] == ["3", "2", "1"]
    assert '"eve"' in client.get("/api/v1/audit?actor=ada", headers=bearer(ada)).text
    assert '"entries":[]' in client.get("/api/v1/audit?since=2999-01-01T00:00:00Z", headers=bearer(ada)).text
