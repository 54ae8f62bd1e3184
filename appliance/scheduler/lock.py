"""The lock that makes the scheduler the only one of its store, and tells the others that it lives.

A lock of the kernel's ends with the process that holds it, however that dies; no heartbeat is written.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from appliance.errors import Conflict, Unavailable

FILE_NAME = "scheduler.lock"

_PATIENCE_S = 1.0


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock.

    Raises Conflict when another scheduler has it, Unavailable when the file cannot be opened.
    """
    with _open(path) as file:
        # is_held takes the lock for an instant, so a first refusal proves nothing.
        deadline = time.monotonic() + _PATIENCE_S
        while not _try(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Conflict(
                    f"Another scheduler works on {path.parent}."
                    " Stop it first, or use another [store] directory."
                )
            time.sleep(0.02)
        yield


def is_held(path: Path) -> bool:
    """Return whether a scheduler is running on the store that the lock belongs to."""
    try:
        with path.open() as file:
            return not _try(file.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def _open(path: Path) -> TextIO:
    try:
        return path.open("a")
    except OSError as error:
        raise Unavailable(
            f"Cannot open {path}: {error.strerror}. Let the scheduler's user own it, or remove it."
        ) from None


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
