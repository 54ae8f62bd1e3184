"""BoxStore: the SQL of what is known of the box, and of the GPUs that are not to be used."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from pydantic import TypeAdapter

from appliance.database import Database
from appliance.jobs.box import Box, Drain, Quarantine

_BOX = TypeAdapter(Box)
_DRAIN = TypeAdapter(Drain)
_LANES = TypeAdapter(dict[str, str])
_PULLED = TypeAdapter(dict[str, float])

RESTORED_ATTEMPT = "restored_attempt"
"""The fact of the last attempt that the store knew when it was restored from a backup, by its id."""


class BoxStore:
    """What the scheduler sees of the box, and what admins want of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def box(self) -> Box | None:
        """Return what the scheduler last saw of the box; None before its first look."""
        value = self.fact("box")
        return _BOX.validate_json(value) if value else None

    def set_box(self, box: Box) -> None:
        """Record what the scheduler sees, when it differs from what was seen before."""
        self.set_fact("box", _BOX.dump_json(box).decode())

    def drain(self) -> Drain | None:
        """Return who has asked that no further job starts; None when jobs start."""
        value = self.fact("drain")
        return _DRAIN.validate_json(value) if value else None

    def set_drain(self, drain: Drain | None) -> None:
        """Stop the start of jobs, or with None let them start again."""
        self.set_fact("drain", _DRAIN.dump_json(drain).decode() if drain else "")

    def lanes(self) -> dict[str, str]:
        """Return why the jobs of a lane ("gpus", "cpus") wait that have no reason of their own."""
        value = self.fact("lanes")
        return _LANES.validate_json(value) if value else {}

    def set_lanes(self, reasons: Mapping[str, str]) -> None:
        """Record why the jobs wait that are not at the head of their lane."""
        self.set_fact("lanes", _LANES.dump_json(dict(reasons)).decode(), is_news=False)

    def store_id(self) -> str:
        """Return what names this store for good; its containers bear it."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO box (fact, value) VALUES ('store_id', ?)", (secrets.token_hex(8),)
            )
            return str(connection.execute("SELECT value FROM box WHERE fact = 'store_id'").fetchone()[0])

    def pulled_images(self) -> dict[str, float]:
        """Return the images that were fetched for jobs, by the name asked for, with when."""
        value = self.fact("pulled_images")
        return _PULLED.validate_json(value) if value else {}

    def record_pulled(self, name: str, at: float) -> None:
        """Record that an image was fetched for a job, so that it may go again when nobody uses it."""
        with self._database.transaction():
            self.set_fact("pulled_images", _PULLED.dump_json(self.pulled_images() | {name: at}).decode())

    def forget_pulled(self, name: str) -> None:
        """Forget an image that was fetched, since it is gone."""
        with self._database.transaction():
            kept = {other: at for other, at in self.pulled_images().items() if other != name}
            self.set_fact("pulled_images", _PULLED.dump_json(kept).decode())

    def fact(self, name: str) -> str | None:
        """Return what is recorded under a name."""
        row = self._database.row("SELECT value FROM box WHERE fact = ?", (name,))
        return str(row["value"]) if row else None

    def set_fact(self, name: str, value: str, *, is_news: bool = True) -> None:
        """Record something under a name, when it differs from what is there."""
        if (self.fact(name) or "") == value:
            return
        with self._database.transaction(is_news=is_news) as connection:
            connection.execute("INSERT OR REPLACE INTO box (fact, value) VALUES (?, ?)", (name, value))

    # Quarantine

    def quarantines(self) -> tuple[Quarantine, ...]:
        """Return the GPUs that are not to be given to jobs."""
        rows = self._database.rows(
            "SELECT gpu_uuid, cause, reason, boot_id, since, release_requested_by FROM quarantine"
        )
        return tuple(Quarantine(*row) for row in rows)

    def quarantine(self, entry: Quarantine) -> None:
        """Put a GPU in quarantine; one that is there already stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO quarantine (gpu_uuid, cause, reason, boot_id, since)"
                " VALUES (?, ?, ?, ?, ?)",
                (entry.gpu_uuid, entry.cause, entry.reason, entry.boot_id, entry.since),
            )

    def request_release(self, gpu_uuid: str, by: str) -> bool:
        """Leave the wish that a GPU leaves quarantine; False when it is in none."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE quarantine SET release_requested_by = ? WHERE gpu_uuid = ?", (by, gpu_uuid)
                ).rowcount
                == 1
            )

    def release(self, gpu_uuid: str) -> None:
        """Let a GPU be given to jobs again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM quarantine WHERE gpu_uuid = ?", (gpu_uuid,))
