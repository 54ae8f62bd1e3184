"""`spud fetch`: download what a job has kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from appliance.cli.client import ApiClient, connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import note, parse_time, plural, printable, size
from appliance.errors import Conflict, InvalidRequest, NotFound, StorageFull

_OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the job on the box and where it goes on this machine."""

    path: str
    size_bytes: int
    modified_at_s: float
    target: Path

    @property
    def is_here(self) -> bool:
        """Whether an earlier fetch has brought it already."""
        try:
            status = self.target.lstat()
        except OSError:
            return False
        return (status.st_size, int(status.st_mtime)) == (self.size_bytes, int(self.modified_at_s))


@click.command(
    epilog=examples("spud fetch 17", "spud fetch 17 result.json --to results", "spud fetch 17 workspace/logs")
)
@click.argument("job_id", metavar="ID", type=int)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="DIR", help="Default: job-ID.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of that attempt; default the newest."
)
def fetch(job_id: int, paths: tuple[str, ...], target: Path | None, attempt: int | None) -> None:
    """Download what a job has kept: its /output, or the files and folders named.

    PATH is relative to /output, or begins with output/ or workspace/. Files that an earlier fetch has
    brought are not brought again. A file that differs is replaced only after a question.
    """
    client = connect()
    folder = target or Path(f"job-{job_id}")
    listed = client.get(path_of("jobs", job_id, "files"), {"attempt": attempt})["files"]
    chosen = choose(listed, paths)
    if not chosen:
        raise NotFound(_nothing(job_id, paths, listed))
    files = [_kept(entry, folder) for entry in chosen]
    missing = [file for file in files if not file.is_here]
    _confirm(missing)
    for file in missing:
        _download(client, job_id, attempt, file)
    old = len(files) - len(missing)
    brought = f"{plural(len(missing), 'file')}, {size(sum(file.size_bytes for file in missing))}"
    click.echo(printable(f"Fetched {brought} into {folder}" + (f"; {old} were there already" if old else "")))


def choose(listed: Sequence[dict[str, Any]], paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the listed files that the paths name; without paths, all of output/."""
    if not paths:
        return [entry for entry in listed if entry["path"].startswith(_OUTPUT + "/")]
    return [entry for entry in listed if any(_names(path, entry["path"]) for path in paths)]


def _names(wanted: str, path: str) -> bool:
    stem = wanted.strip("/")
    return any(path == name or path.startswith(name + "/") for name in (stem, f"{_OUTPUT}/{stem}"))


def safe_target(folder: Path, path: str) -> Path:
    """Return where a file of the job goes; raises InvalidRequest rather than leave the folder.

    A link that stands in the folder already is no way out of it either.
    """
    parts = PurePosixPath(path).parts
    target = folder.joinpath(*parts)
    root = folder.resolve()
    if not parts or path.startswith("/") or ".." in parts or not target.parent.resolve().is_relative_to(root):
        raise InvalidRequest(f"{path} would be written outside of {folder}. Choose another folder with --to.")
    return target


def _kept(entry: dict[str, Any], folder: Path) -> KeptFile:
    modified_at = parse_time(entry["modified_at"])
    modified_at_s = modified_at.timestamp() if modified_at else 0.0
    return KeptFile(entry["path"], entry["bytes"], modified_at_s, safe_target(folder, entry["path"]))


def _confirm(files: Iterable[KeptFile]) -> None:
    """Ask before files are replaced; raises Conflict where nobody can answer."""
    others = [str(file.target) for file in files if file.target.exists() or file.target.is_symlink()]
    if not others:
        return
    what = f"{plural(len(others), 'file')} here that differ, such as {others[0]}"
    if not sys.stdin.isatty():
        raise Conflict(f"There are {what}. Move them away or choose another folder with --to.")
    click.confirm(printable(f"Replace {what}?"), default=False, abort=True, err=True)


def _download(client: ApiClient, job_id: int, attempt: int | None, file: KeptFile) -> None:
    """Bring one file; it is there in full or not at all."""
    beside = file.target.with_name(f".{file.target.name}.{os.getpid()}.part")
    pieces = client.read(path_of("jobs", job_id, "files", file.path), {"attempt": attempt})
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as part:
            for piece in pieces:
                part.write(piece)
        os.utime(beside, (file.modified_at_s, file.modified_at_s))
        beside.replace(file.target)
    except OSError as error:
        raise StorageFull(f"Cannot write {file.target}: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)
    note(f"{file.target}  {size(file.size_bytes)}")


def _nothing(job_id: int, paths: Sequence[str], listed: Sequence[dict[str, Any]]) -> str:
    if not listed:
        return f"Job {job_id} has kept no files. Its log is there: spud logs {job_id}"
    if paths:
        return f"Job {job_id} has kept no such file. What it has: {_some(listed)}."
    return (
        f"Job {job_id} has kept nothing in /output. The code and what it wrote beside it:"
        f" spud fetch {job_id} workspace"
    )


def _some(listed: Sequence[dict[str, Any]]) -> str:
    names = [entry["path"] for entry in listed[:5]]
    return ", ".join(names) + (", …" if len(listed) > len(names) else "")
