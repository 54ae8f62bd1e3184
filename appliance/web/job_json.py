"""A job in JSON: the one place that says which of its facts programs see, and under which names."""

from __future__ import annotations

from pydantic import BaseModel, Field

from appliance.jobs.job import Attempt, Event, Job, JobState
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.store import JobStore
from appliance.web.answers import Time, rfc3339

_OF_SPEC = {
    *("command", "gpus", "gpu_memory", "gpu_model", "cpus", "memory", "time", "priority", "data", "image"),
    *("retries", "retry_on", "requeue", "secrets", "requirements"),
}


class AttemptJson(BaseModel):
    """One launch of a job."""

    number: int
    gpu_uuids: list[str]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    outcome: Outcome | None
    reason: Reason | None
    message: str | None = Field(description="how it ended, in a sentence")
    advice: str = Field(description="what to do about it")
    evidence: list[str] = Field(description="the lines and numbers that prove the reason")
    exit_code: int | None
    image_digest: str | None
    workspace_removed_at: Time | None = Field(description="when retention removed it")
    output_removed_at: Time | None
    log_removed_at: Time | None


class EventJson(BaseModel):
    """A change in a job's life."""

    at: Time
    state: JobState
    text: str


class JobSummary(BaseModel):
    """A job as lists show it."""

    id: int
    name: str
    owner: str
    state: JobState
    outcome: Outcome | None
    reason: Reason | None
    message: str | None = Field(description="how it ended, in a sentence")
    advice: str = Field(description="what to do about it")
    evidence: list[str] = Field(description="the lines and numbers that prove the reason")
    exit_code: int | None
    waiting_for: str | None = Field(description="why a pending job has not started")
    cancel_requested_by: str | None
    command: list[str]
    gpus: int
    gpu_memory: int | None = Field(description="bytes of each card that it shares; null for whole cards")
    gpu_model: str | None
    gpu_uuids: list[str] = Field(description="the cards of the newest attempt")
    cpus: float | None
    memory: int | None = Field(description="limit of host memory in bytes")
    time: int | None = Field(description="limit in seconds")
    priority: int
    retries: int = Field(description="times it is tried again after a fault of the box")
    retry_on: list[Reason]
    requeue: bool = Field(description="whether it starts again after the box restarted")
    retry_requested_by: str | None
    data: list[str]
    secrets: list[str] = Field(description="names of the owner's secrets that it gets as variables")
    requirements: str | None = Field(
        description="file of packages; null for the one that is found, empty for none"
    )
    has_requirements: bool = Field(description="whether packages are installed for it")
    image: str | None
    image_digest: str | None
    git_commit: str | None
    has_git_diff: bool = Field(description="whether uncommitted changes are on record")
    submitted_at: Time
    started_at: Time | None
    finished_at: Time | None
    code_removed_at: Time | None = Field(description="when retention removed code and checkpoints")
    attempt_count: int
    samples_per_second: float | None = None
    energy_joules: float | None = None


class JobDetail(JobSummary):
    """A job with its attempts and its history."""

    jobs_ahead: int | None = Field(description="waiting jobs that come before it; null when it does not wait")
    attempts: list[AttemptJson]
    events: list[EventJson]


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next: int | None = Field(description="pass it as `before` for the next page; null on the last one")


def job_summary(jobs: JobStore, job: Job) -> JobSummary:
    """Return the job for a list."""
    return JobSummary.model_validate(_facts(jobs, job, jobs.attempts(job.id)))


def job_detail(jobs: JobStore, job: Job) -> JobDetail:
    """Return the job with everything that is recorded of it."""
    attempts = jobs.attempts(job.id)
    facts = _facts(jobs, job, attempts)
    facts["jobs_ahead"] = jobs.count_ahead(job) if job.state is JobState.PENDING else None
    facts["attempts"] = [_attempt(attempt) for attempt in attempts]
    facts["events"] = [_event(event) for event in jobs.events(job.id)]
    return JobDetail.model_validate(facts)


def _facts(jobs: JobStore, job: Job, attempts: tuple[Attempt, ...]) -> dict[str, object]:
    spec, verdict = job.spec, job.verdict
    return {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "state": job.state,
        "outcome": verdict and verdict.outcome,
        "reason": verdict and verdict.reason,
        "message": verdict and verdict.message,
        "advice": verdict.advice if verdict else "",
        "evidence": list(verdict.evidence) if verdict else [],
        "exit_code": verdict and verdict.exit_code,
        "waiting_for": jobs.reason_to_wait(job),
        "cancel_requested_by": job.cancel_requested_by,
        **spec.model_dump(include=_OF_SPEC, mode="json"),
        "retry_requested_by": job.retry_requested_by,
        "has_requirements": job.requirements_hash is not None,
        "has_git_diff": job.git_diff is not None,
        "gpu_uuids": list(attempts[-1].gpu_uuids) if attempts else [],
        "image_digest": job.image_digest,
        "git_commit": job.git_commit,
        "submitted_at": rfc3339(job.submitted_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "code_removed_at": rfc3339(job.code_removed_at),
        "attempt_count": len(attempts),
    }


def _attempt(attempt: Attempt) -> AttemptJson:
    verdict = attempt.verdict
    return AttemptJson(
        number=attempt.number,
        gpu_uuids=list(attempt.gpu_uuids),
        created_at=rfc3339(attempt.created_at) or "",
        started_at=rfc3339(attempt.started_at),
        finished_at=rfc3339(attempt.finished_at),
        outcome=verdict and verdict.outcome,
        reason=verdict and verdict.reason,
        message=verdict and verdict.message,
        advice=verdict.advice if verdict else "",
        evidence=list(verdict.evidence) if verdict else [],
        exit_code=verdict and verdict.exit_code,
        image_digest=attempt.image_digest,
        workspace_removed_at=rfc3339(attempt.workspace_removed_at),
        output_removed_at=rfc3339(attempt.output_removed_at),
        log_removed_at=rfc3339(attempt.log_removed_at),
    )


def _event(event: Event) -> EventJson:
    return EventJson(at=rfc3339(event.at) or "", state=event.state, text=event.text)
