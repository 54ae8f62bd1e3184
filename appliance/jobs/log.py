"""The log of an attempt: one line of file per line of output, with the engine's timestamp.

    2026-11-21T09:00:00.123456789Z F Step 200, Minibatch Loss= 2.0791
    <RFC 3339, nanoseconds> <F: a full line, P: a part of one, S: Spud's own> <text, carriage returns and all>

The file is its own cursor: whoever resumes writing counts in it what has been written, so that log and
cursor cannot disagree, whenever the writer dies. What Spud wrote itself is not counted, since the engine
does not know of it. An empty line of Spud's ends a line of the job's that has no end of its own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO

TRUNCATED_MARK = b"The log has reached its limit; of what follows only the end is kept."
SPUD_PREFIX = b"[spud] "
"""What stands before Spud's own lines where people read them."""

_TAIL_BYTES = 65_536
_END_BYTES = 2 * 1024**2
"""More than can follow the mark of a log that has reached its limit."""
_BLOCK_BYTES = 262_144
_KIND_AT, TEXT_AT = 31, 33
_SPUDS = b"Z S "
_NOT_FULL = (_SPUDS, b"Z P ")
_SPUDS_LINE = re.compile(rb"(?m)^[-0-9T:.]{29}Z S ")


class Kind(Enum):
    """What a record is."""

    FULL = b"F"
    PART = b"P"
    SPUD = b"S"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A line of output, a part of a long one, or a line of Spud's own.

    `timestamp` is the engine's, to the nanosecond. Whether it was written to standard error is known as long
    as it comes from the engine; the file does not keep it.
    """

    timestamp: bytes
    kind: Kind
    text: bytes
    is_error: bool = field(default=False, compare=False)

    def encode(self) -> bytes:
        """Return the record as it stands in the file."""
        return b"%s %s %s\n" % (self.timestamp, self.kind.value, self.text)


@dataclass(frozen=True, slots=True)
class LogCursor:
    """How far a log is written: so many of the engine's records are in it.

    Records are counted, since their timestamps tell no order: two streams, and the parts of a long line,
    which all bear the time of its first, come in the order of the engine's own file.

    `cut_at` is the offset behind the mark when the limit was reached; what stands behind it is not counted.
    """

    records: int
    cut_at: int | None = None


def stamp(at: float) -> bytes:
    """Return Unix seconds as the engine writes a time."""
    whole, fraction = divmod(at, 1)
    moment = time.gmtime(whole)
    # %Y would write the year 99 without zeros, which stands behind 2026 in the order of bytes.
    date = f"{moment.tm_year:04}" + time.strftime("-%m-%dT%H:%M:%S", moment)
    return date.encode() + b".%09dZ" % int(fraction * 1e9)


def decode(line: bytes) -> LogRecord:
    """Return the record of one line of the file."""
    timestamp, kind, text = line.rstrip(b"\n").split(b" ", 2)
    return LogRecord(timestamp, Kind(kind), text)


def notice(text: str, at: float) -> list[LogRecord]:
    """Return what Spud itself says at a time (Unix seconds) as records, one for each line of the text."""
    return [LogRecord(stamp(at), Kind.SPUD, line.encode()) for line in text.split("\n")]


def append_notice(path: Path, text: str, at: float | None = None) -> None:
    """Append lines of Spud's own; only while nothing else writes the log. Raises OSError."""
    at = time.time() if at is None else at
    with path.open("ab+", buffering=0) as file:
        _cut_torn_line(file)
        ending = [LogRecord(stamp(at), Kind.SPUD, b"")] if ends_within_line(file) else []
        write(file, b"".join(record.encode() for record in (*ending, *notice(text, at))))


def open_for_append(path: Path) -> tuple[BinaryIO, LogCursor]:
    """Open a log to go on writing; a line that was cut off by the writer's death is removed first."""
    file = path.open("ab+", buffering=0)
    _cut_torn_line(file)
    return file, read_cursor(path)


def write(file: BinaryIO, content: bytes) -> None:
    """Write all of it; an unbuffered file may take a part only."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def read(path: Path, offset: int = 0, block_bytes: int = _BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield the output after a byte offset of the file: many lines at once, with the offset behind them.

    A part of a long line comes without line end. A missing file is an empty log.
    """
    for behind, block in blocks(path, offset, block_bytes):
        yield behind, text_of(block)


def read_stamped(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the same with the time before each line."""
    is_start = offset == 0 or not path.exists() or is_line_start(path, offset)
    for behind, block in blocks(path, offset):
        text, is_start = stamped_text_of(block, is_line_start=is_start)
        yield behind, text


def blocks(path: Path, offset: int = 0, block_bytes: int = _BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield the whole records after a byte offset, many at once, as they stand in the file."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        rest = b""
        while piece := file.read(block_bytes):
            whole, line_end, rest = (rest + piece).rpartition(b"\n")
            if line_end:
                offset += len(whole) + 1
                yield offset, whole + line_end


def text_of(block: bytes) -> bytes:
    """Return the output that whole records hold."""
    lines = block.split(b"\n")
    if any(kind in block for kind in _NOT_FULL):
        return b"".join([_text_of_line(line) for line in lines[:-1]])
    # Full lines alone, as nearly always: several times faster than to look at each of them.
    return b"\n".join([line[TEXT_AT:] for line in lines])


def stamped_text_of(block: bytes, *, is_line_start: bool) -> tuple[bytes, bool]:
    """Return the output with its time before each line, and whether its end is the end of a line.

    Each state of a progress bar has the time before it too, since it begins the line anew.
    """
    pieces: list[bytes] = []
    for line in block.split(b"\n")[:-1]:
        at, text = line[:_KIND_AT], _text_of_line(line)
        pieces += (at if is_line_start else b"", text.replace(b"\r", b"\r" + at))
        is_line_start = text.endswith(b"\n")
    return b"".join(pieces), is_line_start


def _text_of_line(line: bytes) -> bytes:
    kind, text = line[_KIND_AT : _KIND_AT + 1], line[TEXT_AT:]
    if kind == Kind.PART.value:
        return text
    prefix = SPUD_PREFIX if text and kind == Kind.SPUD.value else b""
    return prefix + text + b"\n"


def tail(path: Path, lines: int) -> list[str]:
    """Return the last records of the job's own output, at most `lines` and at most 64 KiB of them."""
    try:
        with path.open("rb") as file:
            records = [decode(line) for line in _tail(file).split(b"\n")[:-1]]
    except FileNotFoundError:
        return []
    own = [record for record in records if record.kind is not Kind.SPUD]
    return [record.text.decode(errors="replace") for record in own[-lines:]]


def read_cursor(path: Path) -> LogCursor:
    """Return how far the log is written; a missing file is an empty log."""
    cut_at = _cut_at(path)
    records = 0
    for behind, block in blocks(path, block_bytes=4 * _BLOCK_BYTES):
        counted = block if cut_at is None or behind <= cut_at else block[: cut_at - behind]
        records += counted.count(b"\n")
        if _SPUDS in counted:
            records -= len(_SPUDS_LINE.findall(counted))
        if cut_at is not None and behind >= cut_at:
            break
    return LogCursor(records, cut_at)


def is_line_start(path: Path, offset: int) -> bool:
    """Return whether the record at this offset begins a line."""
    with path.open("rb") as file:
        line = _last_line(file, offset)
    return ends_line(line)


def ends_line(line: bytes) -> bool:
    """Return whether a record, as it stands in the file, ends a line of the output."""
    return line[_KIND_AT : _KIND_AT + 1] != Kind.PART.value


def _cut_at(path: Path) -> int | None:
    """Return the offset behind the mark of a log that has reached its limit; it stands near the end."""
    try:
        with path.open("rb") as file:
            end = _tail(file, _END_BYTES)
            size = file.tell()
    except FileNotFoundError:
        return None
    mark = _SPUDS + TRUNCATED_MARK + b"\n"
    for found in re.finditer(re.escape(mark), end):
        # The job may have printed the same: then it does not stand at the kind's place.
        if found.start() - end.rfind(b"\n", 0, found.start()) == _KIND_AT - 1:
            return size - len(end) + found.end()
    return None


def ends_within_line(file: BinaryIO) -> bool:
    """Return whether the log ends with a part of a line."""
    last = _last_line(file, file.seek(0, os.SEEK_END))
    return bool(last) and not ends_line(last)


def _last_line(file: BinaryIO, end: int) -> bytes:
    """Return the record that ends at an offset; empty at the beginning."""
    start = max(0, end - _TAIL_BYTES)
    file.seek(start)
    return file.read(end - start).removesuffix(b"\n").rpartition(b"\n")[2]


def _tail(file: BinaryIO, count: int = _TAIL_BYTES) -> bytes:
    """Return the end of the file, from the beginning of a line; far more than one line can have."""
    start = max(0, file.seek(0, os.SEEK_END) - count)
    file.seek(start)
    tail = file.read()
    return tail[tail.find(b"\n") + 1 :] if start else tail


def _cut_torn_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    file.truncate(size - (len(tail) - (tail.rfind(b"\n") + 1)))
