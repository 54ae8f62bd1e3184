"""`spud scheduler`: one of the three processes."""

from __future__ import annotations

import click

from appliance.cli.examples import examples
from appliance.cli.service_log import log_to_stderr
from appliance.config import load_settings
from appliance.scheduler.loop import run


@click.command(epilog=examples("spud scheduler"))
def scheduler() -> None:
    """Start jobs, watch over them and record how they end.

    One process per store; it needs the Docker engine's socket. `spud up` runs it together with the
    page and the exporter.
    """
    log_to_stderr()
    run(load_settings())
