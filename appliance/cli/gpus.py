"""`spud gpus`: the cards, what they do, and why some are not given to jobs."""

from __future__ import annotations

import time
from typing import Any

import click

from appliance.cli.client import ApiClient, connect, path_of
from appliance.cli.drain import note_drain
from appliance.cli.examples import examples
from appliance.cli.output import local_time, note, print_json, printable, size, table
from appliance.errors import Conflict, NotFound

_NONE = "-"
_HEADERS = ("GPU", "NAME", "LOAD", "MEMORY", "TEMP", "POWER", "JOB")
_RELEASE_S = 10.0
_POLL_S = 0.3

Card = dict[str, Any]


@click.group(
    invoke_without_command=True, epilog=examples("spud gpus", "spud gpus --json", "spud gpus release 1")
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_context
def gpus(context: click.Context, as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Show the GPUs, their load, the jobs that hold them, and why some are not given to jobs."""
    if context.invoked_subcommand:
        return
    client = connect()
    answer = client.get("/gpus")
    if as_json:
        print_json(answer)
        return
    for trouble in (answer["exporter_error"], (answer["driver"] or {}).get("error")):
        if trouble:
            note(trouble)
    note_drain(client.get("/box"))
    if answer["gpus"]:
        click.echo(table(_HEADERS, [_row(card) for card in answer["gpus"]], right=("GPU", "LOAD", "TEMP")))
        for card in answer["gpus"]:
            if trouble := _trouble(card):
                click.echo(f"\nGPU {card['index']} {printable(trouble)}")
    else:
        click.echo("This box has no GPU that Spud can use; jobs run on its CPU.")


@gpus.command(epilog=examples("spud gpus release 1", "spud gpus release GPU-5a2b"))
@click.argument("gpu", metavar="GPU")
@click.option("--json", "as_json", is_flag=True, help="Answer with the GPUs in JSON.")
def release(gpu: str, as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Give a GPU to jobs again that is in quarantine (administrators).

    GPU is its number, its UUID or the beginning of that. One that is no longer in the box is forgotten.
    """
    client = connect()
    card = find(client.get("/gpus")["gpus"], gpu)
    client.post(path_of("gpus", card["uuid"], "release"))
    answer = _wait_for_release(client, card["uuid"])
    if as_json:
        print_json(answer)
        return
    found = next((one for one in answer["gpus"] if one["uuid"] == card["uuid"]), None)
    name = f"GPU {card['index']} ({card['uuid']})"
    if found and found["quarantine"]:
        raise Conflict(f"{name} is not well yet: {found['quarantine']['reason']}")
    click.echo(f"{name} is given to jobs again." if found else f"{name} is forgotten.")


def find(cards: list[Card], text: str) -> Card:
    """Return the card of that number or UUID, or with a UUID that begins so; raises NotFound, Conflict."""
    exact = [card for card in cards if text in (str(card["index"]), card["uuid"])]
    found = exact or [card for card in cards if text and card["uuid"].lower().startswith(text.lower())]
    if not found:
        raise NotFound(f"This box has no GPU {text}. Look at: spud gpus")
    if len(found) > 1:
        uuids = ", ".join(card["uuid"] for card in found)
        raise Conflict(f"{text} may be {uuids}. Name one of them.")
    return found[0]


def _wait_for_release(client: ApiClient, uuid: str) -> dict[str, Any]:
    """Return the GPUs as they are after the scheduler has seen to the request."""
    deadline = time.monotonic() + _RELEASE_S
    while True:
        answer: dict[str, Any] = client.get("/gpus")
        waits = [card for card in answer["gpus"] if card["uuid"] == uuid and _is_asked_for(card)]
        if not waits or time.monotonic() > deadline:
            return answer
        time.sleep(_POLL_S)


def _is_asked_for(card: Card) -> bool:
    return bool(card["quarantine"] and card["quarantine"]["release_requested_by"])


def _row(card: Card) -> tuple[str, ...]:
    return (
        str(card["index"]),
        card["name"] + (" (simulated)" if card["simulated"] else ""),
        _NONE if card["utilization_ratio"] is None else f"{card['utilization_ratio']:.0%}",
        _pair(card["memory_used_bytes"], card["memory_total_bytes"]),
        _NONE if card["temperature_celsius"] is None else f"{card['temperature_celsius']} °C",
        _power(card),
        _use(card),
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


def _use(card: Card) -> str:
    """Return the jobs that have the card, and in a word whether it is given to others."""
    parts = [_job(job) for job in card["jobs"]] or (["another user's"] if card["reserved"] else [])
    if card["quarantine"]:
        parts.append("in quarantine")
    elif card["withheld"]:
        parts.append("not given to jobs")
    elif card.get("error"):
        parts.append("has an error")
    return "; ".join(parts) or "free"


def _trouble(card: Card) -> str | None:
    """Return why the card is not given to jobs, in words that follow its number."""
    if entry := card["quarantine"]:
        return f"is in quarantine since {local_time(entry['since'])}: {entry['reason']}"
    if card["withheld"]:
        return f"is not given to jobs: {card['withheld']}"
    return f"has an error: {card['error']}" if card.get("error") else None


def _job(job: dict[str, Any]) -> str:
    share = f", {size(job['memory_bytes'])}" if job["memory_bytes"] else ""
    return f"{job['id']} {job['name']} ({job['owner']}{share})"
