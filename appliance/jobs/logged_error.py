"""The error that ended a job, as its log tells it. Pure.

A log is no proof by itself: libraries print tracebacks of errors that they survive, launchers print one of
their own after the job's, and workers print one each. What is read here is the error that nobody caught.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# torch.distributed: `[rank0]: ` of its excepthook (torch/distributed/c10d_logger.py, distributed_c10d.py) and
# `[default0]:` of torchrun --tee.
_RANK = re.compile(r"^\[(?P<rank>(?:rank|default)\d+)\]: ?")
# Python's own header, and the one within a message that a worker sent (torch/_utils.py ExceptionWrapper,
# multiprocessing/pool.py). rich draws it into a frame.
_HEADER = re.compile(r"^(?:╭─+ |Original )?Traceback \(most recent call last\)(?::| ─)")
_FRAME = re.compile(r'^\s+File "')
_INDENTED = ("│", "╭", "╰", " ", "\t")
_ERROR = re.compile(
    r"^(?P<name>[A-Za-z_][\w.]*)(?: \(see above for traceback\))?(?:: ?(?P<text>.*))?$", re.DOTALL
)
_SYNTAX_ERROR = re.compile(r"^(SyntaxError|IndentationError|TabError): ")
_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"
_IGNORED = "Exception ignored in"
# Errors that only say that another process failed.
_LAUNCHERS = {"ChildFailedError", "CalledProcessError", "ProcessRaisedException", "ProcessExitedException"}
_PEERS = {"DistBackendError", "DistNetworkError", "DistStoreError", "ConnectionResetError", "BrokenPipeError"}

# How the lines go on of messages that run over many: TensorFlow's, XLA's and PyTorch's; and wandb's farewell.
_OF_MESSAGES = (
    "Detected at node",
    "Errors may have originated",
    "Function call stack",
    "Hint: ",
    "OOM when allocating",
    "Original stack trace",
    "0 derived errors",
    "0 successful operations",
    "BufferAssignment",
    "Peak buffers",
    "For simplicity, JAX",
    "CUDA kernel errors",
    "For debugging consider",
    "Compile with `TORCH",
    "Device-side assertion",
    "---",
    "wandb: ",
)
_OWN_CODE = 'File "/workspace/'
_MOST_MESSAGE_LINES = 60
_LONGEST_LINE = 500
_MOST_OF_LINE = 2000
"""Of each end of a line: patterns would take minutes for a longer one, and all threads wait for them."""
_MOST_OF_MESSAGE = 16_000
_MOST_AFTERWARDS = 5


@dataclass(frozen=True, slots=True)
class LoggedError:
    """An uncaught error: its class, the first line of its message, all of it, and the call that raised it.

    `is_last` is False when the log goes on after it as one of a job that survived it would. `causes` are the
    errors that it was raised from, nearest first.
    """

    name: str
    text: str
    message: str
    place: str | None
    is_last: bool = True
    causes: tuple[LoggedError, ...] = ()

    @property
    def kind(self) -> str:
        """The class without its module."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def line(self) -> str:
        """The error as the last line of a traceback has it."""
        return (f"{self.name}: {self.text}" if self.text else self.name)[:_LONGEST_LINE]

    @property
    def evidence(self) -> tuple[str, ...]:
        """The call that raised it and the error itself."""
        return (*((self.place,) if self.place else ()), self.line)


def plain(lines: Sequence[str]) -> list[str]:
    """Return the lines without colours, of progress bars what was seen last, and of long ones both ends."""
    seen = (_ANSI.sub("", line.rstrip("\r\n").rpartition("\r")[2]).rstrip() for line in lines)
    return [
        line if len(line) <= 2 * _MOST_OF_LINE else f"{line[:_MOST_OF_LINE]} … {line[-_MOST_OF_LINE:]}"
        for line in seen
    ]


def last_error(lines: Sequence[str]) -> LoggedError | None:
    """Return the uncaught error of a plain log, or None when it shows none.

    Of several ranks it is that of the first one whose error is not merely that another rank failed.
    """
    own, ranks = _by_rank(lines)
    of_ranks = [error for rank in ranks.values() if (error := _of_process(rank))]
    of_main = _of_process(own)
    if of_main and (of_main.kind not in _LAUNCHERS or not of_ranks):
        return of_main
    return next((error for error in of_ranks if error.kind not in _PEERS), None) or next(iter(of_ranks), None)


def _by_rank(lines: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    own: list[str] = []
    ranks: dict[str, list[str]] = {}
    for line in lines:
        if match := _RANK.match(line):
            ranks.setdefault(match["rank"], []).append(line[match.end() :])
        else:
            own.append(line)
    return own, ranks


def _of_process(lines: Sequence[str]) -> LoggedError | None:
    """Return the last error of one process; of a launcher's and the one right before it, the latter."""
    errors = list(_errors(lines))
    last = errors[-1] if errors else None
    if last and last.kind in _LAUNCHERS:
        own = [error for error in errors if error.kind not in _LAUNCHERS]
        return own[-1] if own and own[-1].is_last else last
    return last


def _errors(lines: Sequence[str]) -> Iterator[LoggedError]:
    before: LoggedError | None = None
    index = 0
    while index < len(lines):
        if _SYNTAX_ERROR.match(lines[index]):
            before, index = _read(lines, index, _place(lines[max(0, index - 4) : index])), index + 1
            yield before
        elif not _HEADER.match(lines[index]):
            index += 1
        else:
            link, start = _line_before(lines, index), index + 1
            index = start
            while index < len(lines) and (not lines[index] or lines[index].startswith(_INDENTED)):
                index += 1
            if index == len(lines) or link.startswith(_IGNORED):
                continue
            cause = before if link == _CAUSED else None
            before = _read(lines, index, _place(lines[start:index]), cause)
            index += 1
            yield before


def _read(
    lines: Sequence[str], index: int, place: str | None, cause: LoggedError | None = None
) -> LoggedError:
    match = _ERROR.match(lines[index])
    name, text = (match["name"], match["text"] or "") if match else ("", lines[index])
    end = index + 1
    while end < min(len(lines), index + _MOST_MESSAGE_LINES) and not _is_next(lines[end]):
        end += 1
    message = "\n".join([text, *lines[index + 1 : end]]).strip()[:_MOST_OF_MESSAGE]
    if not text.strip() or text.strip().endswith("error:"):
        text = next((line.strip() for line in lines[index + 1 : end] if line.strip()), text)
    causes = (cause, *cause.causes) if cause else ()
    return LoggedError(name, text.strip(), message, place, _is_last(lines[index + 1 :]), causes)


def _is_next(line: str) -> bool:
    return bool(_HEADER.match(line)) or line.startswith((_CAUSED, _MEANWHILE, _IGNORED))


def _is_last(after: Sequence[str]) -> bool:
    """Return whether nothing of note follows until the next error, or the end of the log."""
    end = next((index for index, line in enumerate(after) if _is_next(line)), len(after))
    strange = [line for line in after[:end] if line and not line.startswith(_INDENTED + _OF_MESSAGES)]
    return len(strange) <= _MOST_AFTERWARDS


def _line_before(lines: Sequence[str], index: int) -> str:
    return next((lines[at] for at in range(index - 1, max(-1, index - 4), -1) if lines[at]), "")


def _place(lines: Sequence[str]) -> str | None:
    """Return the innermost call of a traceback in the job's own code, else the innermost of all."""
    calls = [line.strip() for line in lines if _FRAME.match(line)]
    own = [call for call in calls if call.startswith(_OWN_CODE)]
    return next(reversed(own or calls), None)
