"""`spud bench`: the headline benchmarks, each a job like any other."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import BinaryIO, cast

import click

from appliance.cli.client import ApiClient, Job, Origin, connect, path_of
from appliance.cli.code import collect, pack
from appliance.cli.examples import examples
from appliance.cli.follow import exit_code, follow_to_end
from appliance.cli.output import note, print_json
from appliance.cli.submission import describe, print_submitted
from appliance.errors import NotFound

_DATASETS = ("mnist", "fashion-mnist")
_RESULT = "output/result.json"
_IMAGE = "tensorflow"


@click.group(epilog=examples("spud bench rnn", "spud bench rnn --steps 2000 --json"))
def bench() -> None:
    """Run the headline benchmarks as jobs and compare them with what was claimed."""


@bench.command(
    epilog=examples("spud bench rnn", "spud bench rnn --steps 2000 --gpus 0", "spud bench rnn --json")
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=10_000, show_default=True, metavar="N", help="Of training."
)
@click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="Default: 1 where the box has GPUs.")
@click.option("--detach", is_flag=True, help="Return at once instead of following the job.")
@click.option(
    "--json", "as_json", is_flag=True, help="Answer with the result in JSON; the log goes to stderr."
)
@click.pass_context
def rnn(ctx: click.Context, /, steps: int, gpus: int | None, detach: bool, as_json: bool) -> None:  # noqa: FBT001
    """Train the recurrent network of the $723 box: an LSTM that reads images row by row.

    Trains on MNIST, or on Fashion-MNIST where the box has no MNIST, and fails below an accuracy that a
    correct run reaches. docs/benchmarks.md tells what is measured.
    """
    client = connect()
    job = _submit_rnn(client, steps, gpus)
    if detach:
        print_submitted(job, as_json=as_json)
        return
    note(describe(job))
    ended = follow_to_end(client, job["id"], log=sys.stderr.buffer if as_json else sys.stdout.buffer)
    _print_result(client, job["id"], as_json=as_json)
    note(f"The job's page: {client.url}/jobs/{job['id']}")
    ctx.exit(exit_code(ended))


def _submit_rnn(client: ApiClient, steps: int, gpus: int | None) -> Job:
    name = choose_dataset([dataset["name"] for dataset in client.get("/data")["datasets"]])
    wanted_gpus = min(1, client.get("/box")["gpus"]) if gpus is None else gpus
    spec = {
        "name": "bench-rnn",
        "command": ["python3", "rnn.py", "--data", f"/data/{name}", "--steps", str(steps)],
        "image": _IMAGE,
        "data": [name],
        "gpus": wanted_gpus,
    }
    with as_file(files("appliance") / "benchmarks" / "rnn.py") as script, tempfile.TemporaryFile() as spool:
        archive = cast(BinaryIO, spool)
        pack(collect(Path(script).parent, [script.name]), archive)
        return client.submit(spec, archive, Origin(), lambda _count: None)


def choose_dataset(names: list[str]) -> str:
    """Return the first known data set that the box has; raises NotFound when it has none of them."""
    for name in _DATASETS:
        if name not in names:
            continue
        if name != _DATASETS[0]:
            note(f"This box has no {_DATASETS[0]}, so the network trains on {name}.")
        return name
    known = " nor ".join(_DATASETS)
    raise NotFound(f"This box has neither {known}. Get one with: sudo spud data fetch mnist")


def _print_result(client: ApiClient, job_id: int, *, as_json: bool) -> None:
    """Print the table or the JSON of the result; a job that failed early has none."""
    try:
        text = b"".join(client.read(path_of("jobs", job_id, "files", _RESULT)))
    except NotFound:
        return
    if as_json:
        print_json(json.loads(text))
        return
    from rich.console import Console  # slow, and only needed at the very end

    from appliance.benchmarks.report import load_result, render

    render(Console(), [load_result(json.loads(text))])
