"""The audit trail tells what was done, and nothing changes it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from appliance.audit import ACTIONS, AuditLog
from appliance.database import Database, UniqueViolation

pytestmark = pytest.mark.unit


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "spud.db")


@pytest.fixture
def audit(database: Database) -> AuditLog:
    return AuditLog(database)


def test_what_was_done_is_told_newest_first(audit: AuditLog) -> None:
    audit.record("ada", "user.add", "bob", "role user", "192.0.2.7")
    audit.record("bob", "job.submit", "1")
    newest, oldest = audit.entries()
    assert (newest.actor, newest.action, newest.subject, newest.address) == (
        "bob",
        "job.submit",
        "1",
        "local",
    )
    assert (oldest.detail, oldest.address) == ("role user", "192.0.2.7")


def test_entries_are_chosen_by_actor_action_and_time(audit: AuditLog) -> None:
    audit.record("ada", "job.submit", "1")
    audit.record("ada", "user.add", "bob")
    audit.record("bob", "job.cancel", "1")
    assert [entry.action for entry in audit.entries(action="job.*")] == ["job.cancel", "job.submit"]
    assert [entry.action for entry in audit.entries(actor="ada", action="job.submit")] == ["job.submit"]
    assert audit.entries(since=audit.entries()[0].at + 1) == ()


def test_entries_come_in_pages(audit: AuditLog) -> None:
    for number in range(5):
        audit.record("ada", "job.submit", str(number))
    first = audit.entries(limit=2)
    second = audit.entries(limit=2, before=first[-1].id)
    assert [entry.subject for entry in (*first, *second)] == ["4", "3", "2", "1"]


def test_a_change_that_fails_leaves_no_line(database: Database, audit: AuditLog) -> None:
    with suppress(RuntimeError), database.transaction():
        audit.record("ada", "user.add", "bob")
        raise RuntimeError
    assert audit.entries() == ()


@pytest.mark.parametrize("sql", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_nothing_changes_a_line(database: Database, audit: AuditLog, sql: str) -> None:
    audit.record("ada", "user.add", "bob")
    with pytest.raises(UniqueViolation, match="append-only"), database.transaction() as connection:
        connection.execute(sql)
    assert [entry.actor for entry in audit.entries()] == ["ada"]


def test_every_action_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text()
    assert [action for action in ACTIONS if f"`{action}`" not in page] == []
