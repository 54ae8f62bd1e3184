"""RetentionStore: the SQL of what finished jobs have left on the disk, and of who still needs what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.database import Database
from appliance.jobs.retention import Kind

_LEFT_BY_ATTEMPTS = (
    "SELECT job.id, job.finished_at, attempt.number, workspace_removed_at, output_removed_at, log_removed_at"
    " FROM attempt JOIN job ON job.id = attempt.job_id"
    " WHERE job.state = 'finished' AND job.retry_requested_by IS NULL AND"
    " (workspace_removed_at IS NULL OR output_removed_at IS NULL OR log_removed_at IS NULL)"
    " ORDER BY job.id, attempt.number"
)
_LEFT_BY_JOBS = (
    "SELECT id, finished_at FROM job"
    " WHERE state = 'finished' AND retry_requested_by IS NULL AND code_removed_at IS NULL"
)
_MARKS = {
    Kind.WORKSPACE: "UPDATE attempt SET workspace_removed_at = :now"
    " WHERE job_id = :job AND workspace_removed_at IS NULL",
    Kind.RESULTS: "UPDATE attempt SET output_removed_at = :now"
    " WHERE job_id = :job AND output_removed_at IS NULL",
    Kind.LOG: "UPDATE attempt SET log_removed_at = :now WHERE job_id = :job AND log_removed_at IS NULL",
}
_TEXTS = {
    Kind.WORKSPACE: "its workspace was",
    Kind.RESULTS: "its outputs, checkpoints and code were",
    Kind.LOG: "its log was",
}


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A kind of thing that a finished job has left, and the attempts that have left it."""

    job_id: int
    kind: Kind
    finished_at: float
    attempts: tuple[int, ...]


class RetentionStore:
    """What is still on the disk of jobs that are over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def left(self) -> tuple[LeftBehind, ...]:
        """Return what finished jobs have left that was not removed yet."""
        attempts: dict[tuple[int, Kind], list[int]] = {}
        ends: dict[int, float] = {}
        for job_id, finished_at, number, *removed in self._database.rows(_LEFT_BY_ATTEMPTS):
            ends[job_id] = finished_at
            for kind, removed_at in zip((Kind.WORKSPACE, Kind.RESULTS, Kind.LOG), removed, strict=True):
                if removed_at is None:
                    attempts.setdefault((job_id, kind), []).append(number)
        for job_id, finished_at in self._database.rows(_LEFT_BY_JOBS):
            ends[job_id] = finished_at
            attempts.setdefault((job_id, Kind.RESULTS), [])
        return tuple(
            LeftBehind(job_id, kind, ends[job_id], tuple(numbers))
            for (job_id, kind), numbers in attempts.items()
        )

    @contextmanager
    def removing(self, job_id: int, kind: Kind, now: float, why: str) -> Iterator[bool]:
        """Record that a thing of a finished job is removed; the block moves it away, and may fail.

        Yields False when the job is to run again: then nothing may be removed. Nobody can ask for that while
        the block runs.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT 1 FROM job WHERE id = ? AND state = 'finished' AND retry_requested_by IS NULL",
                (job_id,),
            ).fetchone()
            yield row is not None
            if row is None:
                return
            connection.execute(_MARKS[kind], {"now": now, "job": job_id})
            connection.execute(
                "INSERT INTO event (job_id, at, state, text) VALUES (?, ?, 'finished', ?)",
                (job_id, now, f"{_TEXTS[kind]} removed by retention: {why}"),
            )
            if kind is Kind.RESULTS:
                connection.execute(
                    "UPDATE job SET code_removed_at = ? WHERE id = ? AND code_removed_at IS NULL",
                    (now, job_id),
                )

    def code_of(self) -> Mapping[int, tuple[str, ...]]:
        """Return which kept code and diffs go with the results of which job: the newest that has them."""
        found: dict[int, list[str]] = {}
        for name, job_id in self._database.rows(
            "SELECT name, MAX(id) FROM (SELECT snapshot AS name, id FROM job WHERE code_removed_at IS NULL"
            " UNION ALL SELECT git_diff, id FROM job WHERE code_removed_at IS NULL)"
            " WHERE name IS NOT NULL GROUP BY name"
        ):
            found.setdefault(job_id, []).append(name)
        return {job_id: tuple(names) for job_id, names in found.items()}

    def release_code(self, name: str, remove: Callable[[], None]) -> bool:
        """Remove code or a diff unless a job needs it, False then; no job can come to need it meanwhile."""
        with self._database.transaction() as connection:
            if connection.execute(
                "SELECT 1 FROM job WHERE (snapshot = :name OR git_diff = :name) AND code_removed_at IS NULL",
                {"name": name},
            ).fetchone():
                return False
            remove()
        return True

    def image_uses(self, now: float) -> Mapping[str, float]:
        """Return when attempts last used an image, by its id; one that is used or waited for is used now."""
        rows = self._database.rows(
            "SELECT image_digest, MAX(used_at)"
            " FROM (SELECT image_digest, COALESCE(finished_at, :now) AS used_at FROM attempt"
            " UNION ALL SELECT image_digest, :now FROM job WHERE state <> 'finished')"
            " WHERE image_digest IS NOT NULL GROUP BY image_digest",
            {"now": now},
        )
        return {row[0]: row[1] for row in rows}

    def name_uses(self, now: float) -> Mapping[str, float]:
        """Return when jobs last used an image, by the name that they gave it."""
        rows = self._database.rows(
            "SELECT json_extract(spec, '$.image') AS image, MAX(COALESCE(finished_at, :now)) FROM job"
            " WHERE image IS NOT NULL GROUP BY image",
            {"now": now},
        )
        return {row[0]: row[1] for row in rows}

    def knows(self, job_id: int) -> bool:
        """Return whether there is a row of that job."""
        return self._database.row("SELECT 1 FROM job WHERE id = ?", (job_id,)) is not None
