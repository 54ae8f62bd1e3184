from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.jobs.log import (
    SPUD_PREFIX,
    TRUNCATED_MARK,
    Kind,
    LogCursor,
    LogRecord,
    append_notice,
    is_line_start,
    open_for_append,
    read,
    read_cursor,
    stamp,
    tail,
)

pytestmark = pytest.mark.unit

FIRST = LogRecord(b"2026-11-21T09:00:00.000000001Z", Kind.FULL, b"one")
SECOND = LogRecord(b"2026-11-21T09:00:00.000000002Z", Kind.FULL, b"two words")
PART = LogRecord(FIRST.timestamp, Kind.PART, b"10%\r50%\r100%")
MARK = LogRecord(FIRST.timestamp, Kind.SPUD, TRUNCATED_MARK)
LOOKALIKE = LogRecord(FIRST.timestamp, Kind.FULL, FIRST.timestamp + b" S " + TRUNCATED_MARK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def cursor_of(path: Path, content: bytes) -> LogCursor:
    path.write_bytes(content)
    file, cursor = open_for_append(path)
    file.close()
    return cursor


def text(path: Path, **options: int) -> bytes:
    return b"".join(piece for _, piece in read(path, **options))


def test_a_new_log_begins_at_the_beginning(path: Path) -> None:
    assert cursor_of(path, b"") == LogCursor(0)


def test_the_cursor_counts_what_is_written(path: Path) -> None:
    assert cursor_of(path, FIRST.encode() + SECOND.encode() + PART.encode()) == LogCursor(3)


def test_a_progress_bar_does_not_end_a_record(path: Path) -> None:
    assert cursor_of(path, PART.encode()).records == 1
    assert tail(path, 1) == ["10%\r50%\r100%"]


def test_a_line_cut_off_by_a_death_is_removed(path: Path) -> None:
    assert cursor_of(path, FIRST.encode() + SECOND.encode()[:-5]).records == 1
    assert path.read_bytes() == FIRST.encode()


def test_what_spud_wrote_is_read_but_not_counted(path: Path) -> None:
    append_notice(path, "Installing numpy\n 50 %", at=0.5)
    with path.open("ab") as file:
        file.write(FIRST.encode())
    assert read_cursor(path) == LogCursor(1)
    assert text(path) == SPUD_PREFIX + b"Installing numpy\n" + SPUD_PREFIX + b" 50 %\none\n"
    assert path.read_bytes().startswith(b"1970-01-01T00:00:00.500000000Z S Installing")


def test_a_job_cannot_write_in_the_name_of_spud(path: Path) -> None:
    assert cursor_of(path, FIRST.encode() + LOOKALIKE.encode()) == LogCursor(2)
    assert text(path) == b"one\n" + LOOKALIKE.text + b"\n"


def test_a_notice_begins_a_line_of_its_own(path: Path) -> None:
    path.write_bytes(PART.encode() + b"torn")
    append_notice(path, "It was lost.")
    assert text(path) == PART.text + b"\n" + SPUD_PREFIX + b"It was lost.\n"


def test_a_notice_is_no_evidence(path: Path) -> None:
    path.write_bytes(FIRST.encode())
    append_notice(path, "Stopped.")
    assert tail(path, 5) == ["one"]


def test_a_log_that_reached_its_limit_stays_so(path: Path) -> None:
    kept = FIRST.encode() + MARK.encode()
    assert cursor_of(path, kept + SECOND.encode() * 9) == LogCursor(1, len(kept))


def test_reading_resumes_at_an_offset(path: Path) -> None:
    path.write_bytes(FIRST.encode() + SECOND.encode())
    (offset, first), *_ = read(path, block_bytes=len(FIRST.encode()) + 3)
    assert first == b"one\n"
    assert text(path, offset=offset) == b"two words\n"


@pytest.mark.parametrize("block_bytes", [1, 7, 40, 1000])
def test_blocks_of_any_size_hold_the_same(path: Path, block_bytes: int) -> None:
    path.write_bytes(PART.encode() + FIRST.encode() + MARK.encode() + SECOND.encode())
    assert text(path, block_bytes=block_bytes) == text(path)


def test_a_line_that_is_still_being_written_waits(path: Path) -> None:
    path.write_bytes(FIRST.encode() + SECOND.encode()[:-1])
    assert list(read(path)) == [(len(FIRST.encode()), b"one\n")]


def test_parts_of_a_long_line_are_joined(path: Path) -> None:
    part = LogRecord(FIRST.timestamp, Kind.PART, b"x" * 16384)
    path.write_bytes(part.encode() + FIRST.encode())
    assert text(path) == b"x" * 16384 + b"one\n"
    assert is_line_start(path, 0)
    assert not is_line_start(path, len(part.encode()))
    assert is_line_start(path, path.stat().st_size)


def test_the_tail_begins_with_a_whole_line(path: Path) -> None:
    path.write_bytes(SECOND.encode() * 5000)
    assert set(tail(path, 9999)) == {"two words"}


def test_an_absent_log_is_empty(path: Path) -> None:
    assert list(read(path)) == []
    assert tail(path, 10) == []
    assert read_cursor(path) == LogCursor(0)


def test_a_log_of_256_mb_is_counted_in_a_moment(path: Path) -> None:
    lines = LogRecord(FIRST.timestamp, Kind.FULL, b"x" * 66).encode() * 10_000  # 100 bytes each
    with path.open("wb") as file:
        for _ in range(256):
            file.write(lines)
    began = time.process_time()
    assert read_cursor(path).records == 2_560_000
    assert time.process_time() - began < 1.0


def test_times_are_written_as_the_engine_writes_them() -> None:
    assert stamp(1_795_251_600.25) == b"2026-11-21T09:00:00.250000000Z"
