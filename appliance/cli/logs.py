"""`spud logs`: what a job has written."""

from __future__ import annotations

import sys

import click

from appliance.cli.client import ApiClient, Query, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.follow import follow_to_end, progress
from appliance.cli.log_printer import LogPrinter
from appliance.cli.output import note
from appliance.cli.since import since_option


@click.command(
    epilog=examples(
        "spud logs 17", "spud logs -f 17", "spud logs --tail 100 17", "spud logs -t --since 10m 17"
    )
)
@click.argument("job_id", metavar="ID", type=int)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is over. Ctrl-C leaves it running.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@since_option("Begin with what was written since then")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of that attempt; default the newest."
)
@click.option("-t", "--timestamps", is_flag=True, help="Put its time, in UTC, before each line.")
@click.option("--raw", is_flag=True, help="Print the bytes as the job wrote them.")
def logs(
    job_id: int,
    *,
    follow: bool,
    tail: int | None,
    since: str | None,
    attempt: int | None,
    timestamps: bool,
    raw: bool,
) -> None:
    """Print or follow what a job has written.

    On a terminal colours and moving progress bars pass, and nothing else that could drive it. Into a pipe or
    a file goes the last state of each line.
    """
    client = connect()
    query: Query = {
        "attempt": attempt,
        "tail": tail,
        "since": since,
        "timestamps": "true" if timestamps else None,
    }
    if follow:
        follow_to_end(client, job_id, query, is_raw=raw)
    elif not _print_all(client, job_id, query, is_raw=raw):
        news = progress(client.get(path_of("jobs", job_id)))
        note(news or f"Job {job_id} has written nothing.")


def _print_all(client: ApiClient, job_id: int, query: Query, *, is_raw: bool) -> bool:
    """Print the log so far; False when it is empty."""
    printer = LogPrinter(sys.stdout.buffer, is_raw=is_raw, is_live=False)
    is_empty = True
    for piece in client.read(path_of("jobs", job_id, "logs"), query):
        printer.write(piece)
        is_empty = False
    printer.end()
    return not is_empty
