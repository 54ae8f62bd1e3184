"""Schemathesis against a running `spud web`: whatever is sent, every answer is as the API describes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.web.app import create_app
from tests.fuzz.effort import EFFORT
from tests.fuzz.hooks import ANONYMOUS_VARIABLE, FOLDER_VARIABLE, USER_VARIABLE
from tests.fuzz.served_box import ADMINISTRATOR, JOBS, USER, filled_box
from tests.web.box import WebBox, bearer, process

pytestmark = pytest.mark.process

CASES = 5 * max(1, EFFORT)
"""Requests for every operation, beside those that its description suggests."""
CHANCE = () if EFFORT else ("--generation-deterministic",)
ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[WebBox]:
    box = filled_box(tmp_path / "box-of-the-fuzzer")
    with (tmp_path / "web.log").open("w") as log, process("web", box.environ, f"{box.url}/healthz", log):
        yield box
    assert "Traceback" not in (tmp_path / "web.log").read_text()


def fuzz(box: WebBox, folder: Path, *options: str, **environment: str) -> None:
    """Let Schemathesis try every operation; fail with its report."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", *options, "--no-color", "--max-examples", str(CASES), *CHANCE),
    ]
    facts = {FOLDER_VARIABLE: str(folder), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env={**os.environ, **facts, **environment}, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [USER, ADMINISTRATOR])
def test_whatever_a_user_sends_is_answered_as_described(fuzzed: WebBox, tmp_path: Path, name: str) -> None:
    header = f"Authorization: Bearer {fuzzed.token(name)}"
    fuzz(fuzzed, tmp_path, f"{fuzzed.url}/api/v1/openapi.json", "--header", header, **{USER_VARIABLE: name})
    # It did try to submit jobs, and was not locked out on the way.
    assert [job for job in fuzzed.storage.jobs.list() if job.owner == name and job.id > len(JOBS)]


def test_a_stranger_gets_nothing(fuzzed: WebBox, tmp_path: Path) -> None:
    before = counts(fuzzed)
    description = tmp_path / "openapi.json"
    with create_app(fuzzed.settings, fuzzed.storage).test_client() as client:
        answer = client.get("/api/v1/openapi.json", headers=bearer(fuzzed.token(USER)))
    description.write_text(answer.text)
    fuzz(
        fuzzed,
        tmp_path,
        str(description),
        "--url",
        fuzzed.url,
        "--phases",
        "coverage",
        **{ANONYMOUS_VARIABLE: "1"},
    )
    assert counts(fuzzed) == before


def counts(box: WebBox) -> tuple[int, ...]:
    """Return how many jobs, users and secrets there are."""
    users = box.storage.users.list()
    secrets = [secret for user, _ in users for secret in box.storage.secrets.list(user.id)]
    return len(box.storage.jobs.list()), len(users), len(secrets)
