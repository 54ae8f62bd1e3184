"""`spud submit`: hand over a job and go."""

from __future__ import annotations

import click

from appliance.cli.client import connect
from appliance.cli.examples import examples
from appliance.cli.job_options import JOB_CONTEXT, JobCommand, job_options, wanted_job
from appliance.cli.output import print_json
from appliance.cli.submission import describe, submit_job


@click.command(
    cls=JobCommand,
    context_settings=JOB_CONTEXT,
    epilog=examples(
        "spud submit train.py",
        "spud submit --gpus 2 --time 8h --data mnist train.py --epochs 20",
        "spud submit --file job.yaml",
    ),
)
@job_options
@click.option("--json", "as_json", is_flag=True, help="Answer with the job in JSON.")
@click.pass_context
def submit(ctx: click.Context, /, as_json: bool, **_options: object) -> None:  # noqa: FBT001  click's flag
    """Submit a script or a command as a job and return at once.

    What travels, and where options may stand, is told by: spud run --help
    """
    job = submit_job(connect(), wanted_job(ctx))
    if as_json:
        print_json(job)
    else:
        click.echo(f"{describe(job)} Follow it with: spud logs -f {job['id']}")
