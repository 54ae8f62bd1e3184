"""/api/v1/jobs: submit, list, show, cancel, logs and files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from flask import Response, request, send_file, url_for
from pydantic import BaseModel, Field
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import Conflict, InvalidRequest, NotFound, Unavailable
from appliance.jobs import log
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Attempt, Job, JobState
from appliance.jobs.spec import JobSpec
from appliance.users.user import User
from appliance.web import job_files, log_text
from appliance.web.access import current_user
from appliance.web.answers import Moment, Parameters, Time, answer, api_blueprint, rfc3339
from appliance.web.audit import audit
from appliance.web.change import JobChange, change
from appliance.web.job_json import JobDetail, JobList, job_detail, job_summary
from appliance.web.log_stream import LogStream, Place, choose_attempt
from appliance.web.removed import refuse_removed_files, refuse_removed_log
from appliance.web.services import services
from appliance.web.submission import parse_json, submit

LARGEST_ID = 2**63 - 1
"""What SQLite can hold as a row's id."""

_SPEC_BYTES = 1024**2
_TAIL_LINES = 1_000_000

jobs = api_blueprint("jobs", "/api/v1/jobs")


class JobQuery(Parameters):
    """Which jobs to list."""

    state: list[JobState] = Field(default=[], description="only these states; may be repeated")
    owner: str = Field("me", description="`me`, `all` or a name; only administrators see others'")
    limit: int = Field(50, ge=1, le=500)
    before: int | None = Field(None, ge=1, le=LARGEST_ID, description="only jobs with a smaller id")


class JobPath(BaseModel):
    """The id of a job."""

    job_id: int


class FilePath(JobPath):
    """A file of a job."""

    file_path: str


class AttemptQuery(Parameters):
    """Which attempt; the newest when left out."""

    attempt: int | None = Field(None, ge=1, le=LARGEST_ID)


class LogQuery(AttemptQuery):
    """Which part of the log."""

    tail: int | None = Field(None, ge=0, le=_TAIL_LINES, description="only the last lines")
    since: Moment | None = Field(None, description="only lines written since then, RFC 3339")
    timestamps: bool = Field(default=False, description="put its time, RFC 3339 in UTC, before each line")


class StreamQuery(LogQuery):
    """Where the stream begins; tail and since hold without an offset."""

    offset: str = Field(
        "0",
        pattern=r"^([0-9]{1,18}-)?[0-9]{1,18}$",
        description="the `id` of the last event seen, which names an attempt and an offset in its log",
    )


class FileJson(BaseModel):
    """A file that the job keeps."""

    path: str
    bytes: int
    modified_at: Time


class FileList(BaseModel):
    """The job's regular files below output/ and workspace/, at most 10,000."""

    files: list[FileJson]


_SPEC_SCHEMA: dict[str, Any] = JobSpec.model_json_schema(ref_template="#/components/schemas/{model}")
_SUBMIT_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": _SPEC_SCHEMA},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {
                    "spec": {"type": "string", "description": "the job, as in application/json"},
                    "code": {"type": "string", "format": "binary", "description": "a .tar.gz of the code"},
                    "git_commit": {"type": "string", "description": "the commit that the code comes from"},
                    "git_diff": {
                        "type": "string",
                        "format": "binary",
                        "description": "git diff of what is not committed, at most 1 MiB",
                    },
                },
            }
        },
    },
}


def _content(mimetype: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {mimetype: {"schema": {"type": "string"}}}}


_EVENTS = {
    "description": "server-sent events: log, state, attempt, end",
    "content": {"text/event-stream": {}},
}


@jobs.get("", responses={200: JobList})
def list_jobs(query: JobQuery) -> Response:
    """List jobs, newest first."""
    store = services().storage.jobs
    states = query.state or tuple(JobState)
    found = store.list(owner_id(current_user(), query.owner), states, query.before, query.limit + 1)
    page = found[: query.limit]
    return answer(
        JobList(
            jobs=[job_summary(store, job) for job in page],
            next=page[-1].id if len(found) > query.limit else None,
        )
    )


@jobs.post("", responses={201: JobDetail}, openapi_extensions={"requestBody": _SUBMIT_BODY})
def submit_job() -> Response:
    """Submit a job, with or without code."""
    if request.mimetype == "multipart/form-data":
        job = _submit_form()
    elif request.is_json:
        request.max_content_length = _SPEC_BYTES
        job = submit(current_user(), parse_json(_text(request.get_data())), None)
    else:
        raise InvalidRequest("Send the job as application/json, or as multipart/form-data with its code.")
    response = answer(job_detail(services().storage.jobs, job), 201)
    response.headers["Location"] = url_for("jobs.show_job", job_id=job.id)
    return response


@jobs.get("/<int:job_id>", responses={200: JobDetail})
def show_job(path: JobPath) -> Response:
    """Show a job with its attempts and its history."""
    return answer(job_detail(services().storage.jobs, visible_job(path.job_id)))


@jobs.patch("/<int:job_id>", responses={200: JobDetail})
def change_job(path: JobPath, body: JobChange) -> Response:
    """Change the priority, the time limit or the name of a job; of one that runs, the time limit."""
    job = change(visible_job(path.job_id).id, body)
    return answer(job_detail(services().storage.jobs, job))


@jobs.post("/<int:job_id>/cancel", responses={200: JobDetail})
def cancel_job(path: JobPath) -> Response:
    """Ask for the end of a job; the scheduler stops it."""
    job = cancel(visible_job(path.job_id), current_user())
    return answer(job_detail(services().storage.jobs, job))


@jobs.get("/<int:job_id>/logs", responses={200: _content("text/plain", "the log so far")})
def read_log(path: JobPath, query: LogQuery) -> Response:
    """Read the log so far."""
    job = visible_job(path.job_id)
    refuse_removed_log(newest_attempt(job, query.attempt))
    directory = job_directory(job, query.attempt)
    return Response(_log_pieces(directory, query), mimetype="text/plain")


@jobs.get("/<int:job_id>/logs/stream", responses={200: _EVENTS})
def follow_log(path: JobPath, query: StreamQuery) -> Response:
    """Follow the log and the state as server-sent events until the job has finished."""
    job = visible_job(path.job_id)
    place = Place.parse(request.headers.get("Last-Event-ID", "")) or Place.parse(query.offset) or Place()
    refuse_removed_log(newest_attempt(job, query.attempt or place.attempt))
    if directory := job_directory(job, query.attempt or place.attempt):
        log_text.check_offset(directory.log, place.offset)
        if place == Place():
            place = Place(None, log_text.start_offset(directory.log, query.tail, _unix(query.since)))
    permits = services().streams
    if not permits.acquire(blocking=False):
        raise Unavailable("Too many logs are being followed at once. Close one, or try again in a moment.")
    stream = LogStream(services().storage, job.id, query.attempt, place)
    if query.timestamps:
        stream = stream.with_times()
    is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    response = Response(stream.events(services().stopping, is_gone), mimetype="text/event-stream")
    # Not in the generator: one that is closed before its first event would keep the permit.
    response.call_on_close(permits.release)
    response.headers["X-Accel-Buffering"] = "no"
    return response


@jobs.get("/<int:job_id>/files", responses={200: FileList})
def list_files(path: JobPath, query: AttemptQuery) -> Response:
    """List the files that the job keeps."""
    job = visible_job(path.job_id)
    refuse_removed_files(newest_attempt(job, query.attempt))
    directory = job_directory(job, query.attempt)
    files = job_files.list_files(directory.root) if directory else ()
    return answer(
        FileList(
            files=[
                FileJson(path=file.path, bytes=file.bytes, modified_at=rfc3339(file.modified_at) or "")
                for file in files
            ]
        )
    )


@jobs.get(
    "/<int:job_id>/files/<path:file_path>", responses={200: _content("application/octet-stream", "the file")}
)
def fetch_file(path: FilePath, query: AttemptQuery) -> BaseResponse:
    """Fetch a file that the job keeps."""
    job = visible_job(path.job_id)
    refuse_removed_files(newest_attempt(job, query.attempt), path.file_path.partition("/")[0])
    directory = job_directory(job, query.attempt)
    if directory is None:
        raise NotFound(f"Job {path.job_id} has not started yet, so it has no files.")
    found = job_files.open_file(directory.root, path.file_path)
    response = send_file(
        found.file,
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=found.name,
        last_modified=found.modified_at,
        etag=False,
    )
    response.content_length = found.bytes
    return response


def visible_job(job_id: int) -> Job:
    """Return the job; another user's is as missing as one that never was."""
    missing = NotFound(f"No job {job_id}. List jobs with: spud list")
    if job_id > LARGEST_ID:
        raise missing
    job = services().storage.jobs.get(job_id)
    user = current_user()
    if job.owner_id != user.id and not user.is_admin:
        raise missing
    return job


def owner_id(user: User, owner: str) -> int | None:
    """Return whose jobs to list, None for everyone's; a user without the admin role sees only own jobs."""
    if not user.is_admin or owner == "me":
        return user.id
    return None if owner == "all" else services().storage.users.get(owner).id


def cancel(job: Job, by: User) -> Job:
    """Leave the wish that the job be cancelled; raises Conflict when it has finished."""
    store = services().storage.jobs
    with services().storage.database.transaction():
        if store.request_cancel(job.id, by):
            audit("job.cancel", job.id, f"of {job.owner}")
        elif store.get(job.id).is_finished:
            raise Conflict(f"Job {job.id} is finished already.")
    return store.get(job.id)


def newest_attempt(job: Job, number: int | None = None) -> Attempt | None:
    """Return the attempt of that number or the newest; None before the first. Raises NotFound."""
    return choose_attempt(services().storage.jobs.attempts(job.id), number)


def job_directory(job: Job, number: int | None = None) -> JobDirectory | None:
    """Return the folders of an attempt, of the newest by default; None before the first."""
    attempt = newest_attempt(job, number)
    return services().storage.job_directory(attempt) if attempt else None


def _submit_form() -> Job:
    if "spec" not in request.form:
        raise InvalidRequest("The form lacks the field spec, which holds the job as JSON.")
    upload = request.files.get("code")
    code: BinaryIO | None = upload.stream if upload else None  # type: ignore[assignment]
    changes = request.files.get("git_diff")
    git_diff: BinaryIO | None = changes.stream if changes else None  # type: ignore[assignment]
    return submit(
        current_user(), parse_json(request.form["spec"]), code, request.form.get("git_commit"), git_diff
    )


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("The job is not valid JSON: it is not UTF-8.") from None


def _log_pieces(directory: JobDirectory | None, query: LogQuery) -> Iterator[bytes]:
    if directory is None:
        return
    start = log_text.start_offset(directory.log, query.tail, _unix(query.since))
    read = log.read_stamped if query.timestamps else log.read
    for _, piece in read(directory.log, start):
        yield piece


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None
