"""The log pump: copies a container's output into the attempt's log, each line once."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

from appliance.containers.engine import ContainerEngine
from appliance.jobs.log import (
    TRUNCATED_MARK,
    Kind,
    LogRecord,
    open_for_append,
    read_cursor,
    tail_records,
    write,
)

logger = logging.getLogger(__name__)


def pump(engine: ContainerEngine, name: str, log: Path, limit_bytes: int, *, follow: bool) -> None:
    """Append what the log does not have yet; following, until the container ends.

    The engine tells its log from the beginning; what the file has already is counted and skipped.
    Beyond the limit a mark is written once and the rest is read and dropped, so that a job never blocks
    on a full pipe. Raises EngineUnavailable, and OSError when the log cannot be written.
    """
    file, cursor = open_for_append(log)
    with file:
        is_full = cursor.cut_at is not None
        size = log.stat().st_size
        for record in islice(engine.logs(name, follow=follow), cursor.records, None):
            if is_full:
                continue
            line = record.encode()
            if size + len(line) > limit_bytes:
                is_full = True
                line = LogRecord(record.timestamp, Kind.SPUD, TRUNCATED_MARK).encode()
                logger.warning("Cut the log of %s at %d bytes", name, limit_bytes)
            write(file, line)
            size += len(line)


def is_whole(engine: ContainerEngine, name: str, log: Path) -> bool:
    """Return whether the log of an ended container ends as the engine's own does."""
    last = next(reversed(tail_records(log)), None)
    return read_cursor(log).cut_at is not None or last == next(iter(engine.logs(name, tail=1)), None)
