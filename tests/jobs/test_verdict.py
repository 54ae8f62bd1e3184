from __future__ import annotations

import pytest

from appliance.jobs.reason import Outcome, Reason
from appliance.jobs.verdict import judge_exit

pytestmark = pytest.mark.unit

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/workspace/train.py", line 3, in <module>',
    "    fit()",
    "ValueError: bad shape",
]


def test_exit_code_zero_is_success() -> None:
    assert judge_exit(0, None, None, []).outcome is Outcome.SUCCEEDED


def test_a_traceback_is_the_evidence() -> None:
    verdict = judge_exit(1, None, None, ["epoch 1", *TRACEBACK])
    assert (verdict.reason, verdict.message) == (
        Reason.USER_ERROR,
        "ended with exit code 1: ValueError: bad shape",
    )
    assert verdict.evidence == ('File "/workspace/train.py", line 3, in <module>', "ValueError: bad shape")


def test_a_signal_is_called_by_its_name() -> None:
    assert judge_exit(139, None, None, []).message == "ended by SIGSEGV (exit code 139)"


def test_what_spud_stopped_did_not_fail() -> None:
    assert judge_exit(143, Reason.CANCELLED, "ada", TRACEBACK).message == "cancelled by ada"
    assert judge_exit(137, Reason.TIME_LIMIT, None, []).outcome is Outcome.TIMED_OUT


def test_a_program_that_is_not_in_the_image_is_a_launch_error() -> None:
    line = "[FATAL tini (7)] exec trian failed: No such file or directory"
    verdict = judge_exit(127, None, None, [line])
    assert verdict.reason is Reason.LAUNCH_ERROR
    assert "the program trian cannot be run" in verdict.message
