from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from appliance.users.user import Role
from appliance.web.access import ANONYMOUS_FILES, safe_return_path
from tests.web.box import WebBox, bearer, csrf_of, sign_in

pytestmark = pytest.mark.unit

ANONYMOUS = {("GET", "/healthz"), ("GET", "/login"), ("POST", "/login")}


def every_route(app: Flask) -> list[tuple[str, str]]:
    """Return method and path of every rule, with likely values in the path."""
    values = {"job_id": 1, "file_path": "output/a", "name": "bob", "filename": "live.js", "uuid": "GPU-0"}
    adapter = app.url_map.bind("localhost")
    return [
        (method, adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments}, method))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    ]


def test_every_route_but_the_anonymous_ones_needs_a_sign_in(app: Flask, client: FlaskClient) -> None:
    for method, path in every_route(app):
        answer = client.open(path, method=method)
        if (method, path) in ANONYMOUS:
            assert answer.status_code in (200, 403), path
        elif path.startswith("/api/"):
            assert answer.status_code == 401, path
        else:
            assert answer.status_code == 302, path
            assert answer.headers["Location"].startswith("/login"), path


def test_the_sign_in_form_gets_its_static_files(client: FlaskClient) -> None:
    assert {client.get(f"/static/{name}").status_code for name in ANONYMOUS_FILES} == {200}


@pytest.mark.parametrize("header", ["Bearer spud_wrong", "Bearer ", "Basic YTpi", "x", "Bearer spud_\u00e9"])
def test_a_wrong_token_is_refused_with_the_next_step(client: FlaskClient, header: str) -> None:
    answer = client.get("/api/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error"]["message"].endswith("spud user token NAME")


def test_a_token_tells_who_it_is(client: FlaskClient, bob: str) -> None:
    assert client.get("/api/v1/me", headers=bearer(bob)).json == {"name": "bob", "role": "user"}


def test_a_wrong_token_is_not_saved_by_a_session(client: FlaskClient, bob: str) -> None:
    sign_in(client, bob)
    assert client.get("/api/v1/me").status_code == 200
    assert client.get("/api/v1/me", headers=bearer("spud_wrong")).status_code == 401


def test_a_revoked_token_ends_its_sessions(box: WebBox, client: FlaskClient, bob: str) -> None:
    sign_in(client, bob)
    box.storage.users.revoke_tokens(box.storage.users.get("bob"))
    assert client.get("/").headers["Location"] == "/login"


def test_signing_out_ends_the_session(client: FlaskClient, bob: str) -> None:
    sign_in(client, bob)
    client.post("/logout", data={"csrf_token": csrf_of(client, "/jobs")})
    assert client.get("/api/v1/me").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: FlaskClient, bob: str) -> None:
    form = {"token": bob, "csrf_token": csrf_of(client, "/login")}
    cookie = client.post("/login", data=form).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_the_cookie_is_secure_by_https(client: FlaskClient, bob: str) -> None:
    url = "https://localhost"
    csrf = client.get("/login", base_url=url).text.split('csrf_token" value="')[1].split('"')[0]
    answer = client.post("/login", data={"token": bob, "csrf_token": csrf}, base_url=url)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_forged_cookie_is_nobody(client: FlaskClient) -> None:
    client.set_cookie("spud_session", "eyJ0b2tlbl9pZCI6MX0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("path", ["/submit", "/users", "/logout", "/login", "/api/v1/jobs"])
def test_a_change_by_cookie_needs_the_csrf_token(client: FlaskClient, ada: str, path: str) -> None:
    sign_in(client, ada)
    assert client.post(path, data={"token": ada}).status_code == 403
    assert client.post(path, data={"token": ada, "csrf_token": "wrong"}).status_code == 403


def test_a_script_of_the_page_may_send_the_csrf_token_as_header(client: FlaskClient, bob: str) -> None:
    sign_in(client, bob)
    headers = {"X-CSRF-Token": csrf_of(client, "/jobs")}
    answer = client.post("/api/v1/jobs", json={"command": ["true"]}, headers=headers)
    assert answer.status_code == 201


def test_a_bearer_token_needs_no_csrf_token(client: FlaskClient, bob: str) -> None:
    answer = client.post("/api/v1/jobs", json={"command": ["true"]}, headers=bearer(bob))
    assert answer.status_code == 201


def test_guessing_tokens_is_slowed_down(client: FlaskClient, bob: str) -> None:
    form = {"token": "spud_wrong", "csrf_token": csrf_of(client, "/login")}
    codes = [client.post("/login", data=form).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_users_may_not_see_the_users(client: FlaskClient, bob: str) -> None:
    assert client.get("/api/v1/users", headers=bearer(bob)).status_code == 403
    sign_in(client, bob)
    assert client.get("/users").status_code == 403


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "/\tx", "x"])
def test_signing_in_never_leads_off_the_box(path: str) -> None:
    assert safe_return_path(path) == "/"


def test_signing_in_leads_back_to_the_page(client: FlaskClient, box: WebBox) -> None:
    token = box.token("eve", Role.ADMIN)
    assert client.get("/jobs?show=finished").headers["Location"] == "/login?next=/jobs?show%3Dfinished"
    form = {"token": token, "next": "/jobs?show=finished", "csrf_token": csrf_of(client, "/login")}
    assert client.post("/login", data=form).headers["Location"] == "/jobs?show=finished"
