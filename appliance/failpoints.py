"""Named points in a job's life at which a test lets a process die, or stand still.

Without the variable SPUD_FAILPOINTS, which nothing but tests sets, `reach` does nothing. It holds
`name=action` pairs, comma-separated:

    kill          the process ends by SIGKILL, as if the power were cut
    wait:<path>   the process makes the file <path>, then stands still until somebody has removed it
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "SPUD_FAILPOINTS"

FAILPOINTS = (
    "submit.recorded",
    "start.reserved",
    "workspace.partial",
    "workspace.ready",
    "create.asked",
    "create.done",
    "start.done",
    "running.recorded",
    "log.written",
    "exit.seen",
    "log.drained",
    "place.released",
    "finish.recorded",
    "requeue.recorded",
    "stop.recorded",
    "container.removed",
)
"""Every point there is, in the order of a job's life."""

_POLL_S = 0.005
_lock = threading.Lock()


def _parse(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name: action for name, _, action in pairs}


_armed = _parse(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """Do what the variable asks for at this point; nothing without it."""
    if not _armed:
        return
    with _lock:
        action = _armed.pop(name, "")  # once: the next process that comes by lives on
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.startswith("wait:"):
        path = Path(action.removeprefix("wait:"))
        path.touch()
        while path.exists():
            time.sleep(_POLL_S)
