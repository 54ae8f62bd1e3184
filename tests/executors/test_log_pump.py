from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.containers.engine import ContainerEngine
from appliance.executors.log_pump import is_whole, pump
from appliance.jobs.log import TRUNCATED_MARK, Kind, LogRecord, read

pytestmark = pytest.mark.unit

STAMPS = [f"2026-11-21T09:00:0{second}.00000000{second}Z".encode() for second in range(10)]


class RecordedEngine:
    """An engine whose log holds these records."""

    def __init__(self, records: list[LogRecord]) -> None:
        self.records = records

    def logs(self, _name: str, *, follow: bool = False, tail: int = 0) -> Iterator[LogRecord]:
        yield from self.records[-tail:]


def full(stamp: bytes, text: bytes) -> LogRecord:
    return LogRecord(stamp, Kind.FULL, text)


def part(stamp: bytes, text: bytes) -> LogRecord:
    return LogRecord(stamp, Kind.PART, text)


def pumped(records: list[LogRecord], log: Path, limit: int = 10**9) -> bytes:
    engine = cast(ContainerEngine, cast(Any, RecordedEngine(records)))
    pump(engine, "spud-1-1", log, limit, follow=True)
    return b"".join(piece for _, piece in read(log))


TWO_STREAMS = [
    part(STAMPS[1], b"bar 1\r"),
    full(STAMPS[3], b"epoch 1"),
    part(STAMPS[1], b"bar 2\r"),  # the parts of a line bear the time of its first
    full(STAMPS[2], b"epoch 2"),
    part(STAMPS[1], b"bar 3\r"),
]
LONG_LINE = [part(STAMPS[4], b"x" * 16_384) for _ in range(64)] + [full(STAMPS[4], b"end")]
CASES = {"two streams": TWO_STREAMS, "long line": LONG_LINE, "same time": [full(STAMPS[0], b"a")] * 5}


@pytest.mark.parametrize("records", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("cut", range(1, 5))
def test_a_pump_that_resumes_loses_and_doubles_nothing(
    tmp_path: Path, records: list[LogRecord], cut: int
) -> None:
    log = tmp_path / "output.log"
    pumped(records[:cut], log)
    whole = b"".join(record.text + (b"\n" if record.kind is Kind.FULL else b"") for record in records)
    assert pumped(records, log) == whole
    assert pumped(records, log) == whole


def test_a_line_torn_by_a_death_comes_whole(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(full(STAMPS[0], b"one").encode() + full(STAMPS[0], b"two").encode()[:-2])
    assert pumped([full(STAMPS[0], b"one"), full(STAMPS[0], b"two")], log) == b"one\ntwo\n"


def test_the_limit_leaves_one_mark_however_often_it_resumes(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    records = [full(STAMPS[second], b"x" * 100) for second in range(10)]
    first = pumped(records, log, limit=400)
    assert first.endswith(TRUNCATED_MARK + b"\n")
    assert pumped(records, log, limit=400) == first


def test_a_log_is_whole_when_it_ends_as_the_engines(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    engine = cast(ContainerEngine, cast(Any, RecordedEngine(TWO_STREAMS)))
    pumped(TWO_STREAMS[:3], log)
    assert not is_whole(engine, "spud-1-1", log)
    pumped(TWO_STREAMS, log)
    assert is_whole(engine, "spud-1-1", log)


def test_no_output_is_whole_too(tmp_path: Path) -> None:
    engine = cast(ContainerEngine, cast(Any, RecordedEngine([])))
    assert is_whole(engine, "spud-1-1", tmp_path / "output.log")
