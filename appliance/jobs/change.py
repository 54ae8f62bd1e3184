"""What may still be changed of a submitted job: its place in the queue, its limit, its name. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import Conflict, InvalidRequest
from appliance.jobs.job import Job, JobState
from appliance.jobs.spec import JobSpec, parse_spec

CHANGEABLE = ("priority", "time", "name")
_BEFORE_IT_RUNS = frozenset({JobState.PENDING, JobState.STARTING})
_ENDING = frozenset({JobState.STOPPING, JobState.FINISHED})


def changed(job: Job, values: Mapping[str, object], now: float) -> tuple[JobSpec, str]:
    """Return the job's spec with other values, and a clause for its history.

    Raises InvalidRequest for values that no job can have, Conflict for those that come too late.
    """
    _check_state(job, values)
    spec = parse_spec({**job.spec.model_dump(mode="json"), **values})
    _check_limit(job, spec, now)
    changes = [
        f"{key} from {_told(getattr(job.spec, key))} to {_told(getattr(spec, key))}"
        for key in CHANGEABLE
        if getattr(job.spec, key) != getattr(spec, key)
    ]
    return spec, ", ".join(changes)


def _check_state(job: Job, values: Mapping[str, object]) -> None:
    if not values:
        raise InvalidRequest("Nothing to change was given. Give one of priority, time and name.")
    if job.state in _ENDING:
        raise Conflict(f"Job {job.id} is {job.state} already. Submit it anew with other options.")
    if job.state not in _BEFORE_IT_RUNS and (late := [key for key in values if key != "time"]):
        raise Conflict(f"Job {job.id} runs already, so its {late[0]} stays. Its time can be changed.")


def _check_limit(job: Job, spec: JobSpec, now: float) -> None:
    if job.started_at and spec.time and spec.time != job.spec.time and now - job.started_at > spec.time:
        raise Conflict(
            f"Job {job.id} has run for {now - job.started_at:.0f} s, so a limit of {spec.time} s would end it"
            f" at once. Give a longer one, or end it with: spud cancel {job.id}"
        )


def _told(value: object) -> str:
    return "none" if value is None else str(value)
