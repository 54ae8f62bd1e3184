"""The log pump: copies a container's output into the attempt's log, each line once.

Beyond the limit a mark is written and the output is read and dropped, so that a job never blocks on a full
pipe. When the container has ended, the last of what was dropped is appended, since it tells why.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from appliance.containers.engine import ContainerEngine
from appliance.executors.log_mask import Mask, MaskedLines
from appliance.failpoints import reach
from appliance.jobs.log import (
    TEXT_AT,
    TRUNCATED_MARK,
    Kind,
    LogCursor,
    LogRecord,
    ends_within_line,
    notice,
    open_for_append,
    write,
)

logger = logging.getLogger(__name__)

_END_BYTES = 131_072
"""How much of each stream beyond the limit is kept when it ends."""
_COMPARED = 64
"""How many last records tell whether a log is whole: a long line has many equal parts."""


class LogPump:
    """Copies the log of one container. Raises EngineUnavailable, and OSError when it cannot be written.

    The engine tells its log from the beginning; what the file has already is counted and skipped, so that
    every method may be called again after whatever has happened, also by another process.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        name: str,
        log: Path,
        limit_bytes: int,
        mask: Mask | None = None,
        longest_masked_bytes: int = 0,
    ) -> None:
        self._engine = engine
        self._name = name
        self._log = log
        self._limit_bytes = limit_bytes
        self._mask = mask
        self._longest_masked_bytes = longest_masked_bytes
        self._pass: _Pass | None = None

    def follow(self) -> None:
        """Append what the log does not have yet, until the engine says that the output has ended."""
        self._copy(follow=True)

    def finish(self) -> None:
        """See to it that the log of an ended container is whole, and append the end that was cut off."""
        if self._pass is None or not self._pass.ends_with(
            list(self._engine.logs(self._name, tail=_COMPARED))
        ):
            self._copy(follow=False)
        if self._pass:
            with self._log.open("ab+", buffering=0) as file:
                self._pass.end(file)

    def _copy(self, *, follow: bool) -> None:
        file, cursor = open_for_append(self._log)
        with file:
            lines = MaskedLines(self._mask, self._longest_masked_bytes) if self._mask else None
            self._pass = _Pass(self._name, cursor, self._limit_bytes, lines)
            for records in self._engine.log_batches(self._name, follow=follow):
                if records:
                    self._pass.take(records, file)
                elif not self._is_running():
                    # Some engines go on following a log that has been rotated (moby issue 45728).
                    return

    def _is_running(self) -> bool:
        container = self._engine.inspect(self._name)
        return container is not None and container.is_running


class _Pass:
    """One reading of the engine's log from its beginning."""

    def __init__(self, name: str, cursor: LogCursor, limit_bytes: int, lines: MaskedLines | None) -> None:
        self._name = name
        self._skip = cursor.records
        self._cut_at = cursor.cut_at
        self._limit_bytes = limit_bytes
        self._lines = lines
        self._latest: deque[LogRecord] = deque(maxlen=_COMPARED)
        self._dropped = _Dropped()

    def take(self, records: Sequence[LogRecord], file: BinaryIO) -> None:
        """Write those records that the file does not have yet."""
        self._latest.extend(records[-_COMPARED:])
        self._append(self._lines.feed(records) if self._lines else records, file)

    def ends_with(self, records: list[LogRecord]) -> bool:
        """Return whether these last records of the engine's are the last that were taken, beyond doubt."""
        is_certain = len(records) < _COMPARED or records[0] != records[-1]
        return is_certain and records == list(self._latest)

    def end(self, file: BinaryIO) -> None:
        """Write what was held back, and the end of an output that went beyond the limit."""
        if self._lines:
            self._append(self._lines.flush(), file)
        if self._cut_at is None or not (end := self._dropped.end()):
            return
        file.seek(self._cut_at)
        there = file.read()
        # What a death in the middle has left is completed.
        if end.startswith(there):
            write(file, end[len(there) :])

    def _append(self, records: Sequence[LogRecord], file: BinaryIO) -> None:
        skipped = min(self._skip, len(records))
        self._skip -= skipped
        new = records[skipped:] if skipped else records
        if self._cut_at is None:
            new = self._write(new, file)
        for record in new:
            self._dropped.add(record)

    def _write(self, records: Sequence[LogRecord], file: BinaryIO) -> Sequence[LogRecord]:
        """Write the records at once; return those that are beyond the limit."""
        room = self._limit_bytes - file.seek(0, 2)
        lines = [record.encode() for record in records]
        content = b"".join(lines)
        if len(content) <= room:
            write(file, content)
            reach("log.written")
            return ()
        count = size = 0
        while size + len(lines[count]) <= room:
            size += len(lines[count])
            count += 1
        write(file, content[:size])
        self._cut(file)
        return records[count:]

    def _cut(self, file: BinaryIO) -> None:
        logger.warning("Cut the log of %s at %d bytes", self._name, self._limit_bytes)
        ending = "\n" if ends_within_line(file) else ""
        mark = notice(ending + TRUNCATED_MARK.decode(), time.time())
        write(file, b"".join(record.encode() for record in mark))
        self._cut_at = file.seek(0, 2)


class _Dropped:
    """What went beyond the limit: its size, and the last lines of each stream.

    Each, since the engine may tell the last word on standard error a megabyte before the last of the other.
    """

    def __init__(self) -> None:
        self._count = 0
        self._left_out_bytes = 0
        self._output = _LastLines()
        self._errors = _LastLines()

    def add(self, record: LogRecord) -> None:
        self._count += 1
        lines = self._errors if record.is_error else self._output
        self._left_out_bytes += lines.add(self._count, record)

    def end(self) -> bytes:
        """Return what is written at the end of the output: the same however often it is asked for."""
        if not self._left_out_bytes:
            records = [record for _, record in sorted(self._output.lines + self._errors.lines, key=_place)]
            return b"".join(record.encode() for record in records)
        text = f"{self._left_out_bytes:,} bytes were left out; the end follows."
        if not self._output.lines:
            return self._errors.encode(text)
        errors = self._errors.encode("The end of its standard error:") if self._errors.lines else b""
        return self._output.encode(text) + errors


class _LastLines:
    """The last lines of a stream, each with its place in the whole output."""

    def __init__(self) -> None:
        self.lines: deque[tuple[int, LogRecord]] = deque()
        self._bytes = 0

    def add(self, place: int, record: LogRecord) -> int:
        """Take a line in; return the bytes of output that are left out for it."""
        self.lines.append((place, record))
        self._bytes += len(record.text) + TEXT_AT
        left_out = 0
        while self._bytes > _END_BYTES:
            _, gone = self.lines.popleft()
            self._bytes -= len(gone.text) + TEXT_AT
            left_out += len(gone.text) + (gone.kind is Kind.FULL)
        return left_out

    def encode(self, title: str) -> bytes:
        """Return the lines behind a line of Spud's own that bears the time of the first."""
        at = self.lines[0][1].timestamp
        records = [LogRecord(at, Kind.SPUD, title.encode()), *(record for _, record in self.lines)]
        if records[-1].kind is Kind.PART:
            records.append(LogRecord(records[-1].timestamp, Kind.SPUD, b""))
        return b"".join(record.encode() for record in records)


def _place(line: tuple[int, LogRecord]) -> int:
    return line[0]
