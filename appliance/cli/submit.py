"""`spud submit`: hand over a job and go."""

from __future__ import annotations

import click

from appliance.cli.client import connect
from appliance.cli.examples import examples
from appliance.cli.job_options import JOB_CONTEXT, JobCommand, job_options, wanted_job
from appliance.cli.submission import print_submitted, submit_job


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
    print_submitted(submit_job(connect(), wanted_job(ctx)), as_json=as_json)
