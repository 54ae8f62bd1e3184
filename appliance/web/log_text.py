"""Places in a log: where its last lines begin, or what was written since a time."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import InvalidRequest
from appliance.jobs import log

_FIRST_WINDOW_BYTES = 65_536
_LARGEST_OFFSET = 2**40
"""Far beyond any log; an offset that no file on the disk can have is an error to seek to."""
_TIME_BYTES = 30
_UNORDERED_BYTES = 1024**2
"""Records of two streams, or parts of long lines, may stand so far from the place that their time has."""


def tail_offset(path: Path, lines: int) -> int:
    """Return the offset in the file at which its last `lines` lines begin."""
    size = path.stat().st_size if path.exists() else 0
    window = _FIRST_WINDOW_BYTES
    while True:
        start = max(0, size - window)
        starts = _line_starts(path, start, size)
        if start == 0 or len(starts) >= lines:
            return starts[-lines] if 0 < lines <= len(starts) else (size if lines == 0 else start)
        window *= 4


def check_offset(path: Path, offset: int) -> None:
    """Raise InvalidRequest unless a record of the log begins or may begin at the offset."""
    if offset == 0 or not path.exists():
        return
    if offset > _LARGEST_OFFSET or _byte_before(path, offset) not in (b"\n", b""):
        raise InvalidRequest("offset must be 0 or an id that this log's stream has sent.")


def read_from(path: Path, offset: int) -> tuple[str, int]:
    """Return the text after an offset, and the offset behind it."""
    pieces = []
    for behind, piece in log.read(path, offset):
        pieces.append(piece)
        offset = behind
    return b"".join(pieces).decode(errors="replace"), offset


def start_offset(path: Path, tail: int | None, since: float | None) -> int:
    """Return where a log begins of which the last lines are wanted, or those since a time in Unix seconds."""
    start = 0 if tail is None else tail_offset(path, tail)
    return start if since is None else max(start, since_offset(path, log.stamp(since)))


def since_offset(path: Path, since: bytes) -> int:
    """Return the offset of the first line that was written at a time (as in the log) or later."""
    size = path.stat().st_size if path.exists() else 0
    early, late = 0, size
    while late - early > _UNORDERED_BYTES:
        middle = (early + late) // 2
        if _time_at(path, middle) < since:
            early = middle
        else:
            late = middle
    start = _next_line(path, max(0, early - _UNORDERED_BYTES))
    is_line_start = True
    for behind, block in log.blocks(path, start):
        place = behind - len(block)
        for record in block.split(b"\n")[:-1]:
            if is_line_start and record[:_TIME_BYTES] >= since:
                return place
            is_line_start = log.ends_line(record)
            place += len(record) + 1
    return size


def _byte_before(path: Path, offset: int) -> bytes:
    """Return the byte before an offset; nothing behind the end."""
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1)


def _time_at(path: Path, offset: int) -> bytes:
    """Return the time of the first record that begins after an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        file.readline()
        return file.read(_TIME_BYTES)


def _next_line(path: Path, offset: int) -> int:
    """Return the offset at which the first line begins after an offset within the file."""
    if offset == 0:
        return 0
    with path.open("rb") as file:
        file.seek(offset)
        file.readline()
        while record := file.readline():
            if log.ends_line(record):
                break
        return file.tell()


def _line_starts(path: Path, start: int, end: int) -> list[int]:
    """Return where the lines begin that begin in this range of the file."""
    if end == start:
        return []
    with path.open("rb") as file:
        file.seek(start)
        block = file.read(end - start)
    offset = start + (block.find(b"\n") + 1 if start else 0)
    starts, is_new = [], True
    # Only at line ends: a record's text may hold carriage returns.
    for record in block[offset - start :].split(b"\n")[:-1]:
        if is_new:
            starts.append(offset)
        is_new = log.ends_line(record)
        offset += len(record) + 1
    return starts
