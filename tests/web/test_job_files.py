"""Nothing but a job's own regular files can be read, whatever the job puts into its folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.web.box import WebBox, bearer, sign_in

pytestmark = pytest.mark.unit


@pytest.fixture
def root(box: WebBox, ada: str) -> Path:
    """The folder of a running job that kept a result."""
    attempt = box.start(box.submit("ada"))
    folder = box.storage.job_directory(attempt).root
    (folder / "output" / "deep").mkdir()
    (folder / "output" / "deep" / "result.json").write_text('{"accuracy": 0.9}')
    (folder / "passwd").write_text("secret")
    return folder


def test_files_are_listed_with_sizes(root: Path, client: FlaskClient, ada: str) -> None:
    found = client.get("/api/v1/jobs/1/files", headers=bearer(ada)).json
    assert found is not None
    assert [(file["path"], file["bytes"]) for file in found["files"]] == [("output/deep/result.json", 17)]


def test_a_file_comes_as_an_attachment(root: Path, client: FlaskClient, ada: str) -> None:
    answer = client.get("/api/v1/jobs/1/files/output/deep/result.json", headers=bearer(ada))
    assert answer.json is None or answer.mimetype == "application/octet-stream"
    assert answer.text == '{"accuracy": 0.9}'
    assert answer.headers["Content-Length"] == "17"
    assert answer.headers["Content-Disposition"] == "attachment; filename=result.json"


def test_html_from_a_job_is_never_shown_as_a_page(root: Path, client: FlaskClient, ada: str) -> None:
    (root / "output" / "x.html").write_text("<script>alert(1)</script>")
    answer = client.get("/api/v1/jobs/1/files/output/x.html", headers=bearer(ada))
    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "passwd",
        "output",
        "output/",
        "output/deep",
        "output/missing",
        "output/../passwd",
        "output/%2e%2e/passwd",
        "output//etc/passwd",
        "/etc/passwd",
        "..%2fpasswd",
        "output/deep/result.json/x",
        "output/a%00b",
        "home/x",
        "output/" + "a/" * 2000 + "a",
    ],
)
def test_nothing_else_can_be_fetched(root: Path, client: FlaskClient, ada: str, path: str) -> None:
    answer = client.get(f"/api/v1/jobs/1/files/{path}", headers=bearer(ada))
    assert answer.status_code in (308, 404)
    assert "secret" not in answer.text


def test_links_are_neither_listed_nor_followed(root: Path, client: FlaskClient, ada: str) -> None:
    (root / "output" / "link").symlink_to("/etc/passwd")
    (root / "output" / "folder").symlink_to("/etc")
    (root / "workspace").rmdir()
    (root / "workspace").symlink_to("/etc")
    for path in ("output/link", "output/folder/passwd", "workspace/passwd"):
        assert client.get(f"/api/v1/jobs/1/files/{path}", headers=bearer(ada)).status_code == 404
    assert len(client.get("/api/v1/jobs/1/files", headers=bearer(ada)).json["files"]) == 1  # type: ignore[index]


def test_a_named_pipe_holds_nobody_up(root: Path, client: FlaskClient, ada: str) -> None:
    os.mkfifo(root / "output" / "pipe")
    assert client.get("/api/v1/jobs/1/files/output/pipe", headers=bearer(ada)).status_code == 404


def test_strange_names_break_no_list_and_no_page(root: Path, client: FlaskClient, ada: str) -> None:
    for name in (b"new\nline", b"\xff\xfe", "Gr\u00fc\u00dfe & <b>.txt".encode(), b"50%.txt"):
        Path(os.fsdecode(bytes(root / "output") + b"/" + name)).write_text("x")
    found = client.get("/api/v1/jobs/1/files", headers=bearer(ada)).json
    assert found is not None
    assert [file["path"] for file in found["files"]][:2] == [
        "output/50%.txt",
        "output/Gr\u00fc\u00dfe & <b>.txt",
    ]
    sign_in(client, ada)
    page = client.get("/jobs/1").text
    assert "output/Gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt" in page
    assert "<b>.txt" not in page


def test_a_job_that_has_not_started_has_no_files(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.submit("bob")
    assert client.get("/api/v1/jobs/1/files", headers=bearer(bob)).json == {"files": []}
    assert client.get("/api/v1/jobs/1/files/output/x", headers=bearer(bob)).status_code == 404
