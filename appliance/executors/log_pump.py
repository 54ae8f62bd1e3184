"""The log pump: copies a container's output into the attempt's log, each line once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from appliance.containers.engine import ContainerEngine
from appliance.jobs.log import TRUNCATED_MARK, LogCursor, LogRecord, open_for_append

logger = logging.getLogger(__name__)


def pump(engine: ContainerEngine, name: str, log: Path, limit_bytes: int, *, follow: bool) -> None:
    """Append what the log does not have yet; following, until the container ends.

    Beyond the limit a mark is written once and the rest is read and dropped, so that a job never blocks
    on a full pipe. Raises EngineUnavailable.
    """
    file, cursor = open_for_append(log)
    with file:
        size = log.stat().st_size
        records = _unseen(engine.logs(name, _seconds(cursor), follow=follow), cursor)
        for record in records:
            line = record.encode()
            if size + len(line) > limit_bytes:
                if size <= limit_bytes:
                    file.write(LogRecord(record.timestamp, is_full=True, text=TRUNCATED_MARK).encode())
                    logger.warning("Cut the log of %s at %d bytes", name, limit_bytes)
                    size = limit_bytes + 1
                continue
            size += file.write(line)


def _unseen(records: Iterator[LogRecord], cursor: LogCursor | None) -> Iterator[LogRecord]:
    """Leave out what the cursor says is written; the engine resumes at whole seconds only."""
    same = 0
    for record in records:
        if cursor and record.timestamp < cursor.timestamp:
            continue
        if cursor and record.timestamp == cursor.timestamp and same < cursor.records:
            same += 1
            continue
        yield record


def _seconds(cursor: LogCursor | None) -> int:
    if cursor is None:
        return 0
    return int(datetime.fromisoformat(cursor.timestamp[:19].decode() + "+00:00").timestamp())
