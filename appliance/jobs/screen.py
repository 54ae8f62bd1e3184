"""What a terminal would show in the end: progress bars collapse to their last state. Pure.

Understood are carriage return, backspace, and moving and erasing as Keras, tqdm and rich do it (ECMA-48,
section 8.3). Colours and all other codes are left out.
"""

from __future__ import annotations

import re

WHOLE = 50
"""Lines held back where all of the output is there: more bars than one screen has."""

_MOST_ROWS = 100
_LONGEST_LINE = 65_536
_CODE = re.compile(
    r"[\r\n\x08]|\x1b\[(?P<count>\d*)(?P<move>[ABCDGJK])"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_]|[ -/]*[0-~])|\x07"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
_LONGEST_CODE = 1024


class Screen:
    """The rows of an output that may change still. `hold` of them are kept back at first.

    More are kept once the output has moved up over them; a row that was given out before is written again.
    """

    def __init__(self, hold: int = 0) -> None:
        self._hold = hold
        self._rows = [""]
        self._row = 0
        self._column = 0
        self._given = 0
        self._rest = ""

    @property
    def cursor(self) -> tuple[int, int]:
        """How many rows are below the cursor, and its column."""
        return len(self._rows) - 1 - self._row, self._column

    def feed(self, text: str) -> str:
        """Return the lines that are final now."""
        text, self._rest = _split_unfinished(self._rest + text)
        if self._is_plain(text):
            whole, end, self._rows[0] = (self._rows[0] + text).rpartition("\n")
            self._column = len(self._rows[0])
            self._given += 1
            return whole + end + self._long_line()
        given: list[str] = []
        place = 0
        for code in _CODE.finditer(text):
            self._write(text[place : code.start()])
            place = code.end()
            self._obey(code, given)
        self._write(text[place:])
        return "".join(given) + self._long_line()

    def end(self) -> str:
        """Return the rest, at the end of the output."""
        rest = "\n".join(self._rows)
        self._rows, self._row, self._column, self._rest = [""], 0, 0, ""
        return rest

    def _is_plain(self, text: str) -> bool:
        is_at_end = len(self._rows) == 1 and self._column == len(self._rows[0])
        return not self._hold and is_at_end and not any(code in text for code in "\r\x08\x1b\x07")

    def _write(self, text: str) -> None:
        if not text:
            return
        row, behind = self._rows[self._row], self._column + len(text)
        self._rows[self._row] = row[: self._column].ljust(self._column) + text + row[behind:]
        self._column = behind

    def _obey(self, code: re.Match[str], given: list[str]) -> None:
        name = code["move"] or code[0]
        count = int(code["count"][:4] or 1) if code["move"] and code["count"] != "0" else 1
        if name == "\n":
            self._down(1, given)
            self._column = 0
        elif name == "\r":
            self._column = 0
        elif name in ("\x08", "D"):
            self._column = max(0, self._column - count)
        elif name == "C":
            self._column = min(self._column + count, _MOST_ROWS * 10)
        elif name == "G":
            self._column = min(count, _MOST_ROWS * 10) - 1
        elif name == "A":
            self._up(count)
        elif name == "B":
            self._down(min(count, len(self._rows) - 1 - self._row), given)
        elif name in ("J", "K"):
            self._erase(code["count"], is_all_below=name == "J")

    def _down(self, count: int, given: list[str]) -> None:
        for _ in range(count):
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append("")
        while len(self._rows) - 1 > self._hold and self._row:
            given.append(self._rows.pop(0) + "\n")
            self._row -= 1
            self._given += 1

    def _up(self, count: int) -> None:
        missing = min(count - self._row, self._given, _MOST_ROWS - len(self._rows))
        if missing > 0:
            self._rows[:0] = [""] * missing
            self._row += missing
            self._given -= missing
        self._row = max(0, self._row - count)
        self._hold = max(self._hold, len(self._rows) - 1 - self._row)

    def _erase(self, count: str, *, is_all_below: bool) -> None:
        row = self._rows[self._row]
        kept = {"1": " " * self._column + row[self._column :], "2": ""}.get(count, row[: self._column])
        self._rows[self._row] = kept
        if is_all_below and count in ("", "0"):
            del self._rows[self._row + 1 :]

    def _long_line(self) -> str:
        """Return the beginning of a line that is too long to be kept."""
        if len(self._rows) > 1 or self._column < max(_LONGEST_LINE, len(self._rows[0])):
            return ""
        piece, self._rows[0], self._column = self._rows[0], "", 0
        return piece


def collapse(text: str) -> str:
    """Return a whole text as a terminal would show it in the end."""
    screen = Screen(WHOLE)
    return screen.feed(text) + screen.end()


def _split_unfinished(text: str) -> tuple[str, str]:
    """Return the text without a code that has not come whole yet, and the code."""
    place = text.rfind("\x1b")
    if place < 0 or len(text) - place > _LONGEST_CODE or not _UNFINISHED.match(text, place):
        return text, ""
    return text[:place], text[place:]
