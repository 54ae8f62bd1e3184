"""`spud web`: one of the three processes."""

from __future__ import annotations

import click

from appliance.cli.examples import examples
from appliance.cli.service_log import log_to_stderr
from appliance.config import load_settings
from appliance.web.server import run


@click.command(epilog=examples("spud web"))
def web() -> None:
    """Serve the page and the API.

    Answers on the address [web] listen of the settings (127.0.0.1:8600). Needs no access to the
    container engine: it records what users want, and the scheduler does it.
    """
    log_to_stderr()
    run(load_settings())
