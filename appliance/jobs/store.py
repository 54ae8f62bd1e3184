"""JobStore: the SQL of jobs, attempts, reservations and events as they are read, and of what users want.

The web process adds jobs and leaves intents (cancel, retry, change); all are single transactions, so no
process ever waits for another's decision. States are changed in lifecycle.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from datetime import UTC, datetime

from appliance.database import Database
from appliance.errors import Conflict, NotFound
from appliance.jobs.box_store import BoxStore
from appliance.jobs.job import (
    Attempt,
    Event,
    Job,
    JobState,
    Request,
    Reservation,
)
from appliance.jobs.lifecycle import ADD_EVENT
from appliance.jobs.rows import attempt_of, job_of, request_of
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
# No retry waits for longer than 300 s: one that seems to has a clock behind it that was set back.
_QUEUE = (
    _REQUEST + " NULL FROM job WHERE state = 'pending' AND (json_extract(spec, '$.gpus') > 0) = {gpus}"
    " AND cancel_requested_by IS NULL AND (not_before <= :now OR not_before > :now + 600)"
    " ORDER BY priority DESC, id LIMIT :limit"
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
            connection.execute(ADD_EVENT, (job_id, now, JobState.PENDING, f"submitted by {owner.name}"))
        return self.get(int(job_id or 0))

    def get(self, job_id: int) -> Job:
        """Return the job; raise NotFound."""
        row = self._database.row(_JOBS + " WHERE job.id = ?", (job_id,))
        if row is None:
            raise NotFound(f"No job {job_id}. List jobs with: spud list")
        return job_of(row)

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
        return tuple(job_of(row) for row in rows)

    def waiting(self, owner_id: int | None = None, limit: int = 50) -> tuple[Job, ...]:
        """Return pending jobs of one owner or all in the order in which they may start, at most `limit`."""
        rows = self._database.rows(
            _JOBS + " WHERE job.state = 'pending' AND (:owner IS NULL OR job.owner_id = :owner)"
            " ORDER BY job.priority DESC, job.id LIMIT :limit",
            {"owner": owner_id, "limit": limit},
        )
        return tuple(job_of(row) for row in rows)

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
        requests = [request_of(row) for row in (*rows, *unplaced)]
        if unplaced:
            requests.sort(key=lambda request: (-request.priority, request.job_id))
        return tuple(requests[:limit])

    def to_cancel(self) -> tuple[Job, ...]:
        """Return the unfinished jobs that somebody has asked to cancel."""
        rows = self._database.rows(
            _JOBS + " WHERE job.cancel_requested_by IS NOT NULL AND job.state <> 'finished'"
        )
        return tuple(job_of(row) for row in rows)

    def to_retry(self) -> tuple[Job, ...]:
        """Return the jobs that somebody has asked to run again."""
        rows = self._database.rows(_JOBS + " WHERE job.retry_requested_by IS NOT NULL")
        return tuple(job_of(row) for row in rows)

    def active(self) -> tuple[tuple[Job, Attempt], ...]:
        """Return every job that has an open attempt, with that attempt."""
        jobs = self._database.rows(_JOBS_OF_OPEN_ATTEMPTS)
        attempts = {
            row["job_id"]: attempt_of(row)
            for row in self._database.rows("SELECT * FROM attempt WHERE finished_at IS NULL")
        }
        return tuple((job_of(row), attempts[row["id"]]) for row in jobs if row["id"] in attempts)

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs are in each state; all states are there."""
        rows = self._database.rows("SELECT state, COUNT(*) AS jobs FROM job GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(row["state"]): row["jobs"] for row in rows}

    def last_id(self) -> int:
        """Return the highest id that was ever given to a job; 0 before the first."""
        row = self._database.row("SELECT seq FROM sqlite_sequence WHERE name = 'job'")
        return int(row["seq"]) if row else 0

    def last_attempt_id(self) -> int:
        """Return the highest id of an attempt; 0 before the first."""
        row = self._database.row("SELECT MAX(id) AS last FROM attempt")
        return int(row["last"] or 0) if row else 0

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
                connection.execute(ADD_EVENT, (job.id, time.time(), job.state, f"changed: {text}"))
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

    # Attempts, events, reservations

    def attempts(self, job_id: int) -> tuple[Attempt, ...]:
        """Return the job's attempts, first to last."""
        rows = self._database.rows("SELECT * FROM attempt WHERE job_id = ? ORDER BY number", (job_id,))
        return tuple(attempt_of(row) for row in rows)

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
