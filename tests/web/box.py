"""A box as the web process sees it: a real store in a folder, filled the way the scheduler fills it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flask.testing import FlaskClient

from appliance.config import Settings, load_settings
from appliance.gpus.gpu import Gpu
from appliance.jobs.box import Box, Image
from appliance.jobs.job import Again, Attempt, Job, Share, Verdict
from appliance.jobs.log import Kind, LogRecord
from appliance.jobs.reason import Outcome, Reason
from appliance.storage import open_storage
from appliance.users.user import Role
from tests.factories import make_spec

STAMP = b"2026-11-21T09:00:00.123456789Z"


class WebBox:
    """A store with users and jobs, and the variables that make processes use it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.environ = {
            "SPUD_CONFIG": str(folder / "config.toml"),
            "SPUD_STORE_DIRECTORY": str(folder / "store"),
            "SPUD_DATA_DIRECTORY": str(folder / "data"),
            "SPUD_WEB_LISTEN": f"127.0.0.1:{free_port()}",
            "SPUD_EXPORTER_LISTEN": f"127.0.0.1:{free_port()}",
            **variables,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").touch()
        self.settings: Settings = load_settings(environ=self.environ)
        self.storage = open_storage(self.settings)
        self.url = f"http://{self.settings.web.listen}"

    def token(self, name: str, role: Role = Role.USER) -> str:
        users = self.storage.users
        return users.issue_token(users.find(name) or users.add(name, role))

    def see(self, *gpus: Gpu, **facts: object) -> None:
        """Let the scheduler have looked at the box."""
        values = {"cpus": 2.0, "memory_bytes": 24 * 1024**3, "images": (IMAGE,), **facts}
        self.storage.box.set_box(Box(gpus=gpus, **values))  # type: ignore[arg-type]

    def submit(self, owner: str, **spec: object) -> Job:
        return self.storage.jobs.add(make_spec(**spec), self.storage.users.get(owner), None, None)

    def start(self, job: Job, *gpu_uuids: str) -> Attempt:
        attempt = self.storage.lifecycle.start(
            job.id, [Share(uuid) for uuid in gpu_uuids], "boot", "sha256:1"
        )
        assert attempt is not None
        directory = self.storage.job_directory(attempt)
        directory.output.mkdir(parents=True)
        directory.workspace.mkdir()
        self.storage.lifecycle.record_running(attempt, time.time(), "sha256:8f2b1c")
        return attempt

    def write(self, attempt: Attempt, text: str) -> None:
        """Append output to the attempt's log, a record for each line."""
        with self.storage.job_directory(attempt).log.open("ab") as log:
            *lines, rest = text.encode().split(b"\n")
            for line in lines:
                log.write(LogRecord(STAMP, Kind.FULL, line).encode())
            if rest:
                log.write(LogRecord(STAMP, Kind.PART, rest).encode())

    def fail_to_be_retried(self, attempt: Attempt) -> None:
        """End the attempt as failed; the job waits for its next one."""
        self.storage.lifecycle.finish(attempt, FAILED, time.time(), Again(0, "Tried again."))

    def finish(self, attempt: Attempt, verdict: Verdict | None = None) -> None:
        self.storage.lifecycle.finish(attempt, verdict or SUCCEEDED, time.time())


IMAGE = Image("spud/tensorflow:latest", "sha256:8f2b1c", 1_400_000_000)
SUCCEEDED = Verdict(Outcome.SUCCEEDED, Reason.OK, "The job succeeded.", (), 0)
FAILED = Verdict(
    Outcome.FAILED,
    Reason.USER_ERROR,
    "The command failed with exit code 1.",
    ("ModuleNotFoundError: No module named 'nmupy'",),
    1,
    "Add the package that has nmupy to requirements.txt.",
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def csrf_of(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def sign_in(client: FlaskClient, token: str) -> None:
    answer = client.post("/login", data={"token": token, "csrf_token": csrf_of(client, "/login")})
    assert answer.status_code == 303


@contextmanager
def process(
    name: str, environ: Mapping[str, str], url: str, log: IO[str] | int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Run `spud NAME` until the block ends, which begins when the process answers at `url`.

    A process that may say much needs a file as its log: nobody reads the pipe while it runs.
    """
    command = [sys.executable, "-m", "appliance.cli", name]
    running = subprocess.Popen(command, env={**os.environ, **environ}, stderr=log, text=True)
    try:
        _wait_for(url, running)
        yield running
    finally:
        running.terminate()
        running.communicate(timeout=10)


def _wait_for(url: str, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while not _answers(url):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline, f"nobody answers at {url}"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
