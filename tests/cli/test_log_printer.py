from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import pytest

from appliance.cli.log_printer import LogPrinter

pytestmark = pytest.mark.unit


@pytest.fixture
def terminal() -> Iterator[tuple[BinaryIO, int]]:
    """A terminal: what is written to it, and where its screen is read."""
    screen, line = pty.openpty()
    with os.fdopen(line, "wb", buffering=0) as file:
        yield file, screen
    os.close(screen)


def shown(screen: int, expected: bytes) -> bool:
    """Return whether the screen shows this next; a terminal hands on what is written in pieces."""
    read = b""
    while len(read) < len(expected):
        read += os.read(screen, len(expected) - len(read))
    return read == expected


def test_a_bar_moves_on_a_terminal_before_its_line_ends(terminal: tuple[BinaryIO, int]) -> None:
    file, screen = terminal
    printer = LogPrinter(file)
    printer.write(b"\r\x1b[32m10%\x1b[0m")
    assert shown(screen, b"\r\x1b[32m10%\x1b[0m")
    printer.write(b"\r20%")
    assert shown(screen, b"\r20%")


def test_a_terminal_is_not_driven_and_its_colours_are_given_back(terminal: tuple[BinaryIO, int]) -> None:
    file, screen = terminal
    printer = LogPrinter(file)
    printer.write(b"\x1b]0;title\x07\x1b[31mred\xff\x9b6n")
    printer.end()
    assert shown(screen, "\x1b[31mred\ufffd\ufffd6n\x1b[0m".encode())


def test_a_character_in_two_pieces_is_one(terminal: tuple[BinaryIO, int]) -> None:
    file, screen = terminal
    printer = LogPrinter(file)
    printer.write(b"gr\xc3")
    printer.write(b"\xbcn")
    assert shown(screen, "grün".encode())


def test_a_pipe_gets_lines_as_they_end_and_the_rest_at_the_end() -> None:
    out = BytesIO()
    printer = LogPrinter(out)
    printer.write(b"10%\r20%\n30%\xff\r")
    assert out.getvalue() == b"20%\n"
    printer.end()
    assert out.getvalue() == b"20%\n30%\xff"


def test_raw_is_raw_even_on_a_terminal(terminal: tuple[BinaryIO, int]) -> None:
    file, screen = terminal
    LogPrinter(file, is_raw=True).write(b"\x1b[2J\xff")
    assert shown(screen, b"\x1b[2J\xff")
