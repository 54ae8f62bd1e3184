"""A line on stderr that tells how far something is, in bytes."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

from appliance.cli.output import size

_EVERY_S = 0.2
_EVERY_S_IN_FILES = 10.0


class ByteProgress:
    """Writes a live line on a terminal, and elsewhere a line now and then."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._is_live = sys.stderr.isatty()
        self._told_at = time.monotonic()
        self._has_told = False

    def __call__(self, done: int, total: int) -> None:
        """Tell that so many bytes of all are done, unless it was told a moment ago."""
        now = time.monotonic()
        if now < self._told_at + (_EVERY_S if self._is_live else _EVERY_S_IN_FILES):
            return
        self._told_at, self._has_told = now, True
        text = f"{self._verb}: {size(done)} of {size(total)}"
        click.echo(f"\r\x1b[K{text}" if self._is_live else text, nl=not self._is_live, err=True)

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live and self._has_told:
            click.echo("\r\x1b[K", nl=False, err=True)
