"""`spud restore`: the store back from a backup."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.cli.byte_progress import ByteProgress
from appliance.cli.examples import examples
from appliance.cli.output import note, plural, print_json, printable, size
from appliance.config import Settings, load_settings
from appliance.containers.docker_engine import DockerEngine
from appliance.containers.engine import EngineUnavailable
from appliance.restore import restore as put_back


@click.command(
    epilog=examples("sudo spud restore spud-monday.tar.gz", "sudo spud restore --replace spud-monday.tar.gz")
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--replace", is_flag=True, help="Move the store that is there aside, which keeps it, and take its place."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def restore(file: Path, replace: bool, as_json: bool) -> None:  # noqa: FBT001  click's flag
    """Bring the store back from FILE, which `spud backup` has written; on the box itself, as root.

    Spud must not run meanwhile. Every file of the backup is checked before anything of the store is
    touched. Jobs that waited when the backup was made wait again; those that ran are looked for: a container
    that still runs is taken over, others count as lost. Ids of jobs are never given twice.
    """
    settings = load_settings()
    store = settings.store.directory
    with ByteProgress("Reading") as progress:
        done = put_back(
            store,
            file,
            replace=replace,
            highest_id=lambda store_id: _highest_id(settings, store_id),
            progress=progress,
        )
    if done.unowned:
        note(f"{plural(done.unowned, 'file')} could not be given to their owners; restore as root for that.")
    if done.aside:
        note(f"What was there is now in {done.aside}; remove it when you no longer need it.")
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(done.manifest.created_at))
    if as_json:
        print_json(
            {
                "store": str(store),
                "aside": str(done.aside) if done.aside else None,
                "files": done.manifest.files,
                "bytes": done.manifest.total_bytes,
                "next_job": done.last_id + 1,
            }
        )
    else:
        content = f"{plural(done.manifest.files, 'file')}, {size(done.manifest.total_bytes)}"
        click.echo(printable(f"Restored {store} as of {made}: {content}. Start Spud with: spud up"))


def _highest_id(settings: Settings, store_id: str) -> int:
    """Return the highest id of a job whose container the engine still has; 0 when it cannot be asked."""
    try:
        found = DockerEngine(settings.engine, settings.gpus, store_id).containers()
    except EngineUnavailable as error:
        note(f"{error.message} Containers of later jobs could not be looked for.")
        return 0
    return max((container.job_id for container in found), default=0)
