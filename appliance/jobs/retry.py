"""Whether a job that ended is tried again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from appliance.jobs.job import Again, Attempt, Verdict
from appliance.jobs.reason import NEVER_RETRIED, RETRIED, Outcome, Reason
from appliance.jobs.spec import JobSpec

MOST_REQUEUES = 3
"""Restarts of the box in a row that a job is started again after: it may be what takes the box down."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 10.0, 300.0


def again(spec: JobSpec, attempts: Sequence[Attempt], verdict: Verdict, now: float) -> Again | None:
    """Return when the job is tried again, or None when its verdict stands.

    `attempts` are the ended ones, the last with this verdict. What ended with the box starts again at once
    and costs none of the job's retries, but at most MOST_REQUEUES times in a row.
    """
    reason = verdict.reason
    if verdict.outcome is Outcome.CANCELLED or reason in NEVER_RETRIED:
        return None
    reasons = [attempt.verdict.reason for attempt in attempts if attempt.verdict]
    if reason is Reason.BOX_RESTARTED and spec.requeue:
        restarts = _in_a_row(reasons, reason)
        if restarts > MOST_REQUEUES:
            return None
        return Again(0.0, f"{verdict.message}; starts again ({restarts} of {MOST_REQUEUES})")
    if not _is_retried(spec, verdict):
        return None
    retries = sum(1 for one in reasons if not (one is Reason.BOX_RESTARTED and spec.requeue))
    if retries > spec.retries:
        return None
    wait_s = wait_before(retries)
    return Again(now + wait_s, f"{verdict.message}; retry {retries} of {spec.retries} in {wait_s:.0f} s")


def final(spec: JobSpec, attempts: Sequence[Attempt], verdict: Verdict) -> Verdict:
    """Return the verdict that a job ends with when it is not tried again: it says so after many restarts."""
    reasons = [attempt.verdict.reason for attempt in attempts if attempt.verdict]
    restarts = _in_a_row(reasons, Reason.BOX_RESTARTED)
    if verdict.reason is Reason.BOX_RESTARTED and spec.requeue and restarts > MOST_REQUEUES:
        return replace(
            verdict,
            message=f"{verdict.message}, {restarts} times in a row, and is not started again",
            advice="Find out whether the job takes the box down before you run it again with spud retry.",
        )
    return verdict


def wait_before(retry: int) -> float:
    """Return the seconds before a retry, counted from 1: 10, 20, 40 and so on, at most 300."""
    return float(min(_FIRST_WAIT_S * 2 ** min(retry - 1, 10), _LONGEST_WAIT_S))


def _is_retried(spec: JobSpec, verdict: Verdict) -> bool:
    if verdict.reason in spec.retry_on:
        return True
    # With an exit code the container ran: its program is not in the image, and will not be the next time.
    is_missing_program = verdict.reason is Reason.LAUNCH_ERROR and verdict.exit_code is not None
    return verdict.reason in RETRIED and not is_missing_program


def _in_a_row(reasons: Sequence[Reason], reason: Reason) -> int:
    """Return how many of the last attempts ended for this reason."""
    return next((index for index, one in enumerate(reversed(reasons)) if one is not reason), len(reasons))
