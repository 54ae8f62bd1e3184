"""`spud gpus`: the cards and what they do."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.client import connect
from appliance.cli.examples import examples
from appliance.cli.output import note, print_json, size, table

_NONE = "-"
_HEADERS = ("GPU", "NAME", "LOAD", "MEMORY", "TEMP", "POWER", "JOB")

Card = dict[str, Any]


@click.command(epilog=examples("spud gpus", "spud gpus --json"))
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def gpus(as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Show the GPUs, their load and the jobs that hold them."""
    answer = connect().get("/gpus")
    if as_json:
        print_json(answer)
        return
    for trouble in (answer["exporter_error"], (answer["driver"] or {}).get("error")):
        if trouble:
            note(trouble)
    if answer["gpus"]:
        click.echo(table(_HEADERS, [_row(card) for card in answer["gpus"]], right=("GPU", "LOAD", "TEMP")))
    else:
        click.echo("This box has no GPU that Spud can use; jobs run on its CPU.")


def _row(card: Card) -> tuple[str, ...]:
    return (
        str(card["index"]),
        card["name"] + (" (simulated)" if card["simulated"] else ""),
        _NONE if card["utilization_ratio"] is None else f"{card['utilization_ratio']:.0%}",
        _pair(card["memory_used_bytes"], card["memory_total_bytes"]),
        _NONE if card["temperature_celsius"] is None else f"{card['temperature_celsius']} °C",
        _power(card),
        _job(card),
    )


def _pair(used_bytes: int | None, total_bytes: int | None) -> str:
    if total_bytes is None:
        return _NONE
    return size(total_bytes) if used_bytes is None else f"{size(used_bytes)} of {size(total_bytes)}"


def _power(card: Card) -> str:
    if card["power_watts"] is None:
        return _NONE
    limit = card["power_limit_watts"]
    return f"{card['power_watts']:.0f} W" + (f" of {limit:.0f} W" if limit else "")


def _job(card: Card) -> str:
    if card.get("error"):
        return str(card["error"])
    job = card["job"]
    if job:
        return f"{job['id']} {job['name']} ({job['owner']})"
    return "another user's" if card["reserved"] else "free"
