"""`spud backup`: the store in one file, while Spud runs."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.backup import write_backup
from appliance.cli.byte_progress import ByteProgress
from appliance.cli.examples import examples
from appliance.cli.output import note, plural, print_json, printable, size
from appliance.config import load_settings


@click.command(
    epilog=examples(
        "sudo spud backup spud-monday.tar.gz", "sudo spud backup --outputs /media/disk/spud.tar.gz"
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--outputs", is_flag=True, help="Also the outputs and checkpoints of all jobs.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def backup(file: Path, outputs: bool, as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Write database, code and logs of all jobs into FILE, a .tar.gz; on the box itself, as root.

    Spud runs on meanwhile. FILE is there when it is whole, and only its owner can read it: it holds the
    values of secrets and the hashes of tokens. Data sets, images and settings are not in it.
    """
    settings = load_settings()
    with ByteProgress("Writing") as progress:
        manifest = write_backup(settings.store.directory, file, with_outputs=outputs, progress=progress)
    written = file.stat().st_size
    for path in manifest.changed:
        note(f"A running job changed {path} while it was read.")
    note("The backup holds the values of secrets and the hashes of tokens: keep it where only you can read.")
    if as_json:
        print_json(
            {
                "file": str(file),
                "bytes": written,
                "files": manifest.files,
                "schema": manifest.schema,
                "changed": manifest.changed,
            }
        )
    else:
        content = f"{plural(manifest.files, 'file')}, {size(manifest.total_bytes)}"
        click.echo(printable(f"Wrote {file}: {size(written)} ({content} before compression)"))
