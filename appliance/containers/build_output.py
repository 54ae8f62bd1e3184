"""What a running build prints, read as steps, downloads and the reason of a failure (pure)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")
_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")  # pip --progress-bar=raw
_DOWNLOADING = re.compile(r"^\s*Downloading (\S+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN_ERROR = re.compile(r"^\s*(?:ERROR|E|error|fatal): (.+)")  # pip, apt and mmdebstrap, most tools, git
_PYTHON_ERROR = re.compile(r"^(\w+(?:Error|Exception): .+)")

_LONGEST_LINE = 4096
_MOST_LINES = 5000
"""What is remembered of the newest: a package's own build may write without end, and never a whole line."""


@dataclass(frozen=True, slots=True)
class Step:
    """The build reached its next step."""

    number: int
    total: int
    instruction: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes that came or went so far."""

    name: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """Anything else that the build said."""

    text: str


Event = Step | Transfer | Line


@dataclass(slots=True)
class BuildOutput:
    """Reads the output piece by piece and remembers the current step for a failure's sentence."""

    step: Step | None = None
    _rest: str = ""
    _transfer: str = ""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))

    def feed(self, piece: str) -> list[Event]:
        """Return what the piece says; an unfinished last line waits for the next piece. Long ones are cut."""
        *lines, rest = (self._rest + _COLOUR.sub("", piece).replace("\r", "\n")).split("\n")
        self._rest = rest[:_LONGEST_LINE]
        return [self._read(line[:_LONGEST_LINE].rstrip()) for line in lines if line.strip()]

    def _read(self, line: str) -> Event:
        if match := _STEP.match(line):
            self.step = Step(int(match[1]), int(match[2]), match[3])
            self._lines.clear()
            return self.step
        if match := _PROGRESS.match(line):
            return Transfer(self._transfer, int(match[1]), int(match[2]))
        if match := _DOWNLOADING.match(line):
            self._transfer = match[1]
        self._lines.append(line)
        return Line(line)

    def failure(self, reason: str) -> str:
        """Return the step and its cause in words; `reason` is the engine's own, often only an exit code."""
        cause = _cause([*self._lines, self._rest]) or reason
        if self.step is None:
            return f"before its first step: {cause}"
        return f"at step {self.step.number}/{self.step.total} ({_shorten(self.step.instruction)}): {cause}"


def _cause(lines: list[str]) -> str:
    # The first plain error names the cause, those after it are its consequences; of Python's the last does.
    plain = [match[1] for line in lines if (match := _PLAIN_ERROR.match(line))]
    python = [match[1] for line in lines if (match := _PYTHON_ERROR.match(line))]
    said = [
        line for line in lines if line.strip() and not line.startswith((" --->", "Removing intermediate"))
    ]
    found = plain[:1] or python[-1:] or said[-1:]
    return found[0].strip() if found else ""


def _shorten(text: str, length: int = 70) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
