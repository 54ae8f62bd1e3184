from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.errors import InvalidRequest
from appliance.jobs import log
from appliance.jobs.log import Kind, LogRecord
from appliance.web.log_text import check_offset, read_from, since_offset, tail_offset
from tests.web.box import STAMP

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of 5000 lines, each of them in two records."""
    file = tmp_path / "output.log"
    records = [
        LogRecord(STAMP, Kind.FULL if part else Kind.PART, b"%d" % line)
        for line in range(5000)
        for part in (0, 1)
    ]
    file.write_bytes(b"".join(record.encode() for record in records))
    return file


@pytest.mark.parametrize("lines", [1, 2, 999, 4999, 5000])
def test_the_tail_begins_at_a_line(path: Path, lines: int) -> None:
    text, _ = read_from(path, tail_offset(path, lines))
    shown = text.splitlines()
    assert len(shown) == lines
    assert shown[0] == f"{5000 - lines}" * 2


def test_more_lines_than_there_are_is_the_whole_log(path: Path) -> None:
    assert tail_offset(path, 6000) == 0
    assert tail_offset(path.parent / "missing.log", 10) == 0


def test_an_offset_within_a_record_is_refused(path: Path) -> None:
    with pytest.raises(InvalidRequest):
        check_offset(path, 5)
    for offset, _ in list(log.read(path))[:3]:
        check_offset(path, offset)
    check_offset(path, 10**9)


@pytest.mark.parametrize("count", [100, 200_000])
def test_what_was_written_since_a_time_is_found_in_logs_of_any_size(tmp_path: Path, count: int) -> None:
    path = tmp_path / "output.log"
    records = [LogRecord(log.stamp(1000.5 + number), Kind.FULL, b"%d" % number) for number in range(count)]
    path.write_bytes(b"".join(record.encode() for record in records))
    for wanted in (0, 1, count // 3, count - 1):
        text, _ = read_from(path, since_offset(path, log.stamp(1000.5 + wanted - 0.25)))
        assert text.partition("\n")[0] == f"{wanted}"
        assert text.count("\n") == count - wanted
    assert since_offset(path, log.stamp(1000.5 + count)) == path.stat().st_size


def test_a_long_line_is_not_begun_in_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    parts = [LogRecord(log.stamp(20), Kind.PART, b"x" * 16_384) for _ in range(200)]
    records = [
        LogRecord(log.stamp(10), Kind.FULL, b"early"),
        *parts,
        LogRecord(log.stamp(30), Kind.FULL, b"end"),
    ]
    path.write_bytes(b"".join(record.encode() for record in records))
    assert read_from(path, since_offset(path, log.stamp(15)))[0].startswith("xxx")
    assert read_from(path, since_offset(path, log.stamp(25)))[0] == ""


def test_the_end_of_a_large_log_is_found_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    with path.open("wb") as file:
        for number in range(256):
            line = LogRecord(log.stamp(number), Kind.FULL, b"x" * 990).encode()
            file.write(line * 1024)
    began = time.process_time()
    assert since_offset(path, log.stamp(255)) == 255 * 1024**2
    assert time.process_time() - began < 0.2
