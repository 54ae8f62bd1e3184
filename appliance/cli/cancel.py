"""`spud cancel`: ask for the end of jobs."""

from __future__ import annotations

import click

from appliance.cli.client import Job, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import note
from appliance.errors import Conflict, NotFound


@click.command(epilog=examples("spud cancel 17", "spud cancel 17 18 19"))
@click.argument("job_ids", metavar="ID...", type=int, nargs=-1, required=True)
@click.pass_context
def cancel(ctx: click.Context, /, job_ids: tuple[int, ...]) -> None:
    """Cancel jobs: pending ones at once, running ones after the time they get to end by themselves.

    Ends with 1 when one of them could not be cancelled; the others are all the same.
    """
    client = connect()
    has_failed = False
    for job_id in job_ids:
        try:
            click.echo(_done(client.post(path_of("jobs", job_id, "cancel"))))
        except (Conflict, NotFound) as error:
            note(f"Error: {error.message}")
            has_failed = True
    ctx.exit(1 if has_failed else 0)


def _done(job: Job) -> str:
    if job["state"] == "finished":
        return f"Job {job['id']} is cancelled."
    return f"Job {job['id']} was {job['state']} and is being cancelled."
