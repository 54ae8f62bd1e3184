"""`spud retry`: run finished jobs again."""

from __future__ import annotations

import time

import click

from appliance.cli.client import ApiClient, Job, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.follow import exit_code, follow_to_end, progress
from appliance.cli.output import note
from appliance.errors import Conflict, InvalidRequest, NotFound

_ASK_EVERY_S = 0.2


@click.command(epilog=examples("spud retry 17", "spud retry --follow 17", "spud retry 17 18 19"))
@click.argument("job_ids", metavar="ID...", type=int, nargs=-1, required=True)
@click.option("-f", "--follow", is_flag=True, help="Follow the log, and end with the job's exit code.")
@click.pass_context
def retry(ctx: click.Context, /, job_ids: tuple[int, ...], follow: bool) -> None:  # noqa: FBT001  click's flag
    """Run finished jobs again: the same code, the same image, the same options, one more attempt.

    The job keeps its id and what its earlier attempts left. Ends with 1 when one of them could not be run
    again; the others are all the same.
    """
    if follow and len(job_ids) > 1:
        raise InvalidRequest("One job can be followed at a time. Leave --follow out, or name one job.")
    client = connect()
    has_failed = False
    for job_id in job_ids:
        try:
            job = client.post(path_of("jobs", job_id, "retry"))
        except (Conflict, NotFound) as error:
            note(f"Error: {error.message}")
            has_failed = True
            continue
        if follow:
            note(_done(job))
            ctx.exit(exit_code(_follow(client, job)))
        click.echo(f"{_done(job)} Follow it with: spud logs -f {job_id}")
    ctx.exit(1 if has_failed else 0)


def _done(job: Job) -> str:
    image = f"image {job['image_digest'][:19]}" if job["image_digest"] else f"the image {job['image']}"
    return f"Job {job['id']} runs again: attempt {job['attempt_count'] + 1}, with the same code in {image}."


def _follow(client: ApiClient, job: Job) -> Job:
    """Follow the new attempt; until it is there the log is that of the one before."""
    before, told = job["attempt_count"], None
    while (now := client.get(path_of("jobs", job["id"])))["attempt_count"] == before:
        if now["state"] == "finished" and not now["retry_requested_by"]:
            break  # cancelled before it started
        if (news := progress(now)) not in (told, None):
            told = news
            note(str(news))
        time.sleep(_ASK_EVERY_S)
    return follow_to_end(client, job["id"])
