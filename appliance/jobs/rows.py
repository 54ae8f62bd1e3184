"""From rows of the database to jobs, attempts and what else is recorded of them."""

from __future__ import annotations

import json

from appliance.database import Row
from appliance.jobs.job import Attempt, Job, JobState, Request, Verdict
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.spec import JobSpec


def request_of(row: Row) -> Request:
    """Return what the placement must know of a waiting job."""
    return Request(*row)


def job_of(row: Row) -> Job:
    """Return the job of a row that has its owner's name as well."""
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
        verdict=verdict_of(row),
        image_digest=row["image_digest"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested_by=row["cancel_requested_by"],
        retry_requested_by=row["retry_requested_by"],
        not_before=row["not_before"],
        code_removed_at=row["code_removed_at"],
    )


def verdict_of(row: Row) -> Verdict | None:
    """Return how a job or an attempt ended; None while it has not."""
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


def attempt_of(row: Row) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        id=row["id"],
        job_id=row["job_id"],
        number=row["number"],
        token=row["token"],
        gpu_uuids=tuple(json.loads(row["gpu_uuids"])),
        boot_id=row["boot_id"],
        created_at=row["created_at"],
        placed_at=row["placed_at"],
        start_asked_at=row["start_asked_at"],
        released_at=row["released_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        image_digest=row["image_digest"],
        verdict=verdict_of(row),
        workspace_removed_at=row["workspace_removed_at"],
        output_removed_at=row["output_removed_at"],
        log_removed_at=row["log_removed_at"],
    )
