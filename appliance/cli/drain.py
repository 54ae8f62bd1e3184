"""`spud drain` and `spud resume`: let no further job start, and let jobs start again."""

from __future__ import annotations

import time
from typing import Any

import click

from appliance.cli.client import ApiClient, connect
from appliance.cli.examples import examples
from appliance.cli.output import note, plural, print_json

_POLL_S = 1.0
_ACTIVE = ["starting", "running", "stopping"]
_NAMED = 8
_LOOKS = 2
"""How many looks in a row must find no job: one may be starting just when the box is drained."""


@click.command(epilog=examples('spud drain --reason "new driver at 18:00" --wait', "spud resume"))
@click.option("--reason", metavar="TEXT", default="", help="What users read while their jobs wait.")
@click.option("--wait", is_flag=True, help="Return when no job runs any more.")
@click.option("--json", "as_json", is_flag=True, help="Answer with the box in JSON.")
def drain(reason: str, wait: bool, as_json: bool) -> None:  # noqa: FBT001  click's flags
    """Let no further job start (administrators). Those that run go on; those that wait, wait."""
    client = connect()
    box = client.post("/box/drain", {"reason": reason})
    if wait:
        _wait(client)
    if as_json:
        print_json(box)
    elif wait:
        click.echo("No job runs, and none starts until: spud resume")
    else:
        click.echo("No further job starts until: spud resume")


@click.command(epilog=examples("spud resume"))
@click.option("--json", "as_json", is_flag=True, help="Answer with the box in JSON.")
def resume(as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Let jobs start again after `spud drain` (administrators)."""
    box = connect().post("/box/resume")
    if as_json:
        print_json(box)
    else:
        click.echo("Jobs start again.")


def note_drain(box: dict[str, Any]) -> None:
    """Say on stderr that no job starts, where that is so."""
    if drained := box["drain"]:
        why = f": {drained['reason']}" if drained["reason"] else "."
        note(f"{drained['by']} has drained the box; no further job starts until spud resume{why}")


def _wait(client: ApiClient) -> None:
    """Return when no job runs any more; tells on stderr which do."""
    empty, told = 0, ""
    while empty < _LOOKS:
        jobs = client.get("/jobs", {"owner": "all", "state": _ACTIVE, "limit": 500})["jobs"]
        empty = 0 if jobs else empty + 1
        if jobs and (text := _names(jobs)) != told:
            note(text)
            told = text
        if empty < _LOOKS:
            time.sleep(_POLL_S)


def _names(jobs: list[dict[str, Any]]) -> str:
    ids = [str(job["id"]) for job in reversed(jobs)]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"Waiting for {plural(len(ids), 'job')}: {', '.join(ids[:_NAMED])}{more}"
