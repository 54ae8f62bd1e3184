"""Print a job's log: live on a terminal, collapsed into a pipe or a file, or as it is."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from appliance.cli.terminal import RESET, TerminalFilter
from appliance.jobs.screen import WHOLE, Screen


class LogPrinter:
    """Prints the pieces of a log; bytes that are no UTF-8 stay as they are, but for a terminal.

    With `is_live`, what was printed once is not held back until a later line could change it.
    """

    def __init__(self, log: BinaryIO, *, is_raw: bool = False, is_live: bool = True) -> None:
        self._log = log
        self._is_raw = is_raw
        self._terminal = TerminalFilter() if log.isatty() else None
        self._screen = Screen(0 if is_live else WHOLE)
        self._decoder = codecs.getincrementaldecoder("utf-8")(
            "replace" if self._terminal else "surrogateescape"
        )

    def write(self, piece: bytes) -> None:
        """Print a piece at once."""
        self._log.write(piece if self._is_raw else self._shown(self._decoder.decode(piece)))
        self._log.flush()

    def end(self) -> None:
        """Print what was held back; further pieces begin anew."""
        if self._is_raw:
            return
        rest = self._shown(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        if self._terminal:
            rest += RESET.encode() if self._terminal.has_colour else b""
        else:
            rest += self._screen.end().encode("utf-8", "surrogateescape")
        self._log.write(rest)
        self._log.flush()

    def _shown(self, text: str) -> bytes:
        if self._terminal:
            return self._terminal.feed(text).encode()
        return self._screen.feed(text).encode("utf-8", "surrogateescape")
