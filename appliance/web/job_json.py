"""A job in JSON: the one place that says which of its facts programs see, and under which names."""

from __future__ import annotations

from pydantic import BaseModel, Field

from appliance.jobs.job import Attempt, Event, Job, JobState
from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.store import JobStore
from appliance.web.answers import Time, rfc3339


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
    gpu_uuids: list[str] = Field(description="the cards of the newest attempt")
    cpus: float | None
    memory: int | None = Field(description="limit of host memory in bytes")
    time: int | None = Field(description="limit in seconds")
    priority: int
    data: list[str]
    image: str | None
    image_digest: str | None
    git_commit: str | None
    submitted_at: Time
    started_at: Time | None
    finished_at: Time | None
    attempt_count: int
    samples_per_second: float | None = None
    energy_joules: float | None = None


class JobDetail(JobSummary):
    """A job with its attempts and its history."""

    attempts: list[AttemptJson]
    events: list[EventJson]


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next: int | None = Field(description="pass it as `before` for the next page; null on the last one")


def job_summary(jobs: JobStore, job: Job) -> JobSummary:
    """Return the job for a list."""
    return JobSummary.model_validate(_facts(job, jobs.attempts(job.id)))


def job_detail(jobs: JobStore, job: Job) -> JobDetail:
    """Return the job with everything that is recorded of it."""
    attempts = jobs.attempts(job.id)
    facts = _facts(job, attempts)
    facts["attempts"] = [_attempt(attempt) for attempt in attempts]
    facts["events"] = [_event(event) for event in jobs.events(job.id)]
    return JobDetail.model_validate(facts)


def _facts(job: Job, attempts: tuple[Attempt, ...]) -> dict[str, object]:
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
        "waiting_for": job.waiting_for,
        "cancel_requested_by": job.cancel_requested_by,
        **spec.model_dump(
            include={"gpus", "cpus", "memory", "time", "priority", "data", "image", "command"}, mode="json"
        ),
        "gpu_uuids": list(attempts[-1].gpu_uuids) if attempts else [],
        "image_digest": job.image_digest,
        "git_commit": job.git_commit,
        "submitted_at": rfc3339(job.submitted_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
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
    )


def _event(event: Event) -> EventJson:
    return EventJson(at=rfc3339(event.at) or "", state=event.state, text=event.text)
