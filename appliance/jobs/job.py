"""What is recorded of a job: states, outcomes, attempts, events; and the only legal changes of state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.spec import JobSpec


class JobState(StrEnum):
    """Where a job is on its way."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.STARTING, JobState.FINISHED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.STOPPING, JobState.PENDING, JobState.FINISHED}),
    JobState.RUNNING: frozenset({JobState.STOPPING, JobState.PENDING, JobState.FINISHED}),
    JobState.STOPPING: frozenset({JobState.FINISHED}),
    JobState.FINISHED: frozenset({JobState.PENDING}),
}
"""Every legal change of state; the store refuses any other.

An attempt that ended goes back to pending when it is tried again; what was told to stop is not. A finished
job becomes pending by `spud retry` alone.
"""

ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})
"""The states in which a job has an open attempt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended and why.

    `message` says it in one clause, `evidence` are the lines or counters that prove it, and `advice` is a
    sentence on what to do; empty where there is nothing to do.
    """

    outcome: Outcome
    reason: Reason
    message: str
    evidence: tuple[str, ...] = ()
    exit_code: int | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the store has it; times are Unix seconds, None where not reached yet."""

    id: int
    owner: str
    owner_id: int
    spec: JobSpec
    snapshot: str | None
    git_commit: str | None
    git_diff: str | None
    """Name of the kept `git diff` of what was not committed."""
    requirements_hash: str | None
    """What names the content of the requirements that are installed for the job."""
    state: JobState
    waiting_for: str | None
    stop_reason: Reason | None
    verdict: Verdict | None
    image_digest: str | None
    submitted_at: float
    started_at: float | None
    finished_at: float | None
    cancel_requested_by: str | None
    retry_requested_by: str | None
    not_before: float
    code_removed_at: float | None = None
    """When retention removed the code and the checkpoints; the job cannot run again from its code."""

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
    """One launch of a job; `boot_id` is the box's boot in which it got its place.

    `token` is random and marks the attempt's own container. `placed_at` is None while its image is made:
    until then it holds no GPU and has no container. `start_asked_at` is when the engine was first asked to
    start the container. From `released_at` on, others may have its place.
    """

    id: int
    job_id: int
    number: int
    token: str
    gpu_uuids: tuple[str, ...]
    boot_id: str
    created_at: float
    placed_at: float | None
    start_asked_at: float | None
    released_at: float | None
    started_at: float | None
    finished_at: float | None
    image_digest: str | None
    verdict: Verdict | None
    workspace_removed_at: float | None = None
    output_removed_at: float | None = None
    log_removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A change in a job's life, as `spud show` tells it."""

    at: float
    state: JobState
    text: str


@dataclass(frozen=True, slots=True)
class Share:
    """What a job gets of a GPU: the whole card, or `memory_bytes` of the `capacity_bytes` that jobs share."""

    gpu_uuid: str
    memory_bytes: int | None = None
    capacity_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A share of a GPU that an attempt holds; `ends_by` is when the job's time limit, if any, frees it."""

    gpu_uuid: str
    job_id: int
    attempt: int
    memory_bytes: int | None
    ends_by: float | None


@dataclass(frozen=True, slots=True)
class Request:
    """What the placement must know of a waiting job: a few columns, since there may be many."""

    job_id: int
    priority: int
    gpus: int
    gpu_memory_bytes: int | None
    gpu_model: str | None
    cpus: float | None
    time_s: int | None
    image: str | None
    image_digest: str | None
    requirements_hash: str | None
    waiting_for: str | None
    attempt_id: int | None
    """The open attempt when the job's image had to be made before it could be placed."""


@dataclass(frozen=True, slots=True)
class Again:
    """The decision to try a job again: not before a time (Unix seconds), and why, for its history."""

    not_before: float
    text: str
