"""`spud list`: jobs in a table."""

from __future__ import annotations

import click

from appliance.cli.client import ApiClient, Job, Query, connect
from appliance.cli.drain import note_drain
from appliance.cli.examples import examples
from appliance.cli.output import fit_terminal, print_json, span, table

_ACTIVE = ("pending", "starting", "running", "stopping")
_STATES = (*_ACTIVE, "finished")
_FINISHED_SHOWN = 10
_PAGE = 500  # the API gives no more at once
_HEADERS = ("ID", "NAME", "OWNER", "STATE", "GPUS", "AGE", "RAN", "NOTE")


@click.command(
    name="list",
    epilog=examples(
        "spud list", "spud list --state running --state pending", "spud list --all-users --limit 100 --json"
    ),
)
@click.option("--all-users", is_flag=True, help="Jobs of everybody (administrators).")
@click.option("--owner", metavar="NAME", help="Jobs of one user (administrators).")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these. Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N jobs, whatever state.")
@click.option("--json", "as_json", is_flag=True, help="Answer with a list of jobs in JSON.")
def list_jobs(
    all_users: bool,  # noqa: FBT001  click's flag
    owner: str | None,
    states: tuple[str, ...],
    limit: int | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """List jobs: those under way and the newest finished ones.

    --state and --limit replace that choice. RAN is how long a job has been running, NOTE why it waits or
    how it failed.
    """
    client = connect()
    whose = "all" if all_users else owner or "me"
    if states or limit:
        jobs = _jobs(client, whose, states, limit or 50)
    else:
        jobs = _jobs(client, whose, _ACTIVE, _PAGE) + _jobs(client, whose, ("finished",), _FINISHED_SHOWN)
    if as_json:
        print_json(jobs)
    elif jobs:
        if any(job["state"] == "pending" for job in jobs):
            note_drain(client.get("/box"))
        click.echo(fit_terminal(table(_HEADERS, [_row(job) for job in jobs], right=("ID", "GPUS"))))
    else:
        click.echo("No jobs. Run one with: spud run train.py")


def _jobs(client: ApiClient, owner: str, states: tuple[str, ...], limit: int) -> list[Job]:
    """Return the newest jobs, page by page."""
    jobs: list[Job] = []
    before: int | None = None
    while len(jobs) < limit:
        count = min(_PAGE, limit - len(jobs))
        query: Query = {"owner": owner, "state": list(states), "limit": count, "before": before}
        page = client.get("/jobs", query)
        jobs += page["jobs"]
        before = page["next"]
        if before is None:
            break
    return jobs


def _row(job: Job) -> tuple[str, ...]:
    return (
        str(job["id"]),
        job["name"],
        job["owner"],
        job["outcome"] or job["state"],
        str(job["gpus"] or "-"),
        span(job["submitted_at"], None),
        span(job["started_at"], job["finished_at"]),
        _note(job),
    )


def _note(job: Job) -> str:
    if job["waiting_for"]:
        return str(job["waiting_for"])
    has_failed = job["outcome"] not in (None, "succeeded", "cancelled")
    return str(job["message"]) if has_failed and job["message"] else ""
