from __future__ import annotations

import pytest

from appliance.containers.log_frames import FrameParser
from appliance.jobs.log import Kind, LogRecord

pytestmark = pytest.mark.unit

STAMP = b"2026-11-21T09:00:00.000000001Z"


def frame(text: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


LOG = (
    frame(STAMP + b" one\n")
    + frame(STAMP + b" \n", 2)
    + frame(STAMP + b" 10%\r20%")
    + frame(STAMP + b" two\nlines\n")
)
RECORDS = [
    LogRecord(STAMP, Kind.FULL, b"one"),
    LogRecord(STAMP, Kind.FULL, b""),
    LogRecord(STAMP, Kind.PART, b"10%\r20%"),
    LogRecord(STAMP, Kind.FULL, b"two lines"),
]


@pytest.mark.parametrize("size", [1, 3, 8, 50, 1000])
def test_a_log_in_pieces_of_any_size_is_the_same(size: int) -> None:
    parser = FrameParser()
    records = []
    for start in range(0, len(LOG), size):
        records += parser.feed(LOG[start : start + size])
    assert records == RECORDS
    assert not parser.is_within_frame


def test_a_log_that_broke_off_is_known_as_such() -> None:
    parser = FrameParser()
    parser.feed(LOG[:-3])
    assert parser.is_within_frame


def test_the_engines_own_words_are_no_output() -> None:
    parser = FrameParser()
    assert parser.feed(frame(b"Error grabbing logs: unexpected EOF\n")) == []
    assert parser.complaints == [b"Error grabbing logs: unexpected EOF\n"]
