"""The log of a container as the engine sends it: frames of bytes, turned into records. Pure.

A frame is its stream, three zeros, its length in four bytes (big-endian) and so much text, which begins
with the time of the line (Docker Engine API, "Attach to a container", stream format).
"""

from __future__ import annotations

import re

from appliance.jobs.log import Kind, LogRecord

_HEADER_BYTES = 8
_STDERR = 2
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


class FrameParser:
    """Turns the bytes of a log into records, in whatever pieces they come."""

    def __init__(self) -> None:
        self._rest = b""
        self.complaints: list[bytes] = []
        """What the engine says of itself within the log, such as "Error grabbing logs: ..."."""

    @property
    def is_within_frame(self) -> bool:
        """Whether the log broke off in the middle of a frame."""
        return bool(self._rest)

    def feed(self, piece: bytes) -> list[LogRecord]:
        """Return the records that the piece completes."""
        data = self._rest + piece if self._rest else piece
        records = []
        start, size = 0, len(data)
        while start + _HEADER_BYTES <= size:
            end = start + _HEADER_BYTES + int.from_bytes(data[start + 4 : start + 8], "big")
            if end > size:
                break
            if record := _record(data[start + _HEADER_BYTES : end], data[start] == _STDERR):
                records.append(record)
            else:
                self.complaints.append(data[start + _HEADER_BYTES : end])
            start = end
        self._rest = data[start:]
        return records


def _record(frame: bytes, is_error: bool) -> LogRecord | None:  # noqa: FBT001
    """Return one message of the log; what is longer than the engine's buffer comes in parts.

    None for what has no timestamp, since it is no output of the container's.
    """
    if not _TIMESTAMP.match(frame) or frame[30:31] != b" ":
        return None
    if frame.endswith(b"\n"):
        text, kind = frame[31:-1], Kind.FULL
    else:
        text, kind = frame[31:], Kind.PART
    return LogRecord(frame[:30], kind, text.replace(b"\n", b" ") if b"\n" in text else text, is_error)
