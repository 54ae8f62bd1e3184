"""A secret reaches the job that names it, and stays nowhere else."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.system.running_box import RunningBox, until

pytestmark = pytest.mark.docker

VALUE = "p4ss/word+& with spaces"
LINES = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END KEY-----"
FORMS = [
    VALUE.encode(),
    quote(VALUE, safe="").encode(),
    base64.b64encode(VALUE.encode()),
    VALUE.encode().hex().encode(),
    b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
]
TALKATIVE = """
import base64, json, os, sys, time, urllib.parse
value, key = os.environ["PASSWORD"], os.environ["KEY"]
print("length", len(value), flush=True)
print("plain", value, flush=True)
print("url", urllib.parse.quote(value, safe=""), flush=True)
print("base64", base64.b64encode(value.encode()).decode(), flush=True)
print("hex", value.encode().hex(), flush=True)
print("key", key, flush=True)
print("x" * 16_380 + value, flush=True)  # over the border between two parts of a long line
print("bar", "=" * 100_000 + value, end="\\r\\n", flush=True)
time.sleep(0.5)  # the engine mixes its streams as they come
sys.stderr.write(value[:5])
sys.stderr.flush()
sys.stderr.write(value[5:] + "\\n")
raise RuntimeError("cannot sign in with " + value)
"""


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """A box on which a job has ended that wrote its secrets wherever it could."""
    box = RunningBox(tmp_path_factory.mktemp("box"))
    try:
        ada = box.storage.users.get("ada").id
        box.storage.secrets.set(ada, "PASSWORD", VALUE)
        box.storage.secrets.set(ada, "KEY", LINES)
        box.start()
        job_id = box.submit("--secret", "PASSWORD", "--secret", "KEY", box.script(TALKATIVE))
        assert box.wait(job_id)["reason"] == "user_error"
        yield box
    finally:
        box.stop()


def test_the_job_has_the_value_and_its_log_has_not(talked: RunningBox) -> None:
    log = talked.spud("logs", "1").stdout
    assert f"length {len(VALUE)}" in log
    assert "plain [secret PASSWORD]\n" in log
    assert "url [secret PASSWORD]\n" in log
    assert "base64 [secret PASSWORD]\n" in log
    assert log.count("[secret KEY]") == 3
    assert [form for form in FORMS if form in log.encode()] == []


def test_no_file_but_the_table_of_secrets_has_the_value(talked: RunningBox) -> None:
    database = talked.folder / "store" / "spud.db"
    side_files = {database, Path(f"{database}-wal"), Path(f"{database}-shm")}
    own = {path for path in talked.home.rglob("*") if path.is_file()}
    holders = {path for path in talked.folder.rglob("*") if path.is_file() and holds(path)}
    assert holders - side_files - own == set()
    assert holds(database) or holds(Path(f"{database}-wal"))


def test_no_answer_has_the_value(talked: RunningBox) -> None:
    answers = [
        talked.spud("show", "1").stdout,
        talked.spud("show", "1", "--json").stdout,
        talked.spud("list", "--json").stdout,
        talked.spud("audit", "--json").stdout,
        talked.spud("secret", "list", "--json").stdout,
        *(
            get(talked, path)
            for path in ("/api/v1/jobs/1", "/api/v1/jobs/1/logs", "/api/v1/secrets", "/api/v1/box")
        ),
    ]
    assert "cannot sign in with [secret PASSWORD]" in answers[0]
    assert [form for form in FORMS if any(form.decode() in answer for answer in answers)] == []


def test_the_container_that_had_the_value_is_gone(talked: RunningBox) -> None:
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"name={talked.prefix}-1-"]
    until(lambda: not subprocess.check_output(listing), "the container is removed", 30)


def test_a_job_whose_secret_was_removed_is_not_launched(talked: RunningBox) -> None:
    talked.storage.secrets.set(talked.storage.users.get("ada").id, "SHORT", "lived")
    talked.kill("scheduler")
    job_id = talked.submit("--secret", "SHORT", "--", "env")
    talked.spud("secret", "remove", "SHORT")
    talked.start("scheduler")
    job = talked.wait(job_id)
    assert job["reason"] == "launch_error"
    assert "You have no secret SHORT" in json.dumps(job)


def test_after_its_removal_no_file_has_the_value(talked: RunningBox) -> None:
    talked.spud("secret", "remove", "PASSWORD")
    talked.spud("secret", "remove", "KEY")
    store = [path for path in (talked.folder / "store").rglob("*") if path.is_file()]
    until(lambda: not [path for path in store if path.exists() and holds(path)], "the value is gone", 30)


def holds(path: Path) -> bool:
    data = path.read_bytes()
    return any(form in data for form in FORMS)


def get(box: RunningBox, path: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    wish = urllib.request.Request(box.url + path, headers={"Authorization": f"Bearer {box.token}"})
    with opener.open(wish, timeout=10) as answer:
        return str(answer.read().decode())
