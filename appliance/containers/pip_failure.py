"""Why pip failed, read from what it printed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ERROR = re.compile(r"^\s*(?:ERROR|error|E): (?P<text>.+)")
_PYTHON_ERROR = re.compile(r"^\s+(?P<text>\w+(?:Error|Exception): .+)")
# What pip says of a package that it must build: the cause is what that package's own tools printed.
_OF_A_BUILD = ("subprocess-exited-with-error", "metadata-generation-failed", "failed-wheel-build-for-install")
_COLLECTING = re.compile(r"^(?:Collecting|Building wheel for) (?P<name>\S+)")
_NO_PROGRAM = re.compile(r"exec (?P<program>\S+) failed: ")
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|ProxyError|SSLError"
    r"|Temporary failure in name resolution|CERTIFICATE_VERIFY_FAILED|Network is unreachable"
)
_LINES = 8
_TEXT = 400


@dataclass(frozen=True, slots=True)
class PipFailure:
    """One clause, the lines that prove it, and what to do."""

    message: str
    evidence: tuple[str, ...]
    advice: str


def pip_failure(lines: Sequence[str], exit_code: int, file: str) -> PipFailure:
    """Return why an installation of the requirements in `file` ended with this exit code."""
    if lines and (match := _NO_PROGRAM.search(lines[-1])):
        return PipFailure(
            f"its requirements cannot be installed: the image has no {match['program']}",
            (lines[-1],),
            "Choose an image with Python 3.8 or later, or install nothing with --no-requirements.",
        )
    errors = [line.strip()[:_TEXT] for line in lines if _ERROR.match(line)]
    unreachable = [line.strip()[:_TEXT] for line in lines if _UNREACHABLE.search(line)]
    if unreachable:
        return PipFailure(
            "its requirements could not be installed: the package index could not be reached",
            (*unreachable[:1], *errors[:2]),
            "Check the box's network, proxy and PIP_INDEX_URL; an administrator sees [network] mode.",
        )
    cause, evidence = _cause(lines, errors)
    return PipFailure(
        f"its requirements could not be installed: {cause or f'pip ended with exit code {exit_code}'}",
        tuple(evidence[:_LINES]) or tuple(line[:_TEXT] for line in lines[-3:]),
        _advice(" ".join(errors), file),
    )


def _cause(lines: Sequence[str], errors: Sequence[str]) -> tuple[str, list[str]]:
    """Return pip's reason: its first plain error, or what a package's own build printed last."""
    built = [match["text"] for line in lines if (match := _PYTHON_ERROR.match(line))]
    is_of_a_build = any(sign in error for error in errors for sign in _OF_A_BUILD)
    if is_of_a_build and built:
        names = [match["name"] for line in lines if (match := _COLLECTING.match(line))]
        what = f"{names[-1]} could not be built: " if names else ""
        return f"{what}{built[-1][:_TEXT]}", [built[-1][:_TEXT], *errors]
    texts = [match["text"] for error in errors if (match := _ERROR.match(error))]
    return (texts[0].rstrip(".") if texts else ""), list(errors)


def _advice(errors: str, file: str) -> str:
    if "No space left" in errors:
        return "Free some space on the engine's disk, then try again."
    if "Could not find a version" in errors or "No matching distribution" in errors:
        return f"Check name and version in {file}, and whether it is made for the image's Python."
    if "conflicting dependencies" in errors or "ResolutionImpossible" in errors:
        return f"Loosen the versions in {file} that contradict each other."
    return f"Correct {file} and submit again, or install nothing with --no-requirements."
