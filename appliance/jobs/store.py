"""JobStore: the SQL of jobs, attempts, reservations and events.

Only the scheduler changes a job's state. The web process adds jobs and leaves intents (cancel, retry); all
are single statements, so no process ever waits for another's decision.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from appliance.database import Connection, Database, Row, UniqueViolation
from appliance.errors import Conflict, NotFound
from appliance.jobs.box import Quarantine
from appliance.jobs.box_store import BoxStore
from appliance.jobs.job import (
    TRANSITIONS,
    Again,
    Attempt,
    Event,
    Job,
    JobState,
    Request,
    Reservation,
    Share,
    Verdict,
)
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.spec import JobSpec
from appliance.users.user import User

_JOBS = "SELECT job.*, user.name AS owner FROM job JOIN user ON user.id = job.owner_id"

# CROSS JOIN keeps SQLite from reading all jobs: there are few open attempts, and they have an index.
_JOBS_OF_OPEN_ATTEMPTS = (
    "SELECT job.*, user.name AS owner FROM attempt CROSS JOIN job ON job.id = attempt.job_id"
    " JOIN user ON user.id = job.owner_id WHERE attempt.finished_at IS NULL"
)
_PAGE_OF_JOBS = _JOBS + (  # noqa: S608  constants only
    " WHERE job.state IN (SELECT value FROM json_each(:states))"
    " AND (:owner IS NULL OR job.owner_id = :owner) AND (:before IS NULL OR job.id < :before)"
    " ORDER BY job.id DESC LIMIT :limit"
)

_REQUEST = (
    "SELECT job.id, job.priority, json_extract(spec, '$.gpus'), json_extract(spec, '$.gpu_memory'),"
    " json_extract(spec, '$.gpu_model'), json_extract(spec, '$.cpus'), json_extract(spec, '$.time'),"
    " json_extract(spec, '$.image'), job.image_digest, requirements_hash, waiting_for,"
)
_QUEUE = (
    _REQUEST + " NULL FROM job WHERE state = 'pending' AND (json_extract(spec, '$.gpus') > 0) = {gpus}"
    " AND cancel_requested_by IS NULL AND not_before <= :now ORDER BY priority DESC, id LIMIT :limit"
)
_QUEUE_OF_GPUS, _QUEUE_OF_CPUS = _QUEUE.format(gpus=1), _QUEUE.format(gpus=0)
_UNPLACED = (
    _REQUEST + " attempt.id FROM attempt CROSS JOIN job ON job.id = attempt.job_id"
    " WHERE attempt.finished_at IS NULL AND attempt.placed_at IS NULL AND attempt.image_digest IS NOT NULL"
    " AND job.state = 'starting' AND (json_extract(spec, '$.gpus') > 0) = :gpus"
)


class JobStore:
    """Jobs in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Jobs

    def add(
        self,
        spec: JobSpec,
        owner: User,
        snapshot: str | None,
        git_commit: str | None,
        git_diff: str | None = None,
        requirements_hash: str | None = None,
    ) -> Job:
        """Record a new pending job; once this returns, the job is never lost."""
        now = time.time()
        with self._database.transaction() as connection:
            job_id = connection.execute(
                "INSERT INTO job (owner_id, spec, priority, snapshot, git_commit, git_diff,"
                " requirements_hash, state, submitted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    owner.id,
                    spec.model_dump_json(),
                    spec.priority,
                    snapshot,
                    git_commit,
                    git_diff,
                    requirements_hash,
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

    def waiting(self, owner_id: int | None = None, limit: int = 50) -> tuple[Job, ...]:
        """Return pending jobs of one owner or all in the order in which they may start, at most `limit`."""
        rows = self._database.rows(
            _JOBS + " WHERE job.state = 'pending' AND (:owner IS NULL OR job.owner_id = :owner)"
            " ORDER BY job.priority DESC, job.id LIMIT :limit",
            {"owner": owner_id, "limit": limit},
        )
        return tuple(_job(row) for row in rows)

    def reason_to_wait(self, job: Job) -> str | None:
        """Return why the job has not started: its own reason, or that of its lane."""
        if job.waiting_for or job.state is not JobState.PENDING:
            return job.waiting_for
        if job.not_before > time.time():
            at = datetime.fromtimestamp(job.not_before, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            return f"its next try at {at}"
        return BoxStore(self._database).lanes().get("gpus" if job.spec.gpus else "cpus")

    def count_ahead(self, job: Job) -> int:
        """Return how many waiting jobs come before a pending one: those with GPUs, or those without."""
        row = self._database.row(
            "SELECT COUNT(*) AS jobs FROM job WHERE state = 'pending'"
            " AND (json_extract(spec, '$.gpus') > 0) = :gpus"
            " AND (priority > :priority OR priority = :priority AND id < :id)",
            {"gpus": int(job.spec.gpus > 0), "priority": job.spec.priority, "id": job.id},
        )
        return int(row["jobs"]) if row else 0

    def queue(self, *, gpus: bool, limit: int) -> tuple[Request, ...]:
        """Return what waits for a place, in the order in which it may start: priority, then age.

        With `gpus` the jobs that want cards, without it the others; at most `limit`, and none that is to be
        tried again only later or whose image is still being made.
        """
        rows = self._database.rows(
            _QUEUE_OF_GPUS if gpus else _QUEUE_OF_CPUS, {"now": time.time(), "limit": limit}
        )
        unplaced = self._database.rows(_UNPLACED, {"gpus": gpus})
        requests = [_request(row) for row in (*rows, *unplaced)]
        if unplaced:
            requests.sort(key=lambda request: (-request.priority, request.job_id))
        return tuple(requests[:limit])

    def to_cancel(self) -> tuple[Job, ...]:
        """Return the unfinished jobs that somebody has asked to cancel."""
        rows = self._database.rows(
            _JOBS + " WHERE job.cancel_requested_by IS NOT NULL AND job.state <> 'finished'"
        )
        return tuple(_job(row) for row in rows)

    def to_retry(self) -> tuple[Job, ...]:
        """Return the jobs that somebody has asked to run again."""
        rows = self._database.rows(_JOBS + " WHERE job.retry_requested_by IS NOT NULL")
        return tuple(_job(row) for row in rows)

    def active(self) -> tuple[tuple[Job, Attempt], ...]:
        """Return every job that has an open attempt, with that attempt."""
        jobs = self._database.rows(_JOBS_OF_OPEN_ATTEMPTS)
        attempts = {
            row["job_id"]: _attempt(row)
            for row in self._database.rows("SELECT * FROM attempt WHERE finished_at IS NULL")
        }
        return tuple((_job(row), attempts[row["id"]]) for row in jobs if row["id"] in attempts)

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs are in each state; all states are there."""
        rows = self._database.rows("SELECT state, COUNT(*) AS jobs FROM job GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(row["state"]): row["jobs"] for row in rows}

    def last_id(self) -> int:
        """Return the highest id that was ever given to a job; 0 before the first."""
        row = self._database.row("SELECT seq FROM sqlite_sequence WHERE name = 'job'")
        return int(row["seq"]) if row else 0

    def skip_ids(self, last: int) -> None:
        """Give no further job an id up to `last`: containers and folders may bear them."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = 'job'", (last,)
            ).rowcount
            if changed == 0:
                connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('job', ?)", (last,))

    # Intents

    def change(self, job: Job, spec: JobSpec, text: str) -> bool:
        """Give a job another spec; `text` tells its history what changed.

        Returns False, with nothing changed, when its state is another one by now.
        """
        with self._database.transaction() as connection:
            updated = connection.execute(
                "UPDATE job SET spec = ?, priority = ? WHERE id = ? AND state = ?",
                (spec.model_dump_json(), spec.priority, job.id, job.state),
            ).rowcount
            if updated:
                connection.execute(_ADD_EVENT, (job.id, time.time(), job.state, f"changed: {text}"))
        return updated == 1

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

    def request_retry(self, job_id: int, by: User) -> bool:
        """Leave the wish that a finished job runs again; False when it is not finished.

        Raises Conflict when retention has removed its code.
        """
        with self._database.transaction() as connection:
            job = self.get(job_id)
            if job.snapshot and job.code_removed_at:
                on = time.strftime("%Y-%m-%d", time.localtime(job.code_removed_at))
                raise Conflict(
                    f"Job {job_id} cannot run again: its code was removed on {on} by retention."
                    " Submit it again with: spud submit"
                )
            return (
                connection.execute(
                    "UPDATE job SET retry_requested_by = ? WHERE id = ? AND state = 'finished'",
                    (by.name, job_id),
                ).rowcount
                == 1
            )

    # Changes of state, by the scheduler alone

    def start(
        self, job_id: int, shares: Sequence[Share], boot_id: str, image_digest: str | None = None
    ) -> Attempt | None:
        """Open an attempt and reserve its GPUs, all in one transaction.

        Returns None, with nothing changed, when the job is no longer pending or a GPU is taken.
        """
        on = f" on {', '.join(share.gpu_uuid for share in shares)}" if shares else ""
        try:
            with self._database.transaction() as connection:
                if not _move(connection, job_id, JobState.STARTING, f"attempt started{on}"):
                    return None
                attempt_id = _open_attempt(connection, job_id, boot_id, image_digest, time.time())
                _reserve(connection, attempt_id, shares)
        except UniqueViolation:
            return None
        return self.attempts(job_id)[-1]

    def begin_image(self, job_id: int, boot_id: str, text: str) -> Attempt | None:
        """Open an attempt that has no place yet, since its image must be made first.

        Returns None when the job is no longer pending.
        """
        with self._database.transaction() as connection:
            if not _move(connection, job_id, JobState.STARTING, text):
                return None
            _open_attempt(connection, job_id, boot_id, image_digest=None, placed_at=None)
        return self.attempts(job_id)[-1]

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
                    _ADD_EVENT, (attempt.job_id, time.time(), JobState.STARTING, "its image is ready")
                )
                connection.execute("UPDATE job SET waiting_for = NULL WHERE id = ?", (attempt.job_id,))

    def place(self, attempt_id: int, shares: Sequence[Share], boot_id: str) -> Attempt | None:
        """Reserve the GPUs of an attempt whose image is ready; from now on it is of this boot.

        Returns None, with nothing changed, when the job is being stopped or a GPU is taken.
        """
        try:
            with self._database.transaction() as connection:
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
        return _attempt(row) if row else None

    def record_running(self, attempt: Attempt, started_at: float, image_digest: str) -> bool:
        """Record that the container runs; False when the job is being stopped already."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE attempt SET started_at = COALESCE(started_at, ?), image_digest = ? WHERE id = ?",
                (started_at, image_digest, attempt.id),
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
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE job SET waiting_for = ? WHERE id = ? AND state IN ('pending', 'starting')",
                [(reason, job_id) for job_id, reason in reasons.items()],
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
        """Return which attempt holds which share of a GPU."""
        rows = self._database.rows(
            "SELECT gpu_uuid, memory_bytes, attempt.job_id, attempt.number,"
            " COALESCE(attempt.started_at, attempt.placed_at) + json_extract(job.spec, '$.time') AS ends_by"
            " FROM reservation JOIN attempt ON attempt.id = attempt_id JOIN job ON job.id = attempt.job_id"
        )
        return tuple(
            Reservation(row["gpu_uuid"], row["job_id"], row["number"], row["memory_bytes"], row["ends_by"])
            for row in rows
        )

    def version(self) -> int:
        """Return a number that changes when another process has changed something."""
        return self._database.version()


_ADD_QUARANTINE = (
    "INSERT OR IGNORE INTO quarantine (gpu_uuid, cause, reason, boot_id, since) VALUES (?, ?, ?, ?, ?)"
)
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


def _request(row: Row) -> Request:
    return Request(*row)


def _job(row: Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        owner_id=row["owner_id"],
        spec=JobSpec.model_validate_json(row["spec"]),
        snapshot=row["snapshot"],
        git_commit=row["git_commit"],
        git_diff=row["git_diff"],
        requirements_hash=row["requirements_hash"],
        state=JobState(row["state"]),
        waiting_for=row["waiting_for"],
        stop_reason=Reason(row["stop_reason"]) if row["stop_reason"] else None,
        verdict=_verdict(row),
        image_digest=row["image_digest"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested_by=row["cancel_requested_by"],
        retry_requested_by=row["retry_requested_by"],
        not_before=row["not_before"],
        code_removed_at=row["code_removed_at"],
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
        row["advice"],
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(
        id=row["id"],
        job_id=row["job_id"],
        number=row["number"],
        token=row["token"],
        gpu_uuids=tuple(json.loads(row["gpu_uuids"])),
        boot_id=row["boot_id"],
        created_at=row["created_at"],
        placed_at=row["placed_at"],
        released_at=row["released_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        image_digest=row["image_digest"],
        verdict=_verdict(row),
        workspace_removed_at=row["workspace_removed_at"],
        output_removed_at=row["output_removed_at"],
        log_removed_at=row["log_removed_at"],
    )
