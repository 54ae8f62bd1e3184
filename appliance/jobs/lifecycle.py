"""Lifecycle: every change of a job's state, each with its event in one transaction.

The scheduler alone changes states. The table of legal transitions is the only way: what it does not allow
is not done, and the caller is told so. What the scheduler does of its own accord is no news to it, and rings
no bell.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence

from appliance.database import Connection, Database, UniqueViolation
from appliance.jobs.box import Quarantine
from appliance.jobs.job import TRANSITIONS, Again, Attempt, Job, JobState, Share, Verdict
from appliance.jobs.reason import Reason
from appliance.jobs.rows import attempt_of


class Lifecycle:
    """The states of the jobs in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, job_id: int, shares: Sequence[Share], boot_id: str, image_digest: str | None = None
    ) -> Attempt | None:
        """Open an attempt and reserve its GPUs, all in one transaction.

        Returns None, with nothing changed, when the job is no longer pending or a GPU is taken.
        """
        on = f" on {', '.join(share.gpu_uuid for share in shares)}" if shares else ""
        try:
            with self._database.transaction(is_news=False) as connection:
                if not _move(connection, job_id, JobState.STARTING, f"attempt started{on}"):
                    return None
                attempt_id = _open_attempt(connection, job_id, boot_id, image_digest, time.time())
                _reserve(connection, attempt_id, shares)
        except UniqueViolation:
            return None
        return self._newest_attempt(job_id)

    def begin_image(self, job_id: int, boot_id: str, text: str) -> Attempt | None:
        """Open an attempt that has no place yet, since its image must be made first.

        Returns None when the job is no longer pending.
        """
        with self._database.transaction(is_news=False) as connection:
            if not _move(connection, job_id, JobState.STARTING, text):
                return None
            _open_attempt(connection, job_id, boot_id, image_digest=None, placed_at=None)
        return self._newest_attempt(job_id)

    def record_image(self, attempt: Attempt, image_digest: str) -> None:
        """Record that the image of an attempt without place is there, so that it can be placed."""
        with self._database.transaction() as connection:
            recorded = connection.execute(
                "UPDATE attempt SET image_digest = ?"
                " WHERE id = ? AND image_digest IS NULL AND finished_at IS NULL",
                (image_digest, attempt.id),
            ).rowcount
            if recorded:
                connection.execute(
                    ADD_EVENT, (attempt.job_id, time.time(), JobState.STARTING, "its image is ready")
                )
                connection.execute("UPDATE job SET waiting_for = NULL WHERE id = ?", (attempt.job_id,))

    def place(self, attempt_id: int, shares: Sequence[Share], boot_id: str) -> Attempt | None:
        """Reserve the GPUs of an attempt whose image is ready; from now on it is of this boot.

        Returns None, with nothing changed, when the job is being stopped or a GPU is taken.
        """
        try:
            with self._database.transaction(is_news=False) as connection:
                placed = connection.execute(
                    "UPDATE attempt SET placed_at = ?, boot_id = ? WHERE id = ? AND placed_at IS NULL"
                    " AND finished_at IS NULL"
                    " AND EXISTS (SELECT 1 FROM job WHERE job.id = job_id AND job.state = 'starting')",
                    (time.time(), boot_id, attempt_id),
                ).rowcount
                if placed == 0:
                    return None
                _reserve(connection, attempt_id, shares)
                connection.execute(
                    "UPDATE job SET waiting_for = NULL WHERE id = (SELECT job_id FROM attempt WHERE id = ?)",
                    (attempt_id,),
                )
        except UniqueViolation:
            return None
        row = self._database.row("SELECT * FROM attempt WHERE id = ?", (attempt_id,))
        return attempt_of(row) if row else None

    def record_start_asked(self, attempt: Attempt) -> float:
        """Record that the engine is now asked to start the container, for the first time; return when."""
        now = time.time()
        with self._database.transaction(is_news=False) as connection:
            connection.execute("UPDATE attempt SET start_asked_at = ? WHERE id = ?", (now, attempt.id))
        return now

    def record_running(self, attempt: Attempt, started_at: float, image_digest: str) -> bool:
        """Record that the container runs; False when the job is being stopped, or the attempt is over."""
        with self._database.transaction(is_news=False) as connection:
            is_open = connection.execute(
                "UPDATE attempt SET started_at = COALESCE(started_at, ?), image_digest = ?"
                " WHERE id = ? AND finished_at IS NULL",
                (started_at, image_digest, attempt.id),
            ).rowcount
            if not is_open:
                return False
            connection.execute(
                "UPDATE job SET started_at = COALESCE(started_at, ?), image_digest = ? WHERE id = ?",
                (started_at, image_digest, attempt.job_id),
            )
            return _move(connection, attempt.job_id, JobState.RUNNING, "container started", started_at)

    def stop(self, job_id: int, reason: Reason, text: str) -> bool:
        """Ask for the end of a job with an open attempt; False when it is stopping or over already."""
        with self._database.transaction() as connection:
            if not _move(connection, job_id, JobState.STOPPING, text):
                return False
            connection.execute("UPDATE job SET stop_reason = ? WHERE id = ?", (reason, job_id))
        return True

    def release(self, attempt: Attempt, quarantined: Sequence[Quarantine] = ()) -> None:
        """Free GPUs and cores of an attempt whose container has ended; those in `quarantined` stay unused."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempt SET released_at = COALESCE(released_at, ?) WHERE id = ?",
                (time.time(), attempt.id),
            )
            connection.execute("DELETE FROM reservation WHERE attempt_id = ?", (attempt.id,))
            connection.executemany(_ADD_QUARANTINE, [_quarantine_values(entry) for entry in quarantined])

    def finish(
        self,
        attempt: Attempt,
        verdict: Verdict,
        finished_at: float,
        again: Again | None = None,
    ) -> bool:
        """End the attempt and free its GPUs, all in one transaction; False when it was ended before.

        The job ends with it, or with `again` waits for its next attempt, unless it was told to stop.
        """
        with self._database.transaction() as connection:
            closed = connection.execute(
                "UPDATE attempt SET finished_at = ?, outcome = ?, reason = ?, message = ?, advice = ?,"
                " evidence = ?, exit_code = ? WHERE id = ? AND finished_at IS NULL",
                (finished_at, *_verdict_values(verdict), attempt.id),
            ).rowcount
            connection.execute("DELETE FROM reservation WHERE attempt_id = ?", (attempt.id,))
            if closed == 0:
                return False
            if again and _requeue(connection, attempt.job_id, again, is_wished=False):
                return True
            return _end(connection, attempt.job_id, verdict, finished_at)

    def finish_unplaced(
        self, attempt: Attempt, verdict: Verdict, finished_at: float, again: Again | None = None
    ) -> bool:
        """End an attempt that has no place yet; False when it got one meanwhile, or was ended before."""
        with self._database.transaction() as connection:
            is_unplaced = connection.execute(
                "SELECT 1 FROM attempt WHERE id = ? AND placed_at IS NULL", (attempt.id,)
            ).fetchone()
            return bool(is_unplaced) and self.finish(attempt, verdict, finished_at, again)

    def retry(self, job: Job) -> bool:
        """Let a finished job wait for another attempt, as somebody has asked."""
        with self._database.transaction() as connection:
            by = job.retry_requested_by
            return _requeue(connection, job.id, Again(0.0, f"asked to run again by {by}"), is_wished=True)

    def finish_pending(self, job_id: int, verdict: Verdict) -> bool:
        """End a job that never started; False when it has started meanwhile."""
        with self._database.transaction() as connection:
            is_pending = connection.execute(
                "SELECT 1 FROM job WHERE id = ? AND state = 'pending'", (job_id,)
            ).fetchone()
            return bool(is_pending) and _end(connection, job_id, verdict, time.time())

    def set_waiting_for(self, reasons: Mapping[int, str | None]) -> None:
        """Record why jobs wait that have no place yet, by their ids."""
        if not reasons:
            return
        with self._database.transaction(is_news=False) as connection:
            connection.executemany(
                "UPDATE job SET waiting_for = ? WHERE id = ? AND state IN ('pending', 'starting')",
                [(reason, job_id) for job_id, reason in reasons.items()],
            )

    def _newest_attempt(self, job_id: int) -> Attempt | None:
        row = self._database.row(
            "SELECT * FROM attempt WHERE job_id = ? ORDER BY number DESC LIMIT 1", (job_id,)
        )
        return attempt_of(row) if row else None


_ADD_QUARANTINE = (
    "INSERT OR IGNORE INTO quarantine (gpu_uuid, cause, reason, boot_id, since) VALUES (?, ?, ?, ?, ?)"
)
ADD_EVENT = "INSERT INTO event (job_id, at, state, text) VALUES (?, ?, ?, ?)"


def _move(connection: Connection, job_id: int, state: JobState, text: str, at: float | None = None) -> bool:
    """Change the state if the table of transitions allows it, and record the event; else return False."""
    sources = [source for source, targets in TRANSITIONS.items() if state in targets]
    moved = connection.execute(
        "UPDATE job SET state = ?, waiting_for = NULL"
        " WHERE id = ? AND state IN (SELECT value FROM json_each(?))",
        (state, job_id, json.dumps(sources)),
    ).rowcount
    if moved:
        connection.execute(ADD_EVENT, (job_id, at or time.time(), state, text))
    return moved == 1


def _end(connection: Connection, job_id: int, verdict: Verdict, finished_at: float) -> bool:
    connection.execute(
        "UPDATE job SET outcome = ?, reason = ?, message = ?, advice = ?, evidence = ?, exit_code = ?,"
        " finished_at = ? WHERE id = ? AND state <> 'finished'",
        (*_verdict_values(verdict), finished_at, job_id),
    )
    return _move(connection, job_id, JobState.FINISHED, verdict.message, finished_at)


def _requeue(connection: Connection, job_id: int, again: Again, *, is_wished: bool) -> bool:
    """Let the job wait again as if it had never run; its attempts keep what is known of them.

    A wish to cancel it outlives an attempt, but not somebody's later wish that it run again.
    """
    if not _move(connection, job_id, JobState.PENDING, again.text):
        return False
    connection.execute(
        "UPDATE job SET outcome = NULL, reason = NULL, message = NULL, advice = '', evidence = '[]',"
        " exit_code = NULL, started_at = NULL, finished_at = NULL, stop_reason = NULL,"
        " cancel_requested_by = CASE WHEN ? THEN cancel_requested_by END, retry_requested_by = NULL,"
        " not_before = ? WHERE id = ?",
        (not is_wished, again.not_before, job_id),
    )
    return True


def _open_attempt(
    connection: Connection, job_id: int, boot_id: str, image_digest: str | None, placed_at: float | None
) -> int:
    attempt_id = connection.execute(
        "INSERT INTO attempt (job_id, number, token, gpu_uuids, boot_id, created_at, placed_at, image_digest)"
        " SELECT ?, 1 + COUNT(*), ?, '[]', ?, ?, ?, ? FROM attempt WHERE job_id = ?",
        (job_id, secrets.token_hex(8), boot_id, time.time(), placed_at, image_digest, job_id),
    ).lastrowid
    return int(attempt_id or 0)


def _reserve(connection: Connection, attempt_id: int, shares: Sequence[Share]) -> None:
    connection.executemany(
        "INSERT INTO reservation (gpu_uuid, attempt_id, memory_bytes, capacity_bytes) VALUES (?, ?, ?, ?)",
        [(share.gpu_uuid, attempt_id, share.memory_bytes, share.capacity_bytes) for share in shares],
    )
    connection.execute(
        "UPDATE attempt SET gpu_uuids = ? WHERE id = ?",
        (json.dumps([share.gpu_uuid for share in shares]), attempt_id),
    )


def _verdict_values(verdict: Verdict) -> tuple[object, ...]:
    return (
        verdict.outcome,
        verdict.reason,
        verdict.message,
        verdict.advice,
        json.dumps(verdict.evidence),
        verdict.exit_code,
    )


def _quarantine_values(entry: Quarantine) -> tuple[object, ...]:
    return (entry.gpu_uuid, entry.cause, entry.reason, entry.boot_id, entry.since)
