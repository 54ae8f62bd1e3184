"""`spud change`: other wishes for a job that was submitted before."""

from __future__ import annotations

import click

from appliance.cli.client import connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import print_json
from appliance.errors import InvalidRequest


@click.command(
    epilog=examples("spud change 17 --priority 5", "spud change 17 --time 4h", "spud change 17 --time none")
)
@click.argument("job_id", metavar="ID", type=int)
@click.option("--priority", type=int, metavar="N", help="Higher starts first; until the job runs.")
@click.option(
    "--time", metavar="TIME", help="Limit such as 4h, from the start of the job; none takes it away."
)
@click.option("--name", metavar="NAME", help="What the job is called in lists; until the job runs.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def change(job_id: int, priority: int | None, time: str | None, name: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Change the priority, the time limit or the name of a job; of one that runs, the time limit."""
    given = {"priority": priority, "time": time, "name": name}
    values: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if not values:
        raise InvalidRequest("Nothing to change was given. Give one of --priority, --time and --name.")
    if time == "none":
        values["time"] = None
    job = connect().patch(path_of("jobs", job_id), values)
    if as_json:
        print_json(job)
    else:
        click.echo(f"Job {job_id} now has {', '.join(_told(*item) for item in values.items())}.")


def _told(key: str, value: object) -> str:
    if key == "time":
        return f"time limit {value}" if value else "no time limit"
    return f"{key} {value}"
