from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs.job import Again, Attempt, Verdict
from appliance.jobs.reason import NEVER_RETRIED, RETRIED, Outcome, Reason
from appliance.jobs.retry import MOST_REQUEUES, again, final, wait_before
from appliance.jobs.spec import JobSpec
from tests.factories import make_spec

pytestmark = pytest.mark.unit

NOW = 1_000_000.0
OUTCOMES = {
    Reason.OK: Outcome.SUCCEEDED,
    Reason.CANCELLED: Outcome.CANCELLED,
    Reason.TIME_LIMIT: Outcome.TIMED_OUT,
    Reason.BOX_RESTARTED: Outcome.LOST,
    Reason.CONTAINER_REMOVED: Outcome.LOST,
}


def verdict_of(reason: Reason, exit_code: int | None = None) -> Verdict:
    return Verdict(OUTCOMES.get(reason, Outcome.FAILED), reason, str(reason), exit_code=exit_code)


def attempts_of(*reasons: Reason) -> list[Attempt]:
    return [
        Attempt(
            id=number,
            job_id=1,
            number=number,
            token="",
            gpu_uuids=(),
            boot_id="boot",
            created_at=0.0,
            placed_at=0.0,
            start_asked_at=None,
            released_at=None,
            started_at=0.0,
            finished_at=0.0,
            image_digest=None,
            verdict=verdict_of(reason),
        )
        for number, reason in enumerate(reasons, 1)
    ]


def decide(spec: JobSpec, *reasons: Reason) -> Again | None:
    return again(spec, attempts_of(*reasons), verdict_of(reasons[-1]), NOW)


def run_to_the_end(spec: JobSpec, reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons of the attempts that are made when they would end so one after the other."""
    for count in range(1, len(reasons) + 1):
        if decide(spec, *reasons[:count]) is None:
            return list(reasons[:count])
    return list(reasons)


def test_a_fault_of_the_box_is_tried_again_after_a_while() -> None:
    assert decide(make_spec(retries=2), Reason.GPU_LOST) == Again(NOW + 10, "gpu_lost; retry 1 of 2 in 10 s")


def test_without_retries_a_verdict_stands() -> None:
    assert decide(make_spec(), Reason.GPU_LOST) is None


def test_each_retry_waits_twice_as_long() -> None:
    assert [wait_before(retry) for retry in range(1, 8)] == [10, 20, 40, 80, 160, 300, 300]
    assert wait_before(100) == 300


def test_a_mistake_of_the_jobs_own_is_tried_again_only_when_asked_for() -> None:
    assert decide(make_spec(retries=1), Reason.USER_ERROR) is None
    assert decide(make_spec(retries=1, retry_on=["user_error"]), Reason.USER_ERROR) is not None


def test_a_program_that_the_image_lacks_is_not_looked_for_again() -> None:
    verdict = verdict_of(Reason.LAUNCH_ERROR, exit_code=127)
    assert again(make_spec(retries=1), attempts_of(Reason.LAUNCH_ERROR), verdict, NOW) is None
    assert decide(make_spec(retries=1), Reason.LAUNCH_ERROR) is not None


def test_what_ended_with_the_box_starts_again_at_once_and_costs_no_retry() -> None:
    spec = make_spec(retries=1)
    assert decide(spec, Reason.BOX_RESTARTED) == Again(0.0, "box_restarted; starts again (1 of 3)")
    assert decide(spec, Reason.BOX_RESTARTED, Reason.GPU_LOST) is not None


def test_a_job_that_wants_no_requeue_ends_with_the_box() -> None:
    assert decide(make_spec(requeue=False), Reason.BOX_RESTARTED) is None
    assert decide(make_spec(requeue=False, retries=1), Reason.BOX_RESTARTED) is not None


def test_a_job_that_takes_the_box_down_does_not_do_so_for_ever() -> None:
    reasons = [Reason.BOX_RESTARTED] * 4
    assert decide(make_spec(retries=9), *reasons) is None
    verdict = final(make_spec(), attempts_of(*reasons), verdict_of(Reason.BOX_RESTARTED))
    assert verdict.message == "box_restarted, 4 times in a row, and is not started again"
    assert "takes the box down" in verdict.advice


def test_other_verdicts_stay_as_they_are() -> None:
    verdict = verdict_of(Reason.BOX_RESTARTED)
    assert final(make_spec(requeue=False), attempts_of(Reason.BOX_RESTARTED), verdict) == verdict


@given(
    reasons=st.lists(st.sampled_from(list(Reason)), min_size=1, max_size=40),
    retries=st.integers(0, 5),
    requeue=st.booleans(),
    retry_on=st.sets(st.sampled_from([one for one in Reason if one not in NEVER_RETRIED])),
)
def test_every_job_ends(reasons: list[Reason], retries: int, requeue: bool, retry_on: set[Reason]) -> None:
    spec = make_spec(retries=retries, requeue=requeue, retry_on=sorted(retry_on))
    made = run_to_the_end(spec, reasons)
    tried_again = made[:-1]
    requeued = [one for one in tried_again if one is Reason.BOX_RESTARTED and requeue]
    assert len(tried_again) - len(requeued) <= retries
    assert not NEVER_RETRIED & set(tried_again)
    assert set(tried_again) <= RETRIED | retry_on
    in_a_row = longest = 0
    for one in tried_again:
        in_a_row = in_a_row + 1 if one is Reason.BOX_RESTARTED else 0
        longest = max(longest, in_a_row)
    assert longest <= (MOST_REQUEUES if requeue else retries)


@given(
    reasons=st.lists(st.sampled_from(list(Reason)), min_size=1, max_size=10),
    retries=st.integers(0, 100),
    now=st.floats(0, 4e9),
)
def test_a_retry_lies_at_most_five_minutes_ahead(reasons: list[Reason], retries: int, now: float) -> None:
    decision = again(make_spec(retries=retries), attempts_of(*reasons), verdict_of(reasons[-1]), now)
    assert decision is None or decision.not_before == 0 or now + 10 <= decision.not_before <= now + 300
