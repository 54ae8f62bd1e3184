from __future__ import annotations

from pathlib import Path

import pytest

from appliance.jobs.log import LogCursor, LogRecord, open_for_append, read, tail

pytestmark = pytest.mark.unit

FIRST = LogRecord(b"2026-11-21T09:00:00.000000001Z", is_full=True, text=b"one")
SECOND = LogRecord(b"2026-11-21T09:00:00.000000002Z", is_full=True, text=b"two words")


def test_a_new_log_has_no_cursor(tmp_path: Path) -> None:
    file, cursor = open_for_append(tmp_path / "output.log")
    file.close()
    assert cursor is None


def test_the_cursor_is_read_back_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_bytes(FIRST.encode() + SECOND.encode() + SECOND.encode())
    file, cursor = open_for_append(path)
    file.close()
    assert cursor == LogCursor(SECOND.timestamp, 2)


def test_a_line_cut_off_by_a_death_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.write_bytes(FIRST.encode() + SECOND.encode()[:-5])
    file, cursor = open_for_append(path)
    file.close()
    assert path.read_bytes() == FIRST.encode()
    assert cursor == LogCursor(FIRST.timestamp, 1)


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
