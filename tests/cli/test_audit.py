from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.cli.since import parse_since
from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_what_was_done_is_shown_newest_last(spud: Spud) -> None:
    spud("user", "add", "bob")
    spud("user", "token", "bob")
    lines = spud("audit").stdout.splitlines()
    assert lines[0].split() == ["TIME", "WHO", "FROM", "ACTION", "OF", "DETAIL"]
    assert lines[1].split()[2:] == [
        "ada",
        "127.0.0.1",
        "user.add",
        "bob",
        "role",
        "user,",
        "with",
        "a",
        "token",
    ]
    assert lines[2].split()[2:] == ["ada", "127.0.0.1", "token.issue", "bob"]


def test_it_is_chosen_by_action_actor_and_time(box: WebBox, spud: Spud) -> None:
    spud("user", "add", "bob")
    box.storage.audit.record("bob", "job.submit", "1")
    actions = [
        [entry["action"] for entry in json.loads(spud("audit", "--json", *words).stdout)]
        for words in (("--action", "job.*"), ("--actor", "ada"), ("--since", "0s"), ("--limit", "1"))
    ]
    assert actions == [["job.submit"], ["user.add"], [], ["job.submit"]]


def test_more_than_a_page_is_fetched(box: WebBox, spud: Spud) -> None:
    for number in range(1005):
        box.storage.audit.record("ada", "job.submit", str(number))
    found = json.loads(spud("audit", "--json", "--limit", "1003").stdout)
    assert [entry["subject"] for entry in found] == [str(number) for number in range(1004, 1, -1)]


def test_users_are_refused(spud_of_bob: Spud) -> None:
    result = spud_of_bob("audit")
    assert (result.exit_code, "Only an administrator" in result.stderr) == (1, True)


def test_what_is_done_in_the_store_itself_is_local(box: WebBox, spud: Spud, tmp_path: Path) -> None:
    words = ("user", "add", "eve", "--local", "--sign-in-file", str(tmp_path / "sign-in"))
    assert spud(*words, **box.environ, SUDO_USER="root").exit_code == 0
    told = [(e.actor, e.action, e.subject, e.address) for e in box.storage.audit.entries()]
    assert told == [("root", "token.issue", "eve", "local"), ("root", "user.add", "eve", "local")]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("1d12h", NOW - timedelta(hours=36)),
        ("2026-11-22T09:00:00Z", NOW - timedelta(hours=1)),
        ("2026-11-22T09:00:00+01:00", NOW - timedelta(hours=2)),
    ],
)
def test_moments_are_read(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "10", "2026-13-01", "99999999999d"])
def test_what_is_no_moment_is_refused(spud: Spud, text: str) -> None:
    assert "is no time. Use 10m" in spud("audit", "--since", text).stderr
