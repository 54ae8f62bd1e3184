"""AuditLog: who did what, from where, and the SQL of it. Rows are added and never changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, get_args

from appliance.database import Database, Row

Action = Literal[
    "job.submit",
    "job.cancel",
    "job.retry",
    "job.change",
    "user.add",
    "token.issue",
    "token.revoke",
    "session.begin",
    "session.refused",
    "session.end",
    "secret.set",
    "secret.remove",
    "box.drain",
    "box.resume",
    "box.prune",
    "gpu.release",
]
ACTIONS: tuple[str, ...] = get_args(Action)

LOCAL = "local"
"""The address of what was done on the box itself, in its store."""
NOBODY = "-"
"""The actor of a sign-in that was refused."""

_DETAIL_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit trail; `at` is in Unix seconds, `address` the peer's or "local"."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    detail: str
    address: str


class AuditLog:
    """The audit trail in the database, which refuses every change of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, actor: str, action: Action, subject: str, detail: str = "", address: str = LOCAL
    ) -> None:
        """Add a line; inside a transaction of the same thread it is kept or lost with the rest of that."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO audit (at, actor, action, subject, detail, address) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time(), actor, action, subject, detail[:_DETAIL_LENGTH], address),
            )

    def entries(
        self,
        since: float = 0.0,
        actor: str | None = None,
        action: str = "*",
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[Entry, ...]:
        """Return lines, newest first: those since a time, of an actor, of actions that match `job.*`."""
        rows = self._database.rows(
            "SELECT * FROM audit WHERE at >= :since AND action GLOB :action"
            " AND (:actor IS NULL OR actor = :actor) AND (:before IS NULL OR id < :before)"
            " ORDER BY id DESC LIMIT :limit",
            {"since": since, "actor": actor, "action": action, "before": before, "limit": limit},
        )
        return tuple(_entry(row) for row in rows)


def _entry(row: Row) -> Entry:
    return Entry(
        row["id"], row["at"], row["actor"], row["action"], row["subject"], row["detail"], row["address"]
    )
