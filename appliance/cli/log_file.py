"""LogFile: a log of `spud up` that never grows beyond what its disk can spare."""

from __future__ import annotations

import os
import threading
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from appliance.errors import SpudError

_LARGEST_BYTES = 10 * 1024**2
_KEPT = 3
_MODE = 0o640


class LogFile:
    """A file that lines are appended to; at its limit it becomes `<name>.1`, older ones move up to `.3`.

    Threads may write at once, since a process that is started again has a reader of its own.
    """

    def __init__(self, path: Path, largest_bytes: int = _LARGEST_BYTES) -> None:
        self._path = path
        self._largest_bytes = largest_bytes
        self._turn = threading.Lock()
        self._file = open_log(path)

    def write(self, line: bytes) -> None:
        """Append a line; raises OSError, after which the next line is tried anew."""
        with self._turn:
            if self._file.tell() + len(line) > self._largest_bytes and self._file.tell():
                self._rotate()
            self._file.write(line)

    def _rotate(self) -> None:
        self._file.close()
        try:
            rotate(self._path)
        finally:
            self._file = open_log(self._path)


def rotate(path: Path) -> None:
    """Move a log up one place, and the older ones before it; the oldest is dropped."""
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, _KEPT + 1))]
    for old, new in reversed(list(pairwise(names))):
        if old.exists():
            old.replace(new)


def rotate_if_large(path: Path, largest_bytes: int = _LARGEST_BYTES) -> None:
    """Rotate a log that another process goes on writing by its descriptor, before it is opened."""
    if path.exists() and path.stat().st_size > largest_bytes:
        rotate(path)


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, readable for its group; raises SpudError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, _MODE), "ab", buffering=0)
    except OSError as error:
        raise SpudError(f"Cannot write {path}: {error.strerror}. Choose another --log-directory.") from None
    file.seek(0, os.SEEK_END)
    return file
