"""`spud scheduler`: start jobs."""

from __future__ import annotations

import click


@click.command()
def scheduler() -> None:
    r"""Start jobs, watch over them and record how they end.

    One process per store; it needs the Docker engine's socket. `spud up` runs it together with the
    page and the exporter.

    \b
    Example:
      spud scheduler
    """
    from appliance.config import load_settings
    from appliance.scheduler.loop import run

    run(load_settings())
