"""Why an attempt ended: from exit code, stop request and log to an outcome with evidence. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from appliance.jobs.job import Outcome, Reason, Verdict

_TRACEBACK = "Traceback (most recent call last):"
_EXEC_FAILED = re.compile(r"^\[FATAL tini \(\d+\)\] exec (?P<program>.+) failed: (?P<why>.+)")


def judge_exit(
    exit_code: int, stop_reason: Reason | None, stopped_by: str | None, tail: Sequence[str]
) -> Verdict:
    """Return the verdict on a container that ran and ended.

    `stop_reason` is why Spud asked for the end, if it did: then that is the reason, whatever the exit
    code. `tail` are the last lines of the log.
    """
    if stop_reason is Reason.CANCELLED:
        return Verdict(Outcome.CANCELLED, Reason.CANCELLED, f"cancelled by {stopped_by}", exit_code=exit_code)
    if stop_reason is Reason.TIME_LIMIT:
        return Verdict(
            Outcome.TIMED_OUT,
            Reason.TIME_LIMIT,
            "stopped at its time limit; give it more with --time",
            exit_code=exit_code,
        )
    if exit_code == 0:
        return Verdict(Outcome.SUCCEEDED, Reason.OK, "succeeded", exit_code=0)
    if missing := _missing_program(tail):
        return Verdict(Outcome.FAILED, Reason.LAUNCH_ERROR, missing, (tail[-1],), exit_code)
    evidence = _evidence(tail)
    message = f"{_ending(exit_code)}{': ' + evidence[-1] if evidence else ''}"
    return Verdict(Outcome.FAILED, Reason.USER_ERROR, message, evidence, exit_code)


def cancelled_before_start(by: str) -> Verdict:
    """Return the verdict on a job that was cancelled while it waited."""
    return Verdict(Outcome.CANCELLED, Reason.CANCELLED, f"cancelled by {by} before it started")


def image_missing(name: str, known: Sequence[str]) -> Verdict:
    """Return the verdict on a job whose image is not on the box."""
    there = f"There are: {', '.join(known)}." if known else "Build one with: spud image build tensorflow"
    return Verdict(Outcome.FAILED, Reason.IMAGE_ERROR, f"no image {name} on this box. {there}")


def launch_refused(message: str) -> Verdict:
    """Return the verdict on a container that the engine would not start."""
    return Verdict(Outcome.FAILED, Reason.LAUNCH_ERROR, message, (message,))


def disk_full(where: str) -> Verdict:
    """Return the verdict on a job that found no room for its workspace."""
    return Verdict(
        Outcome.FAILED,
        Reason.DISK_FULL,
        f"the disk that holds {where} is full; free some space and submit again",
    )


def container_removed() -> Verdict:
    """Return the verdict on a container that somebody removed behind Spud's back."""
    return Verdict(
        Outcome.LOST, Reason.CONTAINER_REMOVED, "its container was removed by hand; how it ended is not known"
    )


def box_restarted() -> Verdict:
    """Return the verdict on a container that ended with the box."""
    return Verdict(Outcome.LOST, Reason.BOX_RESTARTED, "the box restarted while it ran; submit it again")


def _missing_program(tail: Sequence[str]) -> str | None:
    """Return a sentence when the container's init (tini, by --init) could not execute the command."""
    match = _EXEC_FAILED.search(tail[-1]) if tail else None
    return f"the program {match['program']} cannot be run in the image: {match['why']}" if match else None


def _ending(exit_code: int) -> str:
    """Return how the process ended; a shell and an init report a signal as 128 + its number."""
    if exit_code > 128:
        try:
            return f"ended by {signal.Signals(exit_code - 128).name} (exit code {exit_code})"
        except ValueError:
            pass
    return f"ended with exit code {exit_code}"


def _evidence(tail: Sequence[str]) -> tuple[str, ...]:
    """Return the last traceback's call and error, or nothing when the log shows none."""
    starts = [index for index, line in enumerate(tail) if line.startswith(_TRACEBACK)]
    if not starts:
        return ()
    body = tail[starts[-1] + 1 :]
    errors = [index for index, line in enumerate(body) if line and not line[0].isspace()]
    if not errors:
        return ()
    places = [line.strip() for line in body[: errors[0]] if line.startswith("  File ")]
    return (*places[-1:], body[errors[0]].strip()[:500])
