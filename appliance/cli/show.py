"""`spud show`: a job in full."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from appliance.cli.client import Job, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import duration, local_time, print_json, printable, size, span, table

_NONE = "-"


@click.command(epilog=examples("spud show 17", "spud show 17 --json"))
@click.argument("job_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(job_id: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Show everything that is recorded of a job."""
    job = connect().get(path_of("jobs", job_id))
    if as_json:
        print_json(job)
    else:
        click.echo("\n".join(_lines(job)))


def _lines(job: Job) -> Iterator[str]:
    facts = [(name, printable(value)) for name, value in _facts(job)]
    width = max(len(name) for name, _ in facts)
    yield from (f"{name.ljust(width)}  {value}" for name, value in facts)
    if job["evidence"]:
        yield "\nEvidence"
        yield from (f"  {printable(line)}" for line in job["evidence"])
    if job["attempts"]:
        yield "\nAttempts"
        yield _attempts(job)
    yield "\nEvents"
    yield from (f"  {local_time(event['at'])}  {printable(event['text'])}" for event in job["events"])


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    yield "Job", f"{job['id']} {job['name']}"
    yield "Owner", job["owner"]
    yield "State", _state(job)
    if job["waiting_for"]:
        yield "Waits for", job["waiting_for"]
    if job["message"]:
        yield "Message", job["message"]
    if job["exit_code"] is not None:
        yield "Exit code", str(job["exit_code"])
    yield "Command", shlex.join(job["command"])
    yield "Image", " ".join(filter(None, (job["image"], job["image_digest"]))) or "the box's default"
    yield "GPUs", " ".join([str(job["gpus"]), *job["gpu_uuids"]])
    yield "Limits", _limits(job)
    yield "Data sets", ", ".join(job["data"]) or _NONE
    yield "Priority", str(job["priority"])
    yield "Git commit", job["git_commit"] or _NONE
    yield "Submitted", local_time(job["submitted_at"])
    yield "Started", local_time(job["started_at"])
    yield "Finished", local_time(job["finished_at"])
    yield "Ran", span(job["started_at"], job["finished_at"])


def _state(job: Job) -> str:
    return f"{job['outcome']} ({job['reason']})" if job["outcome"] else str(job["state"])


def _limits(job: Job) -> str:
    limits = (
        job["cpus"] and f"{job['cpus']:g} cores",
        job["memory"] and f"{size(job['memory'])} of memory",
        job["time"] and f"{duration(job['time'])} of time",
    )
    return ", ".join(filter(None, limits)) or _NONE


def _attempts(job: Job) -> str:
    headers = ("  NUMBER", "STARTED", "RAN", "OUTCOME", "REASON", "EXIT")
    rows = [
        (
            f"  {attempt['number']}",
            local_time(attempt["started_at"]),
            span(attempt["started_at"], attempt["finished_at"]),
            attempt["outcome"] or _NONE,
            attempt["reason"] or _NONE,
            _NONE if attempt["exit_code"] is None else str(attempt["exit_code"]),
        )
        for attempt in job["attempts"]
    ]
    return table(headers, rows)
