from __future__ import annotations

import pytest

from appliance.cli.events import Event, EventParser

pytestmark = pytest.mark.unit

STREAM = b': hello\n\nid: 12\nevent: log\ndata: "a"\n\nevent: end\ndata: {}\n\n'
EVENTS = [Event("log", '"a"', "12"), Event("end", "{}")]


def test_events_are_parsed() -> None:
    assert EventParser().feed(STREAM) == EVENTS


def test_events_may_arrive_byte_by_byte() -> None:
    parser = EventParser()
    pieces = [STREAM[position : position + 1] for position in range(len(STREAM))]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS


def test_event_without_its_empty_line_is_not_complete() -> None:
    assert EventParser().feed(b"event: log\ndata: 1\n") == []


def test_lines_of_data_are_joined() -> None:
    assert EventParser().feed(b"data: a\r\ndata: b\r\n\r\n") == [Event("message", "a\nb")]
