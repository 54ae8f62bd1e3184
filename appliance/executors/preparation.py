"""One image that is being made or fetched, and the attempts that wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.containers.build_output import Event, Line, Step, Transfer
from appliance.errors import SpudError
from appliance.executors.workspace import make_passage
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Attempt, Job
from appliance.jobs.lifecycle import Lifecycle
from appliance.jobs.log import append_notice

logger = logging.getLogger(__name__)

_SAY_EVERY_S = 1.0
_TELL_EVERY_S = 10.0
"""How often a transfer's progress gets a line in the log, which keeps every line."""
_MOST_LINES = 5000
_LINE = 2000
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Waiter:
    """An attempt that waits for its image."""

    job: Job
    attempt: Attempt
    directory: JobDirectory


@dataclass(slots=True)
class Preparation:
    """Tells all who wait how it goes: lines into their logs, and what they wait for.

    `work` returns the image's id, `then` is what happens to each waiter afterwards.
    """

    key: str
    lifecycle: Lifecycle
    work: Callable[[Preparation], str]
    then: Callable[[Waiter, str], None]
    aborted: threading.Event = field(default_factory=threading.Event)
    """Set when the last who waited has gone."""
    _waiters: dict[int, Waiter] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wanted: str = "its image"
    _said: str = ""
    _said_at: float = 0.0
    _timer: threading.Timer | None = None
    _told_at: float = 0.0
    _stage: str = "its image"

    def join(self, waiter: Waiter) -> None:
        """Add an attempt; it gets the lines that were told before."""
        with self._lock:
            self._waiters[waiter.attempt.id] = waiter
            _append(waiter, list(self._lines))
            self._said = ""
        self.say(self._wanted)

    def end(self) -> list[Waiter]:
        """Return who waits, and let no one wait any more: nothing is told or said after this."""
        with self._lock:
            waiters = list(self._waiters.values())
            self._waiters.clear()
            return waiters

    def leave(self, attempt: Attempt) -> None:
        """Remove an attempt; without any the work is given up."""
        with self._lock:
            self._waiters.pop(attempt.id, None)
            if not self._waiters:
                self.aborted.set()

    def report(self, event: Event) -> None:
        """Pass on what a build or a pull says."""
        match event:
            case Step():
                self._stage = f"its image: {event.instruction}"
                self.tell(event.instruction)
                self.say(self._stage)
            case Transfer():
                self._transfer(event)
            case Line(text):
                self.tell(text)
                self.say(self._stage)

    def tell(self, text: str) -> None:
        """Append a line to the log of each who waits."""
        with self._lock:
            if len(self._lines) >= _MOST_LINES:
                return
            is_last = len(self._lines) == _MOST_LINES - 1
            line = "The rest of this output is not kept." if is_last else text[:_LINE]
            self._lines.append(line)
            for waiter in self._waiters.values():
                _append(waiter, [line])

    def say(self, text: str) -> None:
        """Record what the jobs wait for: the newest text, but not more often than once a second."""
        with self._lock:
            self._wanted = text
            if self._timer or text == self._said:
                return
            wait_s = max(0.0, self._said_at + _SAY_EVERY_S - time.monotonic())
            self._timer = threading.Timer(wait_s, self._record)
            self._timer.daemon = True
            self._timer.start()

    def _record(self) -> None:
        with self._lock:
            self._timer = None
            self._said, self._said_at = self._wanted, time.monotonic()
            jobs = [waiter.job.id for waiter in self._waiters.values()]
        try:
            self.lifecycle.set_waiting_for(dict.fromkeys(jobs, self._said))
        except SpudError as error:
            logger.warning("Cannot record how %s goes: %s", self.key, error.message)

    def _transfer(self, transfer: Transfer) -> None:
        if not transfer.total_bytes:
            return
        done = f"{transfer.done_bytes / _MB:.0f} of {transfer.total_bytes / _MB:.0f} MB"
        self.say(f"its image: {transfer.name}, {done}")
        if time.monotonic() - self._told_at > _TELL_EVERY_S:
            if self._told_at:
                self.tell(f"{transfer.name}: {done}")
            self._told_at = time.monotonic()


def _append(waiter: Waiter, lines: list[str]) -> None:
    """Write into the attempt's log; a disk that takes no lines must not end the work."""
    if not lines:
        return
    try:
        make_passage(waiter.directory)
        append_notice(waiter.directory.log, "\n".join(lines))
    except OSError as error:
        logger.warning("Cannot write to %s: %s", waiter.directory.log, error)
