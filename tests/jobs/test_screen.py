from __future__ import annotations

import pytest

from appliance.jobs.screen import Screen, collapse

pytestmark = pytest.mark.unit

KERAS = "".join(f"\x1b[1m{n}/3\x1b[0m \x1b[32m━━\x1b[0m" + "\x08" * 6 for n in (1, 2, 3)) + "\n"
TQDM = "outer 0%\n\rinner 0%\x1b[A\n\rinner 50%\x1b[A\router 50%\n\rinner 99%\x1b[A\router 99%\n\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("windows\r\nline\r\n", "windows\nline\n"),
        ("loading...\rok\n", "okading...\n"),
        ("loading...\r\x1b[Kok\n", "ok\n"),
        (KERAS, "3/3 ━━\n"),
        (TQDM, "outer 99%\ninner 99%\n"),
        ("\x1b]0;title\x07text\x1b(B\x07", "text"),
        ("\x1b[38;5;196mred\x1b[0m", "red"),
        ("<b>&amp;</b>\ttab", "<b>&amp;</b>\ttab"),
        ("\x1b[9999999999Aabc\x1b[99999999999Cd", "abc" + " " * 997 + "d"),
        ("a\n\nb\n", "a\n\nb\n"),
    ],
)
def test_a_text_reads_as_a_terminal_would_leave_it(written: str, shown: str) -> None:
    assert collapse(written) == shown


@pytest.mark.parametrize("written", [KERAS, TQDM, "a\r\nb\x1b[31mc\x1b]0;t\x07d\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size_read_the_same(written: str, size: int) -> None:
    screen = Screen(50)
    pieces = [written[start : start + size] for start in range(0, len(written), size)]
    assert "".join(map(screen.feed, pieces)) + screen.end() == collapse(written)


def test_a_line_comes_out_as_soon_as_it_ends() -> None:
    screen = Screen()
    assert screen.feed("1/2\r2/2\nnext") == "2/2\n"
    assert screen.feed(" line\n") == "next line\n"


def test_bars_that_are_followed_come_out_once_and_not_at_every_move() -> None:
    screen = Screen()
    out = screen.feed("outer 0%\n\rinner 0%\x1b[A")
    for percent in range(1, 100):
        out += screen.feed(f"\n\rinner {percent}%\x1b[A\router {percent}%")
    out += screen.feed("\n\nend\n") + screen.end()
    assert out == "outer 0%\nouter 99%\ninner 99%\nend\n"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    screen = Screen()
    given = sum(len(screen.feed("x" * 10_000)) for _ in range(100))
    assert given > 900_000
    assert given + len(screen.end()) == 1_000_000
