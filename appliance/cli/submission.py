"""From a command line to a recorded job: collect the code, pack it, send it."""

from __future__ import annotations

import sys
import tempfile
from typing import BinaryIO, cast

import click

from appliance.cli.client import ApiClient, Job, Origin
from appliance.cli.code import Code, check_size, collect, pack
from appliance.cli.git import GitState, read_diff, read_git
from appliance.cli.job_options import Wanted
from appliance.cli.output import note, plural, print_json, size
from appliance.errors import InvalidRequest

_ASK_LIMIT_BYTES = 32 * 1024**2  # below, asking the box for its limits costs more than it can save
_IN_MEMORY_BYTES = 8 * 1024**2
_PROGRESS_BYTES = 4 * 1024**2


def submit_job(client: ApiClient, wanted: Wanted) -> Job:
    """Send a job with its code and return it as recorded; notes on stderr tell what travels."""
    state = read_git(wanted.folder)
    if state.trouble:
        note(f"Sending all of {wanted.folder}, ignored files too, since git says: {state.trouble}")
    code = choose_code(wanted, state)
    note(f"Code: {plural(code.file_count, 'file')}, {size(code.size_bytes)}")
    limits = client.get("/box") if code.size_bytes > _ASK_LIMIT_BYTES else None
    if limits:
        check_size(code, code.size_bytes, limits["workspace_max_bytes"], "when unpacked")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
        archive = cast(BinaryIO, spool)
        archive_bytes = pack(code, archive)
        if limits:
            check_size(code, archive_bytes, limits["code_max_bytes"], "compressed")
        origin = Origin(state.commit, read_diff(wanted.folder, code.has) if state.is_dirty else b"")
        return _send(client, wanted, archive, archive_bytes, origin)


def choose_code(wanted: Wanted, state: GitState) -> Code:
    """Return what travels; all of the folder when git ignores the script or everything."""
    code = collect(wanted.folder, state.files)
    if state.files is not None and not (code.has(wanted.script) if wanted.script else code.files):
        code = collect(wanted.folder)
    if wanted.script and not code.has(wanted.script):
        raise InvalidRequest(
            f"{wanted.script} is left out by {wanted.folder / '.spudignore'}. Take it out there."
        )
    return code


def _send(client: ApiClient, wanted: Wanted, archive: BinaryIO, archive_bytes: int, origin: Origin) -> Job:
    try:
        if archive_bytes < _PROGRESS_BYTES or not sys.stderr.isatty():
            return client.submit(wanted.spec, archive, origin, lambda _count: None)
        with click.progressbar(length=archive_bytes, label="Sending the code", file=sys.stderr) as bar:
            return client.submit(wanted.spec, archive, origin, bar.update)
    except KeyboardInterrupt:
        note("\nWhether the job has been submitted is told by: spud list")
        raise


def describe(job: Job) -> str:
    """Return what was submitted, such as `Submitted job 17 (2 GPUs)`, as a sentence."""
    gpus = plural(job["gpus"], "GPU") if job["gpus"] else "no GPU"
    return f"Submitted job {job['id']} ({gpus})."


def print_submitted(job: Job, *, as_json: bool) -> None:
    """Answer with a job that nobody follows."""
    if as_json:
        print_json(job)
    else:
        click.echo(f"{describe(job)} Follow it with: spud logs -f {job['id']}")
