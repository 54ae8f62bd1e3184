"""`spud show`: a job in full."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

import click

from appliance.cli.client import Job, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import duration, local_time, print_json, printable, size, span, table

_NONE = "-"


@click.command(
    epilog=examples("spud show 17", "spud show 17 --json", "spud show 17 --diff", "spud show 17 --command")
)
@click.argument("job_id", metavar="ID", type=int)
@click.option("--json", "form", flag_value="json", help="Answer in JSON.")
@click.option("--diff", "form", flag_value="diff", help="Show what was not committed when it was submitted.")
@click.option(
    "--command",
    "form",
    flag_value="command",
    help="Show the docker command that does the same on the box; secrets stand in it by name only.",
)
def show(job_id: int, form: str | None) -> None:
    """Show everything that is recorded of a job."""
    client = connect()
    if form in ("diff", "command"):
        for piece in client.read(path_of("jobs", job_id, form)):
            sys.stdout.buffer.write(piece if not sys.stdout.isatty() else _safe(piece))
        return
    job = client.get(path_of("jobs", job_id))
    if form == "json":
        print_json(job)
    else:
        click.echo("\n".join(_lines(job)))


def _safe(piece: bytes) -> bytes:
    """Return text that can do nothing to a terminal but end its lines."""
    lines = piece.decode(errors="replace").split("\n")
    return "\n".join(printable(line) for line in lines).encode()


def _lines(job: Job) -> Iterator[str]:
    facts = [(name, printable(value)) for name, value in _facts(job)]
    width = max(len(name) for name, _ in facts)
    yield from (f"{name.ljust(width)}  {value}" for name, value in facts)
    if evidence := [line for line in job["evidence"] if line != job["message"]]:
        yield "\nEvidence"
        yield from (f"  {printable(line)}" for line in evidence)
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
    if job["jobs_ahead"] is not None:
        yield "Jobs ahead", str(job["jobs_ahead"])
    if job["message"] and job["outcome"] != "succeeded":
        yield "Message", job["message"]
    if job["advice"]:
        yield "Advice", job["advice"]
    if job["exit_code"] is not None:
        yield "Exit code", str(job["exit_code"])
    yield "Command", shlex.join(job["command"])
    yield "Image", " ".join(filter(None, (job["image"], job["image_digest"]))) or "the box's default"
    if job["has_requirements"]:
        yield "Packages", job["requirements"] or "as the code's requirements say"
    yield "GPUs", _gpus(job)
    yield "Limits", _limits(job)
    yield "Data sets", ", ".join(job["data"]) or _NONE
    if job["secrets"]:
        yield "Secrets", ", ".join(job["secrets"])
    yield "Priority", str(job["priority"])
    yield "Retries", _retries(job)
    yield "Git commit", _commit(job)
    yield "Submitted", local_time(job["submitted_at"])
    yield "Started", local_time(job["started_at"])
    yield "Finished", local_time(job["finished_at"])
    yield "Ran", span(job["started_at"], job["finished_at"])


def _state(job: Job) -> str:
    if not job["outcome"]:
        return str(job["state"])
    tells_more = job["reason"] not in ("ok", "cancelled")
    return f"{job['outcome']} ({job['reason']})" if tells_more else str(job["outcome"])


def _limits(job: Job) -> str:
    limits = (
        job["cpus"] and f"{job['cpus']:g} cores",
        job["memory"] and f"{size(job['memory'])} of memory",
        job["time"] and f"{duration(job['time'])} of time",
    )
    return ", ".join(filter(None, limits)) or _NONE


def _gpus(job: Job) -> str:
    wishes = (
        job["gpu_model"],
        job["gpu_memory"] and f"({size(job['gpu_memory'])} of memory{' each' if job['gpus'] > 1 else ''})",
        *job["gpu_uuids"],
    )
    return " ".join([str(job["gpus"]), *filter(None, wishes)])


def _retries(job: Job) -> str:
    on = f", also on {', '.join(job['retry_on'])}" if job["retry_on"] else ""
    requeue = "" if job["requeue"] else ", not after a restart of the box"
    return f"{job['retries']}{on}{requeue}"


def _commit(job: Job) -> str:
    changes = f" (changes: spud show {job['id']} --diff)" if job["has_git_diff"] else ""
    return f"{job['git_commit'] or _NONE}{changes}"


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
