from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys

import pytest

from tests.web.box import WebBox, bearer

pytestmark = pytest.mark.process


def test_a_port_that_is_taken_is_told_in_one_sentence(box: WebBox) -> None:
    host, _, port = box.settings.web.listen.partition(":")
    with socket.create_server((host, int(port))):
        command = [sys.executable, "-m", "appliance.cli", "web"]
        ended = subprocess.run(
            command, env={**os.environ, **box.environ}, capture_output=True, text=True, timeout=30
        )
    assert ended.returncode == 1
    assert f"Port {port} is taken by another program." in ended.stderr
    assert "SPUD_WEB_LISTEN" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_server_does_not_say_what_it_is_made_of(served: WebBox) -> None:
    host, _, port = served.settings.web.listen.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("Server") is None


def test_an_upload_over_the_limit_gets_its_sentence(served: WebBox, bob: str) -> None:
    host, _, port = served.settings.web.listen.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    headers = {**bearer(bob), "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/jobs", b"x" * 1_300_000, headers)
    response = connection.getresponse()
    assert response.status == 413
    assert b'"too_large"' in response.read()


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"POST /api/v1/jobs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413, "too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431, "invalid_request"),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400, "invalid_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "invalid_request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400, "invalid_request"),
    ],
    ids=["body", "headers", "no header", "length", "chunk"],
)
def test_what_the_server_refuses_by_itself_is_told_like_the_rest(
    served: WebBox, request_: bytes, status: int, code: str
) -> None:
    host, _, port = served.settings.web.listen.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request_)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == status
        assert json.loads(response.read())["error"]["code"] == code
