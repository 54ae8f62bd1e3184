"""`spud audit`: who did what, for administrators."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.client import connect
from appliance.cli.examples import examples
from appliance.cli.output import fit_terminal, local_time, note, print_json, table
from appliance.cli.since import since_option

_HEADERS = ("TIME", "WHO", "FROM", "ACTION", "OF", "DETAIL")
_PAGE = 1000


@click.command(
    epilog=examples("spud audit --since 2h", "spud audit --actor ada --action 'job.*'", "spud audit --json")
)
@since_option("Only what was done since then")
@click.option("--actor", metavar="NAME", help="Only what this user did; - is whose sign-in was refused.")
@click.option("--action", metavar="PATTERN", help="Only these actions, such as job.submit or 'job.*'.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def audit(since: str | None, actor: str | None, action: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001
    """Show who did what, newest last (administrators)."""
    found = _entries({"since": since, "actor": actor, "action": action}, limit)
    if as_json:
        print_json(found)
    elif found:
        click.echo(fit_terminal(table(_HEADERS, [_row(entry) for entry in reversed(found)])))
    else:
        note("Nothing of that kind was done.")


def _entries(query: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    """Return the newest entries first, page by page."""
    client = connect()
    found: list[dict[str, Any]] = []
    before: int | None = None
    while len(found) < limit:
        size = min(_PAGE, limit - len(found))
        page = client.get("/audit", {**query, "before": before, "limit": size})
        found += page["entries"]
        before = page["next"]
        if before is None:
            break
    return found


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        local_time(entry["at"]),
        entry["actor"],
        entry["address"],
        entry["action"],
        entry["subject"],
        entry["detail"],
    )
