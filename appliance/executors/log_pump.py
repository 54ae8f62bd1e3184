"""The log pump: copies a container's output into the attempt's log, each line once."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from appliance.containers.engine import ContainerEngine
from appliance.jobs.log import TRUNCATED_MARK, LogRecord, open_for_append, read_cursor

logger = logging.getLogger(__name__)


def pump(engine: ContainerEngine, name: str, log: Path, limit_bytes: int, *, follow: bool) -> None:
    """Append what the log does not have yet; following, until the container ends.

    The engine tells its log from the beginning; what the file has already is counted and skipped.
    Beyond the limit a mark is written once and the rest is read and dropped, so that a job never blocks
    on a full pipe. Raises EngineUnavailable, and OSError when the log cannot be written.
    """
    file, cursor = open_for_append(log)
    with file:
        is_full = cursor.is_truncated
        size = log.stat().st_size
        for record in islice(engine.logs(name, follow=follow), cursor.records, None):
            if is_full:
                continue
            line = record.encode()
            if size + len(line) > limit_bytes:
                is_full = True
                line = LogRecord(record.timestamp, is_full=True, text=TRUNCATED_MARK).encode()
                logger.warning("Cut the log of %s at %d bytes", name, limit_bytes)
            _write(file, line)
            size += len(line)


def is_whole(engine: ContainerEngine, name: str, log: Path) -> bool:
    """Return whether the log of an ended container ends as the engine's own does."""
    cursor = read_cursor(log)
    return cursor.is_truncated or cursor.last == next(iter(engine.logs(name, tail=1)), None)


def _write(file: BinaryIO, line: bytes) -> None:
    """Write all of the line; an unbuffered file may take a part of it only."""
    while line:
        line = line[file.write(line) :]
