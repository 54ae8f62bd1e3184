"""What is recorded of a job: states, outcomes, attempts, events; and the only legal changes of state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.jobs.spec import JobSpec


class JobState(StrEnum):
    """Where a job is on its way."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a finished job ended, in one word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class Reason(StrEnum):
    """Why a job ended so."""

    OK = "ok"
    USER_ERROR = "user_error"
    TIME_LIMIT = "time_limit"
    CANCELLED = "cancelled"
    BOX_RESTARTED = "box_restarted"
    DISK_FULL = "disk_full"
    IMAGE_ERROR = "image_error"
    LAUNCH_ERROR = "launch_error"
    CONTAINER_REMOVED = "container_removed"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.STARTING, JobState.FINISHED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.STOPPING, JobState.FINISHED}),
    JobState.RUNNING: frozenset({JobState.STOPPING, JobState.FINISHED}),
    JobState.STOPPING: frozenset({JobState.FINISHED}),
    JobState.FINISHED: frozenset(),
}
"""Every legal change of state; the store refuses any other."""

ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})
"""The states in which a job has an open attempt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended and why: a sentence for the user, and the lines or numbers that prove it."""

    outcome: Outcome
    reason: Reason
    message: str
    evidence: tuple[str, ...] = ()
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the store has it; times are Unix seconds, None where not reached yet."""

    id: int
    owner: str
    owner_id: int
    spec: JobSpec
    snapshot: str | None
    git_commit: str | None
    state: JobState
    waiting_for: str | None
    stop_reason: Reason | None
    verdict: Verdict | None
    image_digest: str | None
    submitted_at: float
    started_at: float | None
    finished_at: float | None
    cancel_requested_by: str | None

    @property
    def name(self) -> str:
        """The name given at submit, else the script or command."""
        return self.spec.title

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.state is JobState.FINISHED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One launch of a job; `boot_id` is the box's boot in which it was opened."""

    id: int
    job_id: int
    number: int
    gpu_uuids: tuple[str, ...]
    boot_id: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    outcome: Outcome | None
    reason: Reason | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """A change in a job's life, as `spud show` tells it."""

    at: float
    state: JobState
    text: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A GPU that an attempt holds alone."""

    gpu_uuid: str
    job_id: int
    attempt: int
