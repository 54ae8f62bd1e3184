"""How facts are written on pages: times, durations, sizes, states; and what every template knows."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Flask, g
from jinja2 import StrictUndefined
from markupsafe import Markup

from appliance import __version__
from appliance.jobs.job import Job, JobState
from appliance.web.access import csrf_token
from appliance.web.answers import rfc3339
from appliance.web.services import services

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_SIZES = ("KiB", "MiB", "GiB", "TiB")
_STATE_WORDS = {
    JobState.PENDING: "waiting",
    JobState.STARTING: "starting",
    JobState.RUNNING: "running",
    JobState.STOPPING: "stopping",
}


def install(app: Flask) -> None:
    """Give the templates their filters and the facts that every page shows."""
    # A fact that a page names and nothing has is a mistake of ours, not an empty word.
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.template_filter("duration")(duration)
    app.template_filter("size")(size)
    app.template_filter("moment")(moment)
    app.template_filter("exact")(exact)
    app.template_filter("timestamp")(rfc3339)
    app.template_filter("shell")(shlex.join)
    app.template_filter("state_word")(state_word)
    app.template_filter("gauge_level")(gauge_level)
    app.template_filter("with_gpu_names")(with_gpu_names)
    app.template_filter("run_seconds")(run_seconds)
    app.template_filter("reason_to_wait")(reason_to_wait)
    app.context_processor(_facts)


def reason_to_wait(job: Job) -> str | None:
    """Return why a job has not started, in words that follow "waits for"."""
    return services().storage.jobs.reason_to_wait(job)


def duration(seconds: float) -> str:
    """Return the two largest units of a time: `1 h 12 min`, `3 min 5 s`, `12 s`."""
    left = max(0, int(seconds))
    parts = []
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def size(number: float) -> str:
    """Return bytes as people write them, in units of 1024."""
    if number < 1024:
        return f"{number:.0f} B"
    power = min(int(math.log(number, 1024)), len(_SIZES))
    scaled = number / 1024**power
    return f"{scaled:.0f} {_SIZES[power - 1]}" if scaled >= 100 else f"{scaled:.1f} {_SIZES[power - 1]}"


def moment(at: float | None, now: float | None = None) -> str:
    """Return a time as an element that reads `3 min ago` and holds the exact time, which scripts update."""
    if at is None:
        return Markup('<span class="none">not yet</span>')
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(
        rfc3339(at), exact(at), _ago((now or time.time()) - at)
    )


def exact(at: float) -> str:
    """Return a time to the second, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def state_word(job: Job) -> str:
    """Return where a job is, in one word: its outcome once it has one."""
    return job.verdict.outcome.replace("_", " ") if job.verdict else _STATE_WORDS[job.state]


def gauge_level(ratio: float | None) -> str:
    """Return how near a gauge is to its end."""
    if ratio is None:
        return "unknown"
    return "full" if ratio >= 0.95 else "high" if ratio >= 0.8 else "normal"


def run_seconds(job: Job) -> float | None:
    """Return how long a job has run or did run; None before it started."""
    if job.started_at is None:
        return None
    return (job.finished_at or time.time()) - job.started_at


def with_gpu_names(text: str, names: Mapping[str, str]) -> str:
    """Return the text with the UUIDs of known GPUs replaced by what people call them."""
    for uuid, name in names.items():
        text = text.replace(uuid, name)
    return text


def _ago(seconds: float) -> str:
    """Return how long ago, in the largest unit alone."""
    if seconds < 5:
        return "just now"
    return " ".join(duration(seconds).split()[:2]) + " ago"


def _facts() -> dict[str, object]:
    identity = getattr(g, "identity", None)
    return {
        "user": identity.user if identity else None,
        "csrf_token": csrf_token,
        "version": __version__,
    }
