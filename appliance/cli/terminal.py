"""A job's output on the user's terminal: colours, live progress bars, and nothing that could drive it."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    # Escape sequences whole, so that their letters do not stay behind.
    r"\x1b(?:\[(?P<arguments>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
    # All other control characters but backspace, tab, line end and carriage return, and what turns the
    # direction of writing, which could make a line read as another one.
    r"|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*|[ -/]*)?\Z")
_LONGEST_CODE = 1024
_COLOUR = re.compile(r"[\d;:]*")
_HIGHEST = 50
RESET = "\x1b[0m"


class TerminalFilter:
    """Lets text, colours and the moves of progress bars through, these only within the job's own lines."""

    def __init__(self) -> None:
        self._rest = ""
        self._lines_above = 0
        self.has_colour = False

    def feed(self, text: str) -> str:
        """Return what is safe to write to the terminal."""
        text = self._rest + text
        start = text.rfind("\x1b")
        is_unfinished = start >= 0 and len(text) - start < _LONGEST_CODE and _UNFINISHED.match(text, start)
        self._rest = text[start:] if is_unfinished else ""
        if is_unfinished:
            text = text[:start]
        safe: list[str] = []
        place = 0
        for code in _UNSAFE.finditer(text):
            self._count(text[place : code.start()])
            safe += (text[place : code.start()], self._allowed(code))
            place = code.end()
        self._count(text[place:])
        return "".join((*safe, text[place:]))

    def _count(self, text: str) -> None:
        self._lines_above = min(_HIGHEST, self._lines_above + text.count("\n"))

    def _allowed(self, code: re.Match[str]) -> str:
        arguments, final = code["arguments"] or "", code["final"]
        if final == "m" and _COLOUR.fullmatch(arguments):
            self.has_colour = True
            return code[0]
        if final == "K" and arguments in ("", "0", "1", "2"):
            return code[0]
        if final == "A" and (arguments == "" or arguments.isdigit()):
            up = min(int(arguments[:4] or 1), self._lines_above)
            self._lines_above -= up
            return f"\x1b[{up}A" if up else ""
        return ""
