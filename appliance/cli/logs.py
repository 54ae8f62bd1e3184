"""`spud logs`: what a job has written."""

from __future__ import annotations

import sys

import click

from appliance.cli.client import ApiClient, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.follow import follow_to_end, print_log, progress
from appliance.cli.output import note


@click.command(epilog=examples("spud logs 17", "spud logs -f 17", "spud logs --tail 100 17"))
@click.argument("job_id", metavar="ID", type=int)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is over. Ctrl-C leaves it running.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of that attempt; default the newest."
)
def logs(job_id: int, follow: bool, tail: int | None, attempt: int | None) -> None:  # noqa: FBT001
    """Print or follow what a job has written, byte for byte."""
    client = connect()
    query = {"attempt": attempt, "tail": tail}
    if follow:
        follow_to_end(client, job_id, query)
    elif not _print_all(client, job_id, query):
        news = progress(client.get(path_of("jobs", job_id)))
        note(news or f"Job {job_id} has written nothing.")


def _print_all(client: ApiClient, job_id: int, query: dict[str, int | None]) -> bool:
    """Print the log so far; False when it is empty."""
    is_empty = True
    for piece in client.read(path_of("jobs", job_id, "logs"), query):
        print_log(piece, sys.stdout.buffer)
        is_empty = False
    return not is_empty
