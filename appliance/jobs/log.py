"""The log of an attempt: one line of file per line of output, with the engine's timestamp.

    2026-11-21T09:00:00.123456789Z F Step 200, Minibatch Loss= 2.0791
    <RFC 3339, nanoseconds> <F: a full line, P: a part of one> <text, carriage returns and all>

The file is its own cursor: whoever resumes writing counts in it what has been written, so that log and
cursor cannot disagree, whenever the writer dies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

TRUNCATED_MARK = b"[spud] The log has reached its limit; what follows is not kept."

_TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A line of output, or a part of a long one. `timestamp` is the engine's, to the nanosecond."""

    timestamp: bytes
    is_full: bool
    text: bytes

    def encode(self) -> bytes:
        """Return the record as it stands in the file."""
        return b"%s %s %s\n" % (self.timestamp, b"F" if self.is_full else b"P", self.text)


@dataclass(frozen=True, slots=True)
class LogCursor:
    """How far a log is written.

    Records are counted, since their timestamps tell no order: two streams, and the parts of a long line,
    which all bear the time of its first, come in the order of the engine's own file.
    """

    records: int
    last: LogRecord | None

    @property
    def is_truncated(self) -> bool:
        """Whether the limit was reached, so that nothing more is to be written."""
        return self.last is not None and self.last.text == TRUNCATED_MARK


def decode(line: bytes) -> LogRecord:
    """Return the record of one line of the file."""
    timestamp, kind, text = line.rstrip(b"\n").split(b" ", 2)
    return LogRecord(timestamp, kind == b"F", text)


def open_for_append(path: Path) -> tuple[BinaryIO, LogCursor]:
    """Open a log to go on writing; a line that was cut off by the writer's death is removed first."""
    file = path.open("ab+", buffering=0)
    _cut_torn_line(file)
    return file, read_cursor(path)


def read(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the output after a byte offset of the file: each piece with the offset behind it.

    A part of a long line comes without line end. A missing file is an empty log.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            record = decode(line)
            yield offset, record.text + (b"\n" if record.is_full else b"")


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of the output, at most `lines` and at most 64 KiB of them."""
    try:
        with path.open("rb") as file:
            records = [decode(line) for line in _tail(file).split(b"\n")[:-1]]
    except FileNotFoundError:
        return []
    return [record.text.decode(errors="replace") for record in records[-lines:]]


def _tail(file: BinaryIO) -> bytes:
    """Return the end of the file, from the beginning of a line; far more than one line can have."""
    start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
    file.seek(start)
    tail = file.read()
    return tail[tail.find(b"\n") + 1 :] if start else tail


def _cut_torn_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    file.truncate(size - (len(tail) - (tail.rfind(b"\n") + 1)))


def read_cursor(path: Path) -> LogCursor:
    """Return how far the log is written; a missing file is an empty log."""
    records, last = 0, b""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            records, last = records + 1, line
    return LogCursor(records, decode(last) if last else None)
