"""JobStore: the SQL of jobs, attempts, reservations, events and the box.

Only the scheduler changes a job's state. The web process adds jobs and leaves intents (cancel); both are
single statements, so no process ever waits for another's decision.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Sequence

from pydantic import TypeAdapter

from appliance.database import Connection, Database, Row, UniqueViolation
from appliance.errors import NotFound
from appliance.jobs.box import Box
from appliance.jobs.job import (
    TRANSITIONS,
    Attempt,
    Event,
    Job,
    JobState,
    Outcome,
    Reason,
    Reservation,
    Verdict,
)
from appliance.jobs.spec import JobSpec
from appliance.users.user import User

_BOX = TypeAdapter(Box)
_JOBS = "SELECT job.*, user.name AS owner FROM job JOIN user ON user.id = job.owner_id"

_PAGE_OF_JOBS = _JOBS + (  # noqa: S608  constants only
    " WHERE job.state IN (SELECT value FROM json_each(:states))"
    " AND (:owner IS NULL OR job.owner_id = :owner) AND (:before IS NULL OR job.id < :before)"
    " ORDER BY job.id DESC LIMIT :limit"
)


class JobStore:
    """Jobs in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Jobs

    def add(self, spec: JobSpec, owner: User, snapshot: str | None, git_commit: str | None) -> Job:
        """Record a new pending job; once this returns, the job is never lost."""
        now = time.time()
        with self._database.transaction() as connection:
            job_id = connection.execute(
                "INSERT INTO job (owner_id, spec, priority, snapshot, git_commit, state, submitted_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    owner.id,
                    spec.model_dump_json(),
                    spec.priority,
                    snapshot,
                    git_commit,
                    JobState.PENDING,
                    now,
                ),
            ).lastrowid
            connection.execute(_ADD_EVENT, (job_id, now, JobState.PENDING, f"submitted by {owner.name}"))
        return self.get(int(job_id or 0))

    def get(self, job_id: int) -> Job:
        """Return the job; raise NotFound."""
        row = self._database.row(_JOBS + " WHERE job.id = ?", (job_id,))
        if row is None:
            raise NotFound(f"No job {job_id}. List jobs with: spud list")
        return _job(row)

    def list(
        self,
        owner_id: int | None = None,
        states: Collection[JobState] = tuple(JobState),
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[Job, ...]:
        """Return jobs, newest first: of one owner or all, with ids below `before`, at most `limit`."""
        rows = self._database.rows(
            _PAGE_OF_JOBS,
            {"states": json.dumps(list(states)), "owner": owner_id, "before": before, "limit": limit},
        )
        return tuple(_job(row) for row in rows)

    def pending(self) -> tuple[Job, ...]:
        """Return the pending jobs in the order in which they may start: priority, then age."""
        rows = self._database.rows(
            _JOBS + " WHERE job.state = 'pending' ORDER BY job.priority DESC, job.id LIMIT 1000"
        )
        return tuple(_job(row) for row in rows)

    def pending_cancelled(self) -> tuple[Job, ...]:
        """Return the pending jobs that somebody has asked to cancel."""
        rows = self._database.rows(
            _JOBS + " WHERE job.state = 'pending' AND job.cancel_requested_by IS NOT NULL"
        )
        return tuple(_job(row) for row in rows)

    def active(self) -> tuple[tuple[Job, Attempt], ...]:
        """Return every job that has an open attempt, with that attempt."""
        jobs = self._database.rows(_JOBS + " WHERE job.state IN ('starting', 'running', 'stopping')")
        attempts = {
            row["job_id"]: _attempt(row)
            for row in self._database.rows("SELECT * FROM attempt WHERE finished_at IS NULL")
        }
        return tuple((_job(row), attempts[row["id"]]) for row in jobs if row["id"] in attempts)

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs are in each state; all states are there."""
        rows = self._database.rows("SELECT state, COUNT(*) AS jobs FROM job GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(row["state"]): row["jobs"] for row in rows}

    # Intents

    def request_cancel(self, job_id: int, by: User) -> bool:
        """Leave the wish that the job be cancelled; False when it is finished or was asked for before."""
        with self._database.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE job SET cancel_requested_by = ?"
                    " WHERE id = ? AND state <> 'finished' AND cancel_requested_by IS NULL",
                    (by.name, job_id),
                ).rowcount
                == 1
            )

    # Changes of state, by the scheduler alone

    def start(self, job: Job, gpu_uuids: Sequence[str], boot_id: str) -> Attempt | None:
        """Open an attempt and reserve its GPUs, all in one transaction.

        Returns None, with nothing changed, when the job is no longer pending or a GPU is taken.
        """
        on = f" on {', '.join(gpu_uuids)}" if gpu_uuids else ""
        try:
            with self._database.transaction() as connection:
                if not _move(connection, job.id, JobState.STARTING, f"attempt started{on}"):
                    return None
                _open_attempt(connection, job.id, gpu_uuids, boot_id)
        except UniqueViolation:
            return None
        return self.attempts(job.id)[-1]

    def record_running(self, attempt: Attempt, started_at: float, image_digest: str) -> bool:
        """Record that the container runs; False when the job is being stopped already."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempt SET started_at = COALESCE(started_at, ?) WHERE id = ?",
                (started_at, attempt.id),
            )
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

    def finish(self, attempt: Attempt, verdict: Verdict, finished_at: float) -> bool:
        """End attempt and job and free the GPUs, all in one transaction; False when it was ended before."""
        with self._database.transaction() as connection:
            closed = connection.execute(
                "UPDATE attempt SET finished_at = ?, outcome = ?, reason = ?, exit_code = ?"
                " WHERE id = ? AND finished_at IS NULL",
                (finished_at, verdict.outcome, verdict.reason, verdict.exit_code, attempt.id),
            ).rowcount
            connection.execute("DELETE FROM reservation WHERE attempt_id = ?", (attempt.id,))
            return closed == 1 and _end(connection, attempt.job_id, verdict, finished_at)

    def finish_pending(self, job_id: int, verdict: Verdict) -> bool:
        """End a job that never started; False when it has started meanwhile."""
        with self._database.transaction() as connection:
            is_pending = connection.execute(
                "SELECT 1 FROM job WHERE id = ? AND state = 'pending'", (job_id,)
            ).fetchone()
            return bool(is_pending) and _end(connection, job_id, verdict, time.time())

    def set_waiting_for(self, job: Job, reason: str) -> None:
        """Record why a pending job waits, when that has changed."""
        if job.waiting_for == reason:
            return
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE job SET waiting_for = ? WHERE id = ? AND state = 'pending'", (reason, job.id)
            )

    # Attempts, events, reservations

    def attempts(self, job_id: int) -> tuple[Attempt, ...]:
        """Return the job's attempts, first to last."""
        rows = self._database.rows("SELECT * FROM attempt WHERE job_id = ? ORDER BY number", (job_id,))
        return tuple(_attempt(row) for row in rows)

    def events(self, job_id: int) -> tuple[Event, ...]:
        """Return the job's history, oldest first."""
        rows = self._database.rows("SELECT * FROM event WHERE job_id = ? ORDER BY id", (job_id,))
        return tuple(Event(row["at"], JobState(row["state"]), row["text"]) for row in rows)

    def reservations(self) -> tuple[Reservation, ...]:
        """Return which attempt holds which GPU."""
        rows = self._database.rows(
            "SELECT gpu_uuid, job_id, number FROM reservation JOIN attempt ON attempt.id = attempt_id"
        )
        return tuple(Reservation(row["gpu_uuid"], row["job_id"], row["number"]) for row in rows)

    # The box

    def box(self) -> Box | None:
        """Return what the scheduler last saw of the box; None before its first look."""
        row = self._database.row("SELECT value FROM box WHERE fact = 'box'")
        return _BOX.validate_json(row["value"]) if row else None

    def set_box(self, box: Box) -> None:
        """Record what the scheduler sees, when it differs from what was seen before."""
        value = _BOX.dump_json(box).decode()
        row = self._database.row("SELECT value FROM box WHERE fact = 'box'")
        if row and row["value"] == value:
            return
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO box (fact, value) VALUES ('box', ?)", (value,))

    def store_id(self) -> str:
        """Return what names this store for good; its containers bear it."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO box (fact, value) VALUES ('store_id', ?)", (secrets.token_hex(8),)
            )
            return str(connection.execute("SELECT value FROM box WHERE fact = 'store_id'").fetchone()[0])

    def version(self) -> int:
        """Return a number that changes when another process has changed something."""
        return self._database.version()


_ADD_EVENT = "INSERT INTO event (job_id, at, state, text) VALUES (?, ?, ?, ?)"


def _move(connection: Connection, job_id: int, state: JobState, text: str, at: float | None = None) -> bool:
    """Change the state if the table of transitions allows it, and record the event; else return False."""
    sources = [source for source, targets in TRANSITIONS.items() if state in targets]
    moved = connection.execute(
        "UPDATE job SET state = ?, waiting_for = NULL"
        " WHERE id = ? AND state IN (SELECT value FROM json_each(?))",
        (state, job_id, json.dumps(sources)),
    ).rowcount
    if moved:
        connection.execute(_ADD_EVENT, (job_id, at or time.time(), state, text))
    return moved == 1


def _end(connection: Connection, job_id: int, verdict: Verdict, finished_at: float) -> bool:
    connection.execute(
        "UPDATE job SET outcome = ?, reason = ?, message = ?, evidence = ?, exit_code = ?, finished_at = ?"
        " WHERE id = ? AND state <> 'finished'",
        (
            verdict.outcome,
            verdict.reason,
            verdict.message,
            json.dumps(verdict.evidence),
            verdict.exit_code,
            finished_at,
            job_id,
        ),
    )
    return _move(connection, job_id, JobState.FINISHED, verdict.message, finished_at)


def _open_attempt(connection: Connection, job_id: int, gpu_uuids: Sequence[str], boot_id: str) -> None:
    attempt_id = connection.execute(
        "INSERT INTO attempt (job_id, number, gpu_uuids, boot_id, created_at)"
        " SELECT ?, 1 + COUNT(*), ?, ?, ? FROM attempt WHERE job_id = ?",
        (job_id, json.dumps(list(gpu_uuids)), boot_id, time.time(), job_id),
    ).lastrowid
    connection.executemany(
        "INSERT INTO reservation (gpu_uuid, attempt_id) VALUES (?, ?)",
        [(uuid, attempt_id) for uuid in gpu_uuids],
    )


def _job(row: Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        owner_id=row["owner_id"],
        spec=JobSpec.model_validate_json(row["spec"]),
        snapshot=row["snapshot"],
        git_commit=row["git_commit"],
        state=JobState(row["state"]),
        waiting_for=row["waiting_for"],
        stop_reason=Reason(row["stop_reason"]) if row["stop_reason"] else None,
        verdict=_verdict(row),
        image_digest=row["image_digest"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested_by=row["cancel_requested_by"],
    )


def _verdict(row: Row) -> Verdict | None:
    if row["outcome"] is None:
        return None
    return Verdict(
        Outcome(row["outcome"]),
        Reason(row["reason"]),
        row["message"],
        tuple(json.loads(row["evidence"])),
        row["exit_code"],
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(
        id=row["id"],
        job_id=row["job_id"],
        number=row["number"],
        gpu_uuids=tuple(json.loads(row["gpu_uuids"])),
        boot_id=row["boot_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=Reason(row["reason"]) if row["reason"] else None,
        exit_code=row["exit_code"],
    )
