"""Follow a job: its log on stdout, and how it fares on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO, NoReturn

import click

from appliance.cli.client import ApiClient, Job, Query, path_of
from appliance.cli.events import Event
from appliance.cli.log_printer import LogPrinter
from appliance.cli.output import note, printable, span
from appliance.errors import SpudError

_INTERRUPTED = 130  # 128 + SIGINT


def follow_to_end(
    client: ApiClient,
    job_id: int,
    query: Query | None = None,
    log: BinaryIO | None = None,
    *,
    is_raw: bool = False,
) -> Job:
    """Print the log until the job is over and return the finished job; the query may choose a part of it.

    The log goes to stdout, or into another stream. When the job is tried again, so is what is printed.

    Ctrl-C says that the job goes on, and ends the process.
    """
    printer = LogPrinter(log or sys.stdout.buffer, is_raw=is_raw)
    try:
        job = _follow(client, job_id, query or {}, printer)
    except KeyboardInterrupt:
        printer.end()
        _leave(job_id)
    note(ending(job) if job["finished_at"] else f"{_ended_attempt(job, query or {})}.")
    return job


def _ended_attempt(job: Job, query: Query) -> str:
    """Return how the only attempt that was followed ended, while the job goes on."""
    return next(
        attempt_ending(attempt) for attempt in job["attempts"] if attempt["number"] == query["attempt"]
    )


def _follow(client: ApiClient, job_id: int, query: Query, printer: LogPrinter) -> Job:
    news = News()
    for event in client.stream(path_of("jobs", job_id, "logs", "stream"), query, note):
        if event.kind == "log":
            printer.write(log_bytes(event))
        elif event.kind == "state":
            for line in news.of(json.loads(event.data)):
                printer.end()
                note(line)
        elif event.kind == "end":
            printer.end()
            job: Job = json.loads(event.data)
            return job
    raise SpudError(f"The log of job {job_id} ended early. Follow it again with: spud logs -f {job_id}")


def _leave(job_id: int) -> NoReturn:
    note(f"\nJob {job_id} goes on. Follow: spud logs -f {job_id}. Cancel: spud cancel {job_id}")
    click.get_current_context().exit(_INTERRUPTED)


def log_bytes(event: Event) -> bytes:
    """Return the bytes of a log event; those that are not UTF-8 travel as lone surrogates."""
    text: str = json.loads(event.data)
    return text.encode("utf-8", "surrogateescape")


class News:
    """What is new of a job for who follows it, each thing told once."""

    def __init__(self) -> None:
        self._told: str | None = None
        self._ended: int | None = None

    def of(self, job: Job) -> list[str]:
        """Return what is new, in sentences."""
        return [*self._retries(job), *self._progress(job)]

    def _retries(self, job: Job) -> list[str]:
        if job["state"] == "finished":
            return []
        ended = [attempt for attempt in job["attempts"] if attempt["finished_at"]]
        new = [] if self._ended is None else ended[self._ended :]
        self._ended = len(ended)
        return [f"{attempt_ending(attempt)}; trying again." for attempt in new]

    def _progress(self, job: Job) -> list[str]:
        if (news := progress(job)) in (self._told, None):
            return []
        self._told = news
        return [str(news)]


def progress(job: Job) -> str | None:
    """Return where a job is, in a sentence; None when there is nothing to tell, or all is told at the end."""
    if job["waiting_for"]:
        return f"Job {job['id']} waits for {job['waiting_for']}"
    return None if job["state"] in ("pending", "finished") else f"Job {job['id']} is {job['state']}."


def attempt_ending(attempt: dict[str, Any]) -> str:
    """Return how an attempt ended, as a clause."""
    return f"Attempt {attempt['number']} ended: {str(attempt['message'] or attempt['outcome']).rstrip('.')}"


def ending(job: Job) -> str:
    """Return how a job ended, in as many lines as that takes."""
    took = span(job["started_at"], job["finished_at"])
    if job["outcome"] == "succeeded":
        return f"Job {job['id']} succeeded in {took}. Fetch what it kept with: spud fetch {job['id']}"
    outcome = str(job["outcome"]).replace("_", " ")
    lines = [f"Job {job['id']} {outcome} ({job['reason']}): {job['message']}"]
    lines += [f"  {printable(line)}" for line in job["evidence"] if line != job["message"]]
    return "\n".join([*lines, *filter(None, [job["advice"]])])


def exit_code(job: Job) -> int:
    """Return what `spud run` ends with: the job's own code, and never 0 unless the job succeeded."""
    if job["outcome"] == "succeeded":
        return 0
    return job["exit_code"] or 1
