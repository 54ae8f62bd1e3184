"""Follow a job: its log on stdout, byte for byte, and how it fares on stderr."""

from __future__ import annotations

import json
import sys
from typing import BinaryIO, NoReturn

import click

from appliance.cli.client import ApiClient, Job, Query, path_of
from appliance.cli.events import Event
from appliance.cli.output import note, printable, span
from appliance.errors import SpudError

_INTERRUPTED = 130  # 128 + SIGINT


def follow_to_end(
    client: ApiClient, job_id: int, query: Query | None = None, log: BinaryIO | None = None
) -> Job:
    """Print the log until the job is over and return the finished job; the query may choose a part of it.

    The log goes to stdout, or into another stream.

    Ctrl-C says that the job goes on, and ends the process.
    """
    try:
        job = _follow(client, job_id, query or {}, log or sys.stdout.buffer)
    except KeyboardInterrupt:
        _leave(job_id)
    note(ending(job))
    return job


def _follow(client: ApiClient, job_id: int, query: Query, log: BinaryIO) -> Job:
    told: str | None = None
    for event in client.stream(path_of("jobs", job_id, "logs", "stream"), query, note):
        if event.kind == "log":
            print_log(log_bytes(event), log)
        elif event.kind == "state" and (news := progress(json.loads(event.data))) not in (told, None):
            told = news
            note(news)
        elif event.kind == "end":
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


def print_log(piece: bytes, log: BinaryIO) -> None:
    """Write a piece of a log as it is, at once."""
    log.write(piece)
    log.flush()


def progress(job: Job) -> str | None:
    """Return where a job is, in a sentence; None when there is nothing to tell, or all is told at the end."""
    if job["waiting_for"]:
        return f"Job {job['id']} waits: {job['waiting_for']}"
    return None if job["state"] in ("pending", "finished") else f"Job {job['id']} is {job['state']}."


def ending(job: Job) -> str:
    """Return how a job ended, in as many lines as that takes."""
    took = span(job["started_at"], job["finished_at"])
    if job["outcome"] == "succeeded":
        return f"Job {job['id']} succeeded in {took}. What it kept: spud fetch {job['id']}"
    outcome = str(job["outcome"]).replace("_", " ")
    lines = [f"Job {job['id']} {outcome} ({job['reason']}): {job['message']}"]
    return "\n".join([*lines, *(f"  {printable(line)}" for line in job["evidence"])])


def exit_code(job: Job) -> int:
    """Return what `spud run` ends with: the job's own code, and never 0 unless the job succeeded."""
    if job["outcome"] == "succeeded":
        return 0
    return job["exit_code"] or 1
