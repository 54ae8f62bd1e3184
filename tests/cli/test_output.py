from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.cli.output import duration, printable, size, span, table

pytestmark = pytest.mark.unit


def test_escape_sequences_cannot_reach_the_terminal() -> None:
    assert printable("\x1b[2J\x07name\x9b31m") == "\\x1b[2J\\x07name\\x9b31m"


def test_marks_that_reverse_text_are_shown() -> None:
    assert printable("\u202egnp.exe") == "\\u202egnp.exe"


def test_ordinary_text_stays() -> None:
    assert printable("größer 学習 🥔") == "größer 学習 🥔"


def test_columns_are_aligned() -> None:
    assert table(("ID", "NAME"), [("7", "a"), ("12", "bc")], right=("ID",)) == "ID  NAME\n 7  a\n12  bc"


def test_line_end_in_a_cell_makes_no_row() -> None:
    assert table(("NAME",), [("a\nb",)]) == "NAME\na\\nb"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (34 * 1024, "34 KiB"), (1024**2 - 1, "1.0 MiB")],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (185, "3 min 5 s"),
        (4800, "1 h 20 min"),
        (183_600, "2 d 3 h"),
        (3600, "1 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_span_without_an_end_goes_until_now() -> None:
    now = datetime(2026, 11, 21, 9, 1, tzinfo=UTC)
    assert span("2026-11-21T09:00:00Z", None, now) == "1 min"


def test_span_without_a_start_is_unknown() -> None:
    assert span(None, None) == "-"
