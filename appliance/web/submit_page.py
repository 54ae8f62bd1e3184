"""/submit: a form for people who have a script and a browser."""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import InvalidRequest, SpudError
from appliance.web.access import current_user
from appliance.web.box import box_json, datasets
from appliance.web.services import services
from appliance.web.submission import submit

_INTERPRETERS = {".py": ["python3"], ".sh": ["bash"]}
_NAME_BYTES = 255  # of a file, on every Linux file system
_IN_MEMORY_BYTES = 1024**2
_PASSED_ON = (
    *("name", "image", "gpus", "gpu_memory", "gpu_model", "cpus", "memory", "time", "priority", "retries"),
    "requirements",
)

submit_page = Blueprint("submit_page", __name__)


@submit_page.get("/submit")
def show_form() -> str:
    """Show an empty form."""
    return _page({"priority": "0"}, None)


@submit_page.post("/submit")
def submit_form() -> BaseResponse:
    """Submit the uploaded files as a job; a mistake shows the form again with what was entered."""
    try:
        files = [file for file in request.files.getlist("files") if file.filename]
        values = spec_values(request.form, [_name(file) for file in files])
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as archive:
            pack(files, cast(BinaryIO, archive))
            archive.seek(0)
            job = submit(current_user(), values, cast(BinaryIO, archive))
    except SpudError as error:
        return _again(error)
    return redirect(url_for("job_pages.show_job", job_id=job.id), 303)


def spec_values(form: MultiDict[str, str], names: Sequence[str]) -> dict[str, object]:
    """Return the keys of the job's spec from the form's fields; empty fields are left out."""
    values: dict[str, object] = {key: form[key].strip() for key in _PASSED_ON if form.get(key, "").strip()}
    values["command"] = [
        *_script(form.get("script", "").strip(), names),
        *_arguments(form.get("arguments", "")),
    ]
    values["data"] = form.getlist("data")
    return values


def pack(files: Sequence[FileStorage], archive: BinaryIO) -> None:
    """Write the uploaded files as a .tar.gz; the same files give the same bytes."""
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for file in files:
            member = tarfile.TarInfo(_name(file))
            member.size = file.stream.seek(0, io.SEEK_END)
            member.mode = 0o755 if member.name.endswith(".sh") else 0o644
            file.stream.seek(0)
            tar.addfile(member, file.stream)


def _script(chosen: str, names: Sequence[str]) -> list[str]:
    """Return the start of the command: the chosen file, or the first that can be run."""
    if not names:
        raise InvalidRequest("Choose the script to run, a file that ends in .py or .sh.")
    if chosen and chosen not in names:
        raise InvalidRequest(f"{chosen!r} is not among the uploaded files: {', '.join(names)[:300]}.")
    scripts = [
        name for name in ([chosen] if chosen else names) if PurePosixPath(name).suffix in _INTERPRETERS
    ]
    if not scripts:
        raise InvalidRequest("None of these files can be run. Choose one that ends in .py or .sh.")
    return [*_INTERPRETERS[PurePosixPath(scripts[0]).suffix], scripts[0]]


def _arguments(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise InvalidRequest(
            "The arguments hold a quote that is not closed. Close it and try again."
        ) from None


def _name(file: FileStorage) -> str:
    """Return the file's own name; browsers may send the folder before it."""
    name = PurePosixPath((file.filename or "").replace("\\", "/")).name
    if (
        name in ("", "..")
        or name.startswith("-")
        or not name.isprintable()
        or len(name.encode()) > _NAME_BYTES
    ):
        raise InvalidRequest(f"{name[:80]!r} cannot be the name of a file. Rename it and try again.")
    return name


def _again(error: SpudError) -> Response:
    entered = {key: value for key, value in request.form.items() if key != "csrf_token"}
    return make_response(_page(entered, error), error.status)


def _page(entered: dict[str, str], error: SpudError | None) -> str:
    return render_template(
        "submit.html",
        entered=entered,
        chosen_data=request.form.getlist("data"),
        error=error,
        box=box_json(),
        datasets=datasets(),
        limit_bytes=services().settings.jobs.code_max_bytes,
    )
