"""`spud exporter`: one of the three processes."""

from __future__ import annotations

import click

from appliance.cli.examples import examples
from appliance.cli.service_log import log_to_stderr
from appliance.config import load_settings
from appliance.metrics.exporter import run


@click.command(epilog=examples("spud exporter"))
def exporter() -> None:
    """Serve the metrics of GPUs and jobs to Prometheus.

    Answers on the address [exporter] listen of the settings (127.0.0.1:9836): /metrics for
    Prometheus, /api/gpus in JSON for the page, /healthz. Stays up without a driver and says so.
    """
    log_to_stderr()
    run(load_settings())
