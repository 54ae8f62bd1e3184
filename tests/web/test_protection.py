from __future__ import annotations

import stat
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.config import WebSettings
from appliance.errors import Unavailable
from appliance.web import session_key
from appliance.web.protection import is_known_host

pytestmark = pytest.mark.unit


def test_a_stranger_s_host_name_is_refused(client: FlaskClient) -> None:
    answer = client.get("/healthz", headers={"Host": "evil.example:8600"})
    assert answer.status_code == 400
    assert "allowed_hosts" in answer.text


@pytest.mark.parametrize(
    "host", ["localhost:8600", "127.0.0.1", "[::1]:8600", "192.168.1.7:8600", "LOCALHOST"]
)
def test_names_of_the_box_and_addresses_are_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_configured_names_are_answered() -> None:
    settings = WebSettings(listen="0.0.0.0:8600", allowed_hosts="spud.lab, Potato.lab")
    assert is_known_host("potato.lab", settings)
    assert not is_known_host("lab", settings)
    assert not is_known_host("", settings)


def test_every_answer_carries_the_security_headers(client: FlaskClient) -> None:
    for path in ("/login", "/healthz", "/static/style.css", "/api/v1/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_no_template_needs_inline_scripts_or_styles() -> None:
    for path in Path("appliance/web/templates").glob("*.html"):
        text = path.read_text()
        assert "style=" not in text
        assert "onclick" not in text
        assert "<script>" not in text


def test_the_session_key_is_kept_and_private(tmp_path: Path) -> None:
    path = tmp_path / "web.key"
    key = session_key.load_or_create(path)
    assert session_key.load_or_create(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir() if "web.key" in file.name] == ["web.key"]


def test_a_damaged_session_key_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "web.key").write_bytes(b"short")
    with pytest.raises(Unavailable, match="Remove it"):
        session_key.load_or_create(tmp_path / "web.key")
