"""`spud prune`: remove what finished jobs have left."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from appliance.cli.client import ApiClient, connect
from appliance.cli.examples import examples
from appliance.cli.output import fit_terminal, note, plural, print_json, size, table
from appliance.errors import Conflict, InvalidRequest, SpudError, Unavailable
from appliance.jobs.spec import parse_duration

_DAY_S = 86_400.0
_POLL_S = 0.3
_SILENCE_S = 300.0
"""How long the scheduler may write no news; one large folder alone takes less."""
_HEADERS = ("WHAT", "SIZE", "WHY")
_SHOWN = 50
_NAMES = {
    "workspace": "workspaces",
    "results": "results",
    "log": "logs",
    "code": "code that no job needs",
    "image": "unused images",
    "leftover": "leftovers",
}

Report = dict[str, Any]


@click.command(
    epilog=examples(
        "spud prune --dry-run", "spud prune --older-than 2d", "spud prune --older-than 90d --results"
    )
)
@click.option("--dry-run", is_flag=True, help="Tell what would go and remove nothing.")
@click.option(
    "--older-than",
    metavar="AGE",
    help="Remove what is older than AGE, such as 30d or 12h, where the settings would keep it longer.",
)
@click.option("--results", is_flag=True, help="With --older-than: outputs, checkpoints, code and logs too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; a removal needs --yes then.")
def prune(dry_run: bool, older_than: str | None, results: bool, yes: bool, as_json: bool) -> None:  # noqa: FBT001
    """Remove what finished jobs have left, and images that nobody uses (administrators).

    Without --older-than it does at once what the scheduler does every hour by the settings of [retention].
    With it workspaces and images go that are older; results and logs stay unless --results says so. What
    is recorded of a job stays for ever.
    """
    wanted = _wanted(older_than, with_results=results)
    client = connect()
    planned = _ask(client, {**wanted, "dry_run": True})
    if not dry_run and planned["sums"]:
        if not yes:
            _confirm(planned, as_json=as_json)
        planned = _ask(client, {**wanted, "dry_run": False})
    if as_json:
        print_json(planned)
    elif dry_run:
        _show(planned)
    for sentence in planned["kept"]:
        note(sentence)
    if not as_json:
        click.echo(_summary(planned))


def _wanted(older_than: str | None, *, with_results: bool) -> dict[str, object]:
    if older_than is None:
        if with_results:
            raise InvalidRequest("--results needs --older-than AGE, such as --older-than 90d.")
        return {}
    try:
        seconds = parse_duration(older_than)
    except ValueError:
        raise InvalidRequest(
            f"--older-than is {older_than!r}, but must be an age such as 30d or 12h."
        ) from None
    return {"older_than_days": seconds / _DAY_S, "with_results": with_results}


def _confirm(planned: Report, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise Conflict(f"This would remove {_amount(planned)}. Add --yes to do it, or --dry-run to look.")
    _show(planned)
    click.confirm(f"Remove {_amount(planned)}?", default=False, abort=True, err=True)


def _ask(client: ApiClient, body: dict[str, object]) -> Report:
    """Leave the request and follow the report to its end."""
    wanted = client.post("/box/prune", body)["id"]
    heard_at, last = time.monotonic(), ""
    while True:
        report = _report(client, wanted)
        if report and report["is_done"]:
            _progress(report)
            if report["error"]:
                raise SpudError(report["error"])
            return report
        if (text := str(report)) != last:
            heard_at, last = time.monotonic(), text
            _progress(report)
        if time.monotonic() - heard_at > _SILENCE_S:
            raise Unavailable("The scheduler does not answer. See its log, and spud prune --dry-run later.")
        time.sleep(_POLL_S)


def _report(client: ApiClient, wanted: str) -> Report | None:
    try:
        report: Report = client.get("/box/prune")
    except SpudError as error:
        if error.status != 404:
            raise
        return None
    return report if report["id"] == wanted else None


def _progress(report: Report | None) -> None:
    if report and not report["dry_run"] and report["done_bytes"] and sys.stderr.isatty():
        text = f"\r{size(report['done_bytes'])} of {size(report['total_bytes'])} removed"
        click.echo(text, nl=report["is_done"], err=True)


def _show(report: Report) -> None:
    rows = [(item["name"], size(item["bytes"]), item["why"]) for item in report["items"][:_SHOWN]]
    if rows:
        click.echo(fit_terminal(table(_HEADERS, rows, right=("SIZE",))))
    if (more := sum(entry["count"] for entry in report["sums"].values()) - len(rows)) > 0:
        click.echo(f"and {more} more; all of them: spud prune --dry-run --json")


def _summary(report: Report) -> str:
    if not report["sums"]:
        return "There is nothing to remove."
    parts = ", ".join(
        f"{_NAMES[name]} {size(entry['bytes'])} ({entry['count']})" for name, entry in report["sums"].items()
    )
    if report["dry_run"]:
        return f"Would remove {_amount(report)}: {parts}"
    return f"Removed {size(report['done_bytes'])}: {parts}"


def _amount(report: Report) -> str:
    count = sum(entry["count"] for entry in report["sums"].values())
    return f"{plural(count, 'thing')}, {size(report['total_bytes'])}"
