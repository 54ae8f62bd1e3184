"""A job's log and state as server-sent events, for as long as someone listens.

event `log`      data: the next piece of the log as a JSON string; id: the place behind it, ATTEMPT-OFFSET
event `state`    data: the job, at the start and whenever its state or what it waits for has changed;
                 all of the log that was written before has been sent
event `attempt`  data: {"number": n}; the log that follows is another attempt's, from its beginning
event `end`      data: the job; it has finished, or the only attempt that was asked for; its log has been sent
"""

from __future__ import annotations

import codecs
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import NotFound
from appliance.jobs import log
from appliance.jobs.job import Attempt, Job
from appliance.storage import Storage
from appliance.web.job_json import job_detail

_LOG_POLL_S = 0.1
_LOG_POLLS_PER_STORE_POLL = 3
_HEARTBEAT_S = 10.0
_ID = re.compile(r"(?:([0-9]{1,18})-)?([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener is: an offset in the log of an attempt; None is the newest attempt's."""

    attempt: int | None = None
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Return the place that an event's id names; None for anything that we did not send."""
        match = _ID.fullmatch(text)
        return cls(int(match[1]) if match[1] else None, int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.attempt}-{self.offset}"


class LogStream:
    """One listener's way through a job's log, attempt by attempt; `pinned` is the only one it wants."""

    def __init__(self, storage: Storage, job_id: int, pinned: int | None, place: Place) -> None:
        self._storage = storage
        self._job_id = job_id
        self._pinned = pinned
        self._place = place
        self._attempt: Attempt | None = None
        # Bytes that are no UTF-8 travel as lone surrogates, so that the command can print them as they were.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text: Callable[[Path, int], Iterator[tuple[int, bytes]]] = log.read
        self._shown: tuple[object, ...] | None = None
        self._spoke_at = time.monotonic()

    def with_times(self) -> LogStream:
        """Put its time before each line."""
        self._text = log.read_stamped
        return self

    def events(self, stopping: threading.Event, is_gone: Callable[[], bool]) -> Iterator[str]:
        """Yield events until the job has finished, the listener is gone or the process stops."""
        yield "retry: 2000\n\n"
        while not (stopping.is_set() or is_gone()):
            job = self._storage.jobs.get(self._job_id)
            attempts = self._storage.jobs.attempts(self._job_id)
            if self._is_over(job, attempts):
                yield from self._all_log_events(attempts)
                yield _event("end", self._detail(job))
                return
            yield from self._state_events(job, attempts)
            yield from self._all_log_events(attempts)
            for _ in range(_LOG_POLLS_PER_STORE_POLL):
                stopping.wait(_LOG_POLL_S)
                yield from self._log_events()
            yield from self._heartbeat()

    def _is_over(self, job: Job, attempts: tuple[Attempt, ...]) -> bool:
        if job.is_finished or self._pinned is None:
            return job.is_finished
        attempt = choose_attempt(attempts, self._pinned)
        return attempt is not None and attempt.finished_at is not None

    def _all_log_events(self, attempts: tuple[Attempt, ...]) -> Iterator[str]:
        """Yield the log of the listener's attempt, and then of each that came after it."""
        if self._attempt is None:
            first = choose_attempt(attempts, self._pinned or self._place.attempt)
            if first is None:
                return
            self._attempt, self._place = first, Place(first.number, self._place.offset)
        yield from self._log_events()
        for attempt in attempts:
            if self._pinned is None and attempt.number > self._attempt.number:
                self._attempt, self._place = attempt, Place(attempt.number)
                self._decoder.reset()
                yield _event("attempt", json.dumps({"number": attempt.number}), self._place)
                yield from self._log_events()

    def _state_events(self, job: Job, attempts: tuple[Attempt, ...]) -> Iterator[str]:
        shown = (job.state, self._storage.jobs.reason_to_wait(job), job.cancel_requested_by)
        if shown == self._shown:
            return
        if self._shown is not None:
            yield from self._all_log_events(attempts)
        self._shown = shown
        self._spoke_at = time.monotonic()
        yield _event("state", self._detail(job))

    def _log_events(self) -> Iterator[str]:
        if self._attempt is None:
            return
        path = self._storage.job_directory(self._attempt).log
        for offset, piece in self._text(path, self._place.offset):
            self._place = Place(self._attempt.number, offset)
            self._spoke_at = time.monotonic()
            yield _event("log", json.dumps(self._decoder.decode(piece)), self._place)

    def _detail(self, job: Job) -> str:
        return job_detail(self._storage.jobs, job).model_dump_json()

    def _heartbeat(self) -> Iterator[str]:
        if time.monotonic() - self._spoke_at >= _HEARTBEAT_S:
            self._spoke_at = time.monotonic()
            yield ": still here\n\n"


def choose_attempt(attempts: tuple[Attempt, ...], number: int | None) -> Attempt | None:
    """Return the attempt of that number, or the newest; None before the first. Raises NotFound."""
    if number is None:
        return attempts[-1] if attempts else None
    for attempt in attempts:
        if attempt.number == number:
            return attempt
    raise NotFound(f"There is no attempt {number} of this job; it has had {len(attempts)}.")


def _event(name: str, data: str, place: Place | None = None) -> str:
    """Return one event; `data` is JSON and therefore holds no line end."""
    head = f"id: {place}\n" if place else ""
    return f"{head}event: {name}\ndata: {data}\n\n"
