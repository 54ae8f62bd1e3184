"""What the commands print: tables, sizes, times, JSON. Answers go to stdout, notes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_GAP = "  "


def printable(text: str) -> str:
    """Return text that can do nothing to a terminal.

    Control characters, escape sequences and invisible marks, as another user may put into a name or a
    message, become the escapes of Python; a tab becomes a space.
    """
    if text.isprintable():
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character == "\t":
        return " "
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def note(text: str) -> None:
    """Print a note on stderr; only its own line ends reach the terminal."""
    for line in text.split("\n"):
        click.echo(printable(line), err=True)


def print_json(value: object) -> None:
    """Print a value for programs; everything beyond ASCII is escaped."""
    click.echo(json.dumps(value, indent=2))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return aligned columns; those whose header is in `right` are aligned to the right."""
    lines = [tuple(headers), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        _GAP.join(
            cell.rjust(width) if header in right else cell.ljust(width)
            for header, cell, width in zip(headers, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def fit_terminal(text: str) -> str:
    """Cut the lines to the width of the terminal; whole where stdout is none."""
    if not sys.stdout.isatty():
        return text
    width = os.get_terminal_size(sys.stdout.fileno()).columns or len(text)
    return "\n".join(line if len(line) <= width else line[: width - 1] + "…" for line in text.split("\n"))


def plural(count: int, noun: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count_bytes: float) -> str:
    """Return bytes as `512 B`, `34 KiB`, `1.5 GiB`; units are powers of 1024."""
    if count_bytes < 1024:
        return f"{count_bytes:.0f} B"
    value = float(count_bytes)
    unit = "B"
    for unit in _UNITS:  # noqa: B007  the last one reached is the answer
        value /= 1024
        if value < 1023.5:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: `42 s`, `3 min 5 s`, `1 h 20 min`, `2 d 3 h`."""
    whole = max(0, round(seconds))
    for unit, name, small_unit, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            large, small = divmod(whole, unit)
            small //= small_unit
            return f"{large} {name} {small} {small_name}" if small else f"{large} {name}"
    return f"{whole} s"


def parse_time(text: str | None) -> datetime | None:
    """Return the API's RFC 3339 time, None when it is not known."""
    return datetime.fromisoformat(text) if text else None


def local_time(text: str | None) -> str:
    """Return the API's time on the user's clock; a dash when it is not known."""
    at = parse_time(text)
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def span(start: str | None, end: str | None, now: datetime | None = None) -> str:
    """Return the time from start to end, or until now without an end; a dash without a start."""
    begin = parse_time(start)
    if begin is None:
        return "-"
    finish = parse_time(end) or now or datetime.now(UTC)
    return duration((finish - begin).total_seconds())
