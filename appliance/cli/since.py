"""`--since`: a moment in the past, as people write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(
    r"(?=\d)((?P<days>\d{1,6})d)?((?P<hours>\d{1,6})h)?((?P<minutes>\d{1,6})m)?((?P<seconds>\d{1,8})s)?"
)


def parse_since(text: str, now: datetime) -> datetime:
    """Return the moment of `10m`, `2h`, `1d12h`, RFC 3339 or local `2026-11-22 10:00`; or ValueError."""
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(**{unit: int(count) for unit, count in match.groupdict().items() if count})
    return datetime.fromisoformat(text.strip()).astimezone()


class Since(click.ParamType[str]):
    """A moment in the past; the value is RFC 3339 in UTC, as the API takes it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the moment, or end the command with a sentence."""
        try:
            since = parse_since(str(value), datetime.now(UTC))
            return since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time. Use 10m, 2h, 1d, or a date as in '2026-11-22 10:00'.", param, ctx
            )


def since_option(help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option `--since`."""
    return click.option(
        "--since", type=Since(), metavar="TIME", help=f"{help_text}: 10m, 2h, '2026-11-22 10:00' or RFC 3339."
    )
