"""A job's log and state as server-sent events, for as long as someone listens.

event `log`      data: the next piece of the log as a JSON string; id: the byte offset behind it
event `state`    data: the job, at the start and whenever its state or what it waits for has changed
event `attempt`  data: {"number": n}; the log that follows is another attempt's, from its beginning
event `end`      data: the finished job; its log has been sent whole
"""

from __future__ import annotations

import codecs
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.errors import NotFound
from appliance.jobs import log
from appliance.jobs.job import Attempt, Job
from appliance.storage import Storage
from appliance.web.job_json import job_detail

_LOG_POLL_S = 0.1
_LOG_POLLS_PER_STORE_POLL = 3
_HEARTBEAT_S = 10.0
_EVENT_BYTES = 64 * 1024


class LogStream:
    """One listener's way through a job's log. Without `attempt` it goes on to every newer attempt."""

    def __init__(self, storage: Storage, job_id: int, attempt: int | None, offset: int) -> None:
        self._storage = storage
        self._job_id = job_id
        self._pinned = attempt
        self._attempt: Attempt | None = None
        self._offset = offset
        # Bytes that are no UTF-8 travel as lone surrogates, so that the command can print them as they were.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._shown: tuple[object, ...] | None = None
        self._spoke_at = time.monotonic()

    def events(self, stopping: threading.Event, is_gone: Callable[[], bool]) -> Iterator[str]:
        """Yield events until the job has finished, the listener is gone or the process stops."""
        yield "retry: 2000\n\n"
        while not (stopping.is_set() or is_gone()):
            job = self._storage.jobs.get(self._job_id)
            yield from self._attempt_events()
            yield from self._state_events(job)
            if job.is_finished:
                yield from self._log_events()
                yield _event("end", job_detail(self._storage.jobs, job).model_dump_json())
                return
            for _ in range(_LOG_POLLS_PER_STORE_POLL):
                yield from self._log_events()
                stopping.wait(_LOG_POLL_S)
            yield from self._heartbeat()

    def _attempt_events(self) -> Iterator[str]:
        attempt = choose_attempt(self._storage.jobs.attempts(self._job_id), self._pinned)
        if attempt is None or (self._attempt and attempt.number == self._attempt.number):
            return
        if self._attempt:
            self._offset = 0
            self._decoder.reset()
            yield _event("attempt", json.dumps({"number": attempt.number}))
        self._attempt = attempt

    def _state_events(self, job: Job) -> Iterator[str]:
        shown = (job.state, job.waiting_for, job.cancel_requested_by)
        if shown != self._shown:
            self._shown = shown
            self._spoke_at = time.monotonic()
            yield _event("state", job_detail(self._storage.jobs, job).model_dump_json())

    def _log_events(self) -> Iterator[str]:
        for offset, pieces in _batches(self._log_path(), self._offset):
            self._offset = offset
            self._spoke_at = time.monotonic()
            yield _event("log", json.dumps(self._decoder.decode(pieces)), offset)

    def _log_path(self) -> Path | None:
        return self._storage.job_directory(self._attempt).log if self._attempt else None

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


def _batches(path: Path | None, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield what is new in the log in pieces of about 64 KiB, each with the offset behind it."""
    pieces, size = [], 0
    for offset, piece in log.read(path, offset) if path else ():  # noqa: B020  the newest is wanted below
        pieces.append(piece)
        size += len(piece)
        if size >= _EVENT_BYTES:
            yield offset, b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield offset, b"".join(pieces)


def _event(name: str, data: str, offset: int | None = None) -> str:
    """Return one event; `data` is JSON and therefore holds no line end."""
    head = "" if offset is None else f"id: {offset}\n"
    return f"{head}event: {name}\ndata: {data}\n\n"
