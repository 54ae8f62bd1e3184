"""The log as people read it: its last lines, and terminal control codes resolved as a terminal would."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.errors import InvalidRequest
from appliance.jobs import log

_FIRST_WINDOW_BYTES = 65_536
_CONTROL_CODE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])|\x08|\x07")


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
    with path.open("rb") as file:
        file.seek(offset - 1)
        if file.read(1) not in (b"\n", b""):
            raise InvalidRequest("offset must be 0 or an id that this log's stream has sent.")


def read_from(path: Path, offset: int) -> tuple[str, int]:
    """Return the text after an offset, and the offset behind it."""
    pieces = []
    for behind, piece in log.read(path, offset):
        pieces.append(piece)
        offset = behind
    return b"".join(pieces).decode(errors="replace"), offset


def as_on_terminal(text: str) -> str:
    """Return the text without colours, and of each line what stands after its last carriage return."""
    lines = _CONTROL_CODE.sub("", text).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


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
        is_new = log.decode(record).kind is not log.Kind.PART
        offset += len(record) + 1
    return starts
