from __future__ import annotations

import json
import threading
import time

import pytest

from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = pytest.mark.unit


def test_the_box_is_drained_and_resumed(box: WebBox, spud: Spud) -> None:
    assert spud("drain", "--reason", "new driver").stdout == "No further job starts until: spud resume\n"
    drain = box.storage.box.drain()
    assert drain is not None
    assert (drain.by, drain.reason) == ("ada", "new driver")
    assert spud("resume").stdout == "Jobs start again.\n"
    assert box.storage.box.drain() is None


def test_the_lists_say_that_the_box_is_drained(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    spud("drain", "--reason", "new driver")
    sentence = "ada has drained the box; no further job starts until spud resume: new driver\n"
    assert spud("list").stderr == sentence
    assert sentence in spud("gpus").stderr
    spud("resume")
    assert spud("list").stderr == ""


def test_a_drain_waits_for_the_jobs_that_run(box: WebBox, spud: Spud) -> None:
    attempt = box.start(box.submit("ada"))
    threading.Timer(2, box.finish, [attempt]).start()
    started_at = time.monotonic()
    result = spud("drain", "--wait")
    assert time.monotonic() - started_at > 2
    assert result.exit_code == 0
    assert result.stderr == "Waiting for 1 job: 1\n"
    assert result.stdout == "No job runs, and none starts until: spud resume\n"


def test_the_box_is_told_in_json(spud: Spud) -> None:
    assert json.loads(spud("drain", "--json").stdout)["drain"]["by"] == "ada"
    assert json.loads(spud("resume", "--json").stdout)["drain"] is None


def test_only_admins_drain(box: WebBox, spud_of_bob: Spud) -> None:
    for verb in ("drain", "resume"):
        result = spud_of_bob(verb)
        assert (result.exit_code, "Only an administrator" in result.stderr) == (1, True)
    assert box.storage.box.drain() is None


def test_show_tells_how_many_are_ahead(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    box.submit("ada")
    box.storage.box.set_lanes({"cpus": "job 1, which is ahead"})
    lines = spud("show", "2").stdout.splitlines()
    assert "Waits for   job 1, which is ahead" in lines
    assert "Jobs ahead  1" in lines
