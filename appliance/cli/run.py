"""`spud run`: submit, follow, end as the job ends."""

from __future__ import annotations

import click

from appliance.cli.client import connect
from appliance.cli.examples import examples
from appliance.cli.follow import exit_code, follow_to_end
from appliance.cli.job_options import JOB_CONTEXT, JobCommand, job_options, wanted_job
from appliance.cli.output import note
from appliance.cli.submission import describe, submit_job


@click.command(
    cls=JobCommand,
    context_settings=JOB_CONTEXT,
    epilog=examples(
        "spud run train.py",
        "spud run --gpus 1 --time 2h train.py --epochs 20",
        "spud run train.py --gpus 1 -- --name first",
        "spud run --data mnist -- python3 -m trainer --data /data/mnist",
    ),
)
@job_options
@click.pass_context
def run(ctx: click.Context, /, **_options: object) -> None:
    """Run a script or a command as a job, follow its log, and end with its exit code.

    The script's folder travels with it and is the job's working directory: inside a git work tree the
    files that git tracks or does not ignore, elsewhere all; a file .spudignore in that folder, in
    gitignore's form, names what stays behind. With -- COMMAND it is the current folder, with --file that of
    the file. A .py script runs in python3, a .sh script in bash.

    Options may stand before or behind the script. Those that Spud does not know go to the script, and so
    does all that follows --.

    The log comes on stdout, everything else on stderr. Ctrl-C ends the following, not the job. Ends with 1
    when the job has no exit code of its own, such as after a time limit.
    """
    client = connect()
    job = submit_job(client, wanted_job(ctx))
    note(describe(job))
    ctx.exit(exit_code(follow_to_end(client, job["id"])))
