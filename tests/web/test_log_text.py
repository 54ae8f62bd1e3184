from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import InvalidRequest
from appliance.jobs import log
from appliance.jobs.log import Kind, LogRecord
from appliance.web.log_text import as_on_terminal, check_offset, read_from, tail_offset
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


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("windows\r\nline", "windows\nline"),
        ("\x1b[1m1/10\x1b[0m \x1b[32m━━\x1b[0m\x08\x08", "1/10 ━━"),
        ("\x1b]0;title\x07text", "text"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
    ],
)
def test_the_text_reads_as_on_a_terminal(written: str, shown: str) -> None:
    assert as_on_terminal(written) == shown
