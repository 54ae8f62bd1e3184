"""Whatever is sent gets one clear sentence and leaves nothing behind."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.web.app import create_app
from tests.factories import make_archive, make_member
from tests.web.box import WebBox, bearer

pytestmark = pytest.mark.unit

SPEC = '{"command": ["python3", "train.py"]}'


def refused(box: WebBox, client: FlaskClient, token: str, status: int, **request: Any) -> str:
    """Send a job that must be refused; return the sentence."""
    answer = client.post("/api/v1/jobs", headers=bearer(token), **request)
    assert answer.status_code == status, answer.text
    assert answer.json is not None
    assert box.storage.jobs.list() == ()
    assert list((box.storage.directory / "snapshots").iterdir()) == []
    return str(answer.json["error"]["message"])


@pytest.mark.parametrize(
    ("member", "word"),
    [
        (make_member("../evil", tarfile.REGTYPE), "outside"),
        (make_member("/etc/passwd", tarfile.REGTYPE), "outside"),
        (make_member("link", tarfile.SYMTYPE, "../../etc"), "outside"),
        (make_member("hard", tarfile.LNKTYPE, "train.py"), "neither"),
        (make_member("device", tarfile.CHRTYPE), "neither"),
        (make_member("pipe", tarfile.FIFOTYPE), "neither"),
    ],
)
def test_a_dangerous_archive_is_refused(
    box: WebBox, client: FlaskClient, bob: str, member: tarfile.TarInfo, word: str
) -> None:
    form = {"spec": SPEC, "code": (make_archive({"train.py": ""}, member), "code.tar.gz")}
    assert word in refused(box, client, bob, 400, data=form)


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00", b"PK\x03\x04"])
def test_a_damaged_archive_is_refused(box: WebBox, client: FlaskClient, bob: str, content: bytes) -> None:
    form = {"spec": SPEC, "code": (io.BytesIO(content), "code.tar.gz")}
    assert "archive" in refused(box, client, bob, 400, data=form)


def test_an_archive_over_the_limit_is_refused(box: WebBox, client: FlaskClient, bob: str) -> None:
    form = {"spec": SPEC, "code": (io.BytesIO(b"\x1f\x8b" + bytes(300_000)), "code.tar.gz")}
    assert ".spudignore" in refused(box, client, bob, 413, data=form)


def test_a_request_over_the_limit_is_refused(box: WebBox, client: FlaskClient, bob: str) -> None:
    form = {"spec": SPEC, "code": (io.BytesIO(bytes(4_000_000)), "code.tar.gz")}
    assert "too large" in refused(box, client, bob, 413, data=form)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"command": []}',
        '{"command": "python3 x.py"}',
        '{"command": ["x"], "gpu": 1}',
        '{"command": ["x"], "gpus": -1}',
        '{"command": ["x"], "gpus": 1e99}',
        '{"command": ["x"], "memory": 1.5}',
        '{"command": ["x"], "memory": NaN}',
        '{"command": ["x"], "memory": []}',
        '{"command": ["x"], "time": null, "memory": "' + "9" * 400 + 'G"}',
        '{"command": ["x"], "time": ' + "9" * 400 + "}",
        '{"command": ["x"], "time": ' + "9" * 5000 + "}",
        '{"command": ["x"], "cpus": Infinity}',
        '{"command": ["\\ud800"]}',
        '{"command": ["a\\u0000b"]}',
        '{"command": ["x"], "image": "../x"}',
        '{"command": ["x"], "name": "a/b"}',
        '{"command": ["x"], "env": {"A=B": "1"}}',
        '{"command": ["x"], "env": {"SPUD_X": "1"}}',
        '{"command": ["x"], "data": ["../etc"]}',
        "[" * 100_000,
    ],
    ids=lambda spec: spec[:40],
)
def test_a_malformed_spec_is_refused(box: WebBox, client: FlaskClient, bob: str, spec: str) -> None:
    message = refused(box, client, bob, 400, data=spec, content_type="application/json")
    form = {"data": {"spec": spec}, "content_type": "multipart/form-data"}
    assert refused(box, client, bob, 400, **form) == message


def test_a_key_is_mistyped(box: WebBox, client: FlaskClient, bob: str) -> None:
    assert 'Did you mean "gpus"?' in refused(box, client, bob, 400, json={"command": ["x"], "gpsu": 1})


@pytest.mark.parametrize(
    "request_",
    [
        {"data": b"\xff\xfe{}", "content_type": "application/json"},
        {"data": SPEC, "content_type": "text/plain"},
        {"data": b"", "content_type": "multipart/form-data"},
        {"data": b"--x\r\ngarbage", "content_type": "multipart/form-data; boundary=x"},
        {"data": {"code": "x"}, "content_type": "multipart/form-data"},
        {"data": {"spec": SPEC, "git_commit": "; rm"}, "content_type": "multipart/form-data"},
    ],
)
def test_a_malformed_request_is_refused(
    box: WebBox, client: FlaskClient, bob: str, request_: dict[str, Any]
) -> None:
    refused(box, client, bob, 400, **request_)


def test_a_huge_spec_is_refused(box: WebBox, client: FlaskClient, bob: str) -> None:
    spec = '{"command": ["' + "x" * 1_200_000 + '"]}'
    refused(box, client, bob, 413, data=spec, content_type="application/json")
    refused(box, client, bob, 413, data={"spec": spec}, content_type="multipart/form-data")


def test_a_full_disk_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    full = WebBox(tmp_path / "full", SPUD_JOBS_MIN_FREE_BYTES=str(2**62))
    token = full.token("bob")
    form = {"spec": SPEC, "code": (make_archive({"train.py": ""}), "code.tar.gz")}
    client = create_app(full.settings, full.storage).test_client()
    assert "disk" in refused(full, client, token, 507, data=form)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/jobs/0", 404),
        ("GET", "/api/v1/jobs/x", 404),
        ("GET", "/api/v1/jobs/-1", 404),
        ("GET", "/api/v1/jobs/99999999999999999999", 404),
        ("PUT", "/api/v1/jobs", 405),
        ("DELETE", "/api/v1/jobs/1", 405),
        ("GET", "/api/v1/jobs/1/cancel", 405),
        ("GET", "/api/v1/jobs?limit=0", 400),
        ("GET", "/api/v1/jobs?limit=x", 400),
        ("GET", "/api/v1/jobs?before=99999999999999999999", 400),
        ("GET", "/api/v1/jobs?state=asleep", 400),
        ("GET", "/api/v1/jobs?owner=nobody", 404),
        ("GET", "/api/v1/jobs?sate=running", 400),
        ("GET", "/api/v1/jobs/1/logs?tail=-1", 400),
        ("GET", "/api/v1/jobs/1/logs?attempt=99999999999999999999", 400),
        ("GET", "/api/v1/jobs/1/logs/stream?offset=-1", 400),
        ("GET", "/api/v1/jobs/1/logs/stream?offset=99999999999999999999", 400),
        ("POST", "/api/v1/users", 400),
        ("POST", "/api/v1/users/nobody/tokens", 404),
        ("DELETE", "/api/v1/users/no%00body/tokens", 404),
    ],
)
def test_a_wrong_path_or_parameter_is_told_in_json(
    box: WebBox, client: FlaskClient, ada: str, method: str, path: str, status: int
) -> None:
    answer = client.open(path, method=method, headers=bearer(ada))
    assert answer.status_code == status, answer.text
    assert answer.json is not None
    assert set(answer.json["error"]) == {"code", "message"}


@pytest.mark.parametrize("name", ["", "A", "a b", "root; rm", "x" * 33, "1a", "-a", "a\n"])
def test_a_user_s_name_is_checked(client: FlaskClient, ada: str, name: str) -> None:
    answer = client.post("/api/v1/users", json={"name": name, "role": "user"}, headers=bearer(ada))
    assert answer.status_code == 400


def test_a_wrong_method_names_the_right_ones(client: FlaskClient, ada: str) -> None:
    answer = client.put("/api/v1/jobs", headers=bearer(ada))
    assert "GET" in answer.headers["Allow"]


def test_a_page_that_is_missing_is_told_as_a_page(client: FlaskClient, ada: str) -> None:
    answer = client.get("/nothing", headers=bearer(ada))
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "There is nothing at /nothing" in answer.text
