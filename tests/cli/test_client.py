from __future__ import annotations

import functools
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.client import ApiClient, Origin
from appliance.cli.sign_in import SignIn
from appliance.errors import SpudError, TooLarge
from appliance.users.user import Role
from tests.web.box import WebBox, process

pytestmark = pytest.mark.process


@pytest.fixture
def small_box(tmp_path: Path) -> Iterator[WebBox]:
    """A running `spud web` that takes 100 kB of code."""
    box = WebBox(tmp_path / "box", SPUD_JOBS_CODE_MAX_BYTES="100000", SPUD_JOBS_MIN_FREE_BYTES="0")
    with process("web", box.environ, f"{box.url}/healthz"):
        yield box


@pytest.mark.parametrize("size_bytes", [150_000, 50_000_000])
def test_sentence_about_a_large_upload_arrives(small_box: WebBox, size_bytes: int) -> None:
    client = ApiClient(SignIn(small_box.url, small_box.token("ada")))
    with pytest.raises(TooLarge, match=r"\.spudignore"):
        client.submit(
            {"command": ["true"]}, io.BytesIO(os.urandom(size_bytes)), Origin(), lambda _count: None
        )


def test_interrupt_ends_the_following_but_not_the_job(small_box: WebBox, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").touch()
    environ = {**os.environ, "SPUD_URL": small_box.url, "SPUD_TOKEN": small_box.token("ada", Role.ADMIN)}
    command = [sys.executable, "-m", "appliance.cli", "run", str(tmp_path / "code" / "train.py")]
    # Whoever runs the tests in the background of a shell ignores Ctrl-C, and so would the child.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    assert running.stderr is not None
    while "Submitted" not in running.stderr.readline():
        pass
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    assert "Job 1 goes on. Follow: spud logs -f 1. Cancel: spud cancel 1" in running.communicate()[1]
    assert running.returncode == 130
    assert small_box.storage.jobs.get(1).cancel_requested_by is None


def test_other_server_at_the_address_is_told(tmp_path: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = ApiClient(SignIn(f"http://127.0.0.1:{server.server_port}", "spud_x"))
        with pytest.raises(SpudError, match=r"answered 404 .* which is not Spud's own answer"):
            client.get("/jobs")
        server.shutdown()
