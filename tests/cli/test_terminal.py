from __future__ import annotations

import pytest

from appliance.cli.terminal import TerminalFilter

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        "plain\tö\r\n",
        "10%\r20%\x08\x08",
        "\x1b[1;31mred\x1b[0m",
        "\x1b[38;2;1;2;3mx\x1b[m",
        "\r\x1b[Kline",
        "🙂",
    ],
)
def test_text_colours_and_bars_pass(text: str) -> None:
    assert TerminalFilter().feed(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b]0;title\x07a", "a"),  # the window's title
        ("\x1b]52;c;cm0gLXJm\x07a", "a"),  # the clipboard
        ("\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[6n\x1b[c\x1b[21ta", "a"),  # what makes a terminal answer, as if typed
        ("\x1b[2J\x1b[Ha", "a"),
        ("\x1b[?1049h\x1b[?1000ha", "a"),
        ("\x1bP$q\x1b\\a", "a"),
        ("\x1bca\x1b(0b", "ab"),
        ("\x9b6na\x00\x07\x7f", "6na"),
        ("\u202eabc", "abc"),
        ("\x1b[>4;2m\x1b[?25ma", "a"),
        ("\x1b[5A\x1b[Aspoof", "spoof"),  # the user's own lines
        ("\x1b\x1b[31ma", "\x1b[31ma"),
    ],
)
def test_nothing_else_reaches_the_terminal(text: str, safe: str) -> None:
    whole = TerminalFilter()
    assert whole.feed(text) == safe
    pieces = TerminalFilter()
    assert "".join(pieces.feed(character) for character in text) == safe


def test_bars_move_within_the_jobs_own_lines() -> None:
    terminal = TerminalFilter()
    assert terminal.feed("outer\ninner\x1b[A\router\n\x1b[7A") == "outer\ninner\x1b[1A\router\n\x1b[1A"


def test_an_endless_code_is_not_waited_for() -> None:
    terminal = TerminalFilter()
    terminal.feed("\x1b]" + "x" * 2000)
    assert terminal.feed("line\n").endswith("line\n")
