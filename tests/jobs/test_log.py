from __future__ import annotations

from pathlib import Path

import pytest

from appliance.jobs.log import TRUNCATED_MARK, LogCursor, LogRecord, open_for_append, read, tail

pytestmark = pytest.mark.unit

FIRST = LogRecord(b"2026-11-21T09:00:00.000000001Z", is_full=True, text=b"one")
SECOND = LogRecord(b"2026-11-21T09:00:00.000000002Z", is_full=True, text=b"two words")


def cursor_of(path: Path, content: bytes) -> LogCursor:
    path.write_bytes(content)
    file, cursor = open_for_append(path)
    file.close()
    return cursor


def test_a_new_log_begins_at_the_beginning(tmp_path: Path) -> None:
    assert cursor_of(tmp_path / "output.log", b"") == LogCursor(0, None)


def test_the_cursor_counts_what_is_written(tmp_path: Path) -> None:
    content = FIRST.encode() + SECOND.encode() + SECOND.encode()
    assert cursor_of(tmp_path / "output.log", content) == LogCursor(3, SECOND)


def test_a_progress_bar_does_not_end_a_record(tmp_path: Path) -> None:
    bar = LogRecord(FIRST.timestamp, is_full=False, text=b"10%\r50%\r100%")
    assert cursor_of(tmp_path / "output.log", bar.encode()).records == 1
    assert tail(tmp_path / "output.log", 1) == ["10%\r50%\r100%"]


def test_a_line_cut_off_by_a_death_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert cursor_of(path, FIRST.encode() + SECOND.encode()[:-5]).records == 1
    assert path.read_bytes() == FIRST.encode()


def test_a_log_that_reached_its_limit_stays_so(tmp_path: Path) -> None:
    mark = LogRecord(FIRST.timestamp, is_full=True, text=TRUNCATED_MARK)
    assert cursor_of(tmp_path / "output.log", FIRST.encode() + mark.encode()).is_truncated


def test_reading_resumes_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_bytes(FIRST.encode() + SECOND.encode())
    (offset, text), *_ = read(path)
    assert text == b"one\n"
    assert [piece for _, piece in read(path, offset)] == [b"two words\n"]


def test_parts_of_a_long_line_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    part = LogRecord(FIRST.timestamp, is_full=False, text=b"x" * 16384)
    path.write_bytes(part.encode() + FIRST.encode())
    assert b"".join(piece for _, piece in read(path)) == b"x" * 16384 + b"one\n"


def test_the_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_bytes(SECOND.encode() * 5000)
    assert set(tail(path, 9999)) == {"two words"}


def test_an_absent_log_is_empty(tmp_path: Path) -> None:
    assert list(read(tmp_path / "output.log")) == []
    assert tail(tmp_path / "output.log", 10) == []
