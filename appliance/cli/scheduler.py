"""`spud scheduler`: start jobs."""

from __future__ import annotations

import click

from appliance.cli.examples import examples


@click.command(epilog=examples("spud scheduler"))
def scheduler() -> None:
    """Start jobs, watch over them and record how they end.

    One process per store; it needs the Docker engine's socket. `spud up` runs it together with the
    page and the exporter.
    """
    from appliance.config import load_settings
    from appliance.scheduler.loop import run

    run(load_settings())
