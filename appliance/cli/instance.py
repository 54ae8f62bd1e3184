"""Which `spud up` runs: a file with its process id, locked for as long as it lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Conflict, SpudError

RUN_DIRECTORY = Path("/run/spud")
LOG_DIRECTORY = Path("/var/log/spud")
_FILE_NAME = "up.pid"


def run_directory(store: Path) -> Path:
    """Return /run/spud, or a folder in the store for whoever may not write there."""
    return _usable(RUN_DIRECTORY, store / "run")


def log_directory(store: Path) -> Path:
    """Return /var/log/spud, or a folder in the store for whoever may not write there."""
    return _usable(LOG_DIRECTORY, store / "log")


def running_pid(directory: Path) -> int | None:
    """Return the process id of the `spud up` that runs, None when none does."""
    try:
        with (directory / _FILE_NAME).open() as file:
            if _try_lock(file.fileno()):
                return None
            return int(file.read() or 0)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SpudError(f"Cannot read {directory / _FILE_NAME}: {error.strerror}.") from None


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Be the one `spud up`; raises Conflict when another one is, SpudError without the right to write."""
    path = directory / _FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise SpudError(
            f"Cannot write {path}: {error.strerror}. Run spud up as root, or with --run-directory."
        ) from None
    with os.fdopen(descriptor, "r+") as file:
        if not _try_lock(file.fileno()):
            raise Conflict("Spud is already running. Stop it with: spud down")
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _usable(directory: Path, fallback: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return fallback
    return directory if os.access(directory, os.W_OK) else fallback


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
