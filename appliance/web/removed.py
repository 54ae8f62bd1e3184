"""What retention has removed is told as such, with its date, instead of as missing."""

from __future__ import annotations

import time

from appliance.errors import Gone
from appliance.jobs.job import Attempt


def refuse_removed_log(attempt: Attempt | None) -> None:
    """Raise Gone when the log of the attempt was removed."""
    if attempt and attempt.log_removed_at:
        raise _gone(attempt, "log", attempt.log_removed_at)


def refuse_removed_files(attempt: Attempt | None, folder: str | None = None) -> None:
    """Raise Gone when the files in `output` or `workspace` were removed; without a folder, when both were."""
    if attempt is None:
        return
    removed = {"output": attempt.output_removed_at, "workspace": attempt.workspace_removed_at}
    times = [removed.get(name) for name in ((folder,) if folder else removed)]
    if times and all(times):
        raise _gone(attempt, "files", max(at for at in times if at))


def removal_day(at: float) -> str:
    """Return the day of a removal on the box's clock."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _gone(attempt: Attempt, what: str, at: float) -> Gone:
    verb = "was" if what == "log" else "were"
    return Gone(
        f"The {what} of job {attempt.job_id}, attempt {attempt.number}, {verb} removed on {removal_day(at)}"
        " by retention. What is recorded of it stays: spud show"
    )
