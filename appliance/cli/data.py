"""`spud data`: list, fetch and import the data sets that jobs can mount; runs on the box itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from appliance.cli.examples import examples
from appliance.cli.output import note, plural, print_json, size, table
from appliance.config import load_settings
from appliance.datasets.library import Addition, DatasetLibrary, MirrorsUnreachable

_UNREACHABLE = 3
_TERMINAL_INTERVAL_S = 0.2
_PLAIN_INTERVAL_S = 5.0  # between two lines about one file when nobody watches a terminal


@click.group(epilog=examples("spud data list", "sudo spud data fetch mnist"))
def data() -> None:
    """List, fetch and import the data sets that jobs can mount with --data.

    Runs on the box itself, on the folder that [data] directory names (/var/lib/spud/data).
    """


@data.command(name="list", epilog=examples("spud data list", "spud data list --json"))
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def list_datasets(as_json: bool) -> None:  # noqa: FBT001
    """List the data sets of this box."""
    stored = _library().list()
    if as_json:
        print_json([dataset.to_json() | {"path": str(dataset.path)} for dataset in stored])
    elif stored:
        rows = [(d.name, d.title, size(d.bytes), d.imported_at, d.source) for d in stored]
        click.echo(table(("NAME", "TITLE", "SIZE", "IMPORTED", "SOURCE"), rows, right=("SIZE",)))
    else:
        click.echo("No data sets yet. Get one with: sudo spud data fetch mnist")


@data.command(epilog=examples("sudo spud data fetch mnist"))
@click.argument("name")
def fetch(name: str) -> None:
    """Download the data set NAME (mnist or fashion-mnist) and check it by hash.

    Does nothing when the box has it. Exits 3 when no mirror can be reached.
    """
    try:
        addition = _library().fetch(name, TransferProgress())
    except MirrorsUnreachable as error:
        note(f"Error: {error.message}")
        sys.exit(_UNREACHABLE)
    click.echo(_describe(addition))


@data.command(
    name="import", epilog=examples("sudo spud data import fashion-mnist /usr/share/datasets/fashion-mnist")
)
@click.argument("name")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def import_dataset(name: str, folder: Path) -> None:
    """Copy the data set NAME (mnist or fashion-mnist) from FOLDER and check it by hash.

    FOLDER holds its four IDX files, plain or .gz. Does nothing when the box has the data set.
    """
    click.echo(_describe(_library().import_folder(name, folder, TransferProgress())))


def _library() -> DatasetLibrary:
    return DatasetLibrary(load_settings().data.directory)


def _describe(addition: Addition) -> str:
    stored = addition.dataset
    what = f"{stored.title} ({plural(len(stored.files), 'file')}, {size(stored.bytes)})"
    state = "is now in" if addition.is_new else "is up to date in"
    return f"{what} {state} {stored.path}. Jobs mount it with: --data {stored.name}"


class TransferProgress:
    """Shows on stderr how many bytes of a file are there: in place on a terminal, else line by line."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._on_terminal else _PLAIN_INTERVAL_S
        self._shown_s = time.monotonic()

    def __call__(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Show one file's state, at its end and now and then before."""
        is_done = done_bytes == total_bytes
        if not is_done and time.monotonic() - self._shown_s < self._interval_s:
            return
        self._shown_s = time.monotonic()
        of = f" of {size(total_bytes)}" if total_bytes is not None else ""
        start = "\r\x1b[K" if self._on_terminal else ""
        end = "\n" if is_done or not self._on_terminal else ""
        click.echo(f"{start}{name}: {size(done_bytes)}{of}{end}", err=True, nl=False)
