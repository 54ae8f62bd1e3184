"""`spud down`: stop what `spud up` runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import click

from appliance.cli import instance
from appliance.cli.examples import examples
from appliance.config import load_settings
from appliance.errors import AccessDenied, Unavailable

_PATIENCE_S = 60.0
_POLL_S = 0.05


@click.command(epilog=examples("spud down"))
@click.option(
    "--run-directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder that was given to `spud up`.",
)
def down(run_directory: Path | None) -> None:
    """Stop what `spud up` runs. Running jobs go on in their containers."""
    place = run_directory or instance.run_directory(load_settings().store.directory)
    pid = instance.running_pid(place)
    if not pid:
        click.echo("Spud is not running.")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise AccessDenied("Spud was started by another user. Stop it with: sudo spud down") from None
    _wait_for_end(place)
    click.echo("Spud has stopped.")


def _wait_for_end(place: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while pid := instance.running_pid(place):
        if time.monotonic() > deadline:
            raise Unavailable(f"Spud (process {pid}) has not stopped within {_PATIENCE_S:.0f} s.")
        time.sleep(_POLL_S)
