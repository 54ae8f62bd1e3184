"""/jobs: the list, a job with its live log, and the question before a cancel."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import NotFound
from appliance.gpus.gpu import Gpu
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import ACTIVE, Attempt, Job, JobState
from appliance.jobs.screen import WHOLE, Screen
from appliance.web import job_files, log_text
from appliance.web.access import current_user
from appliance.web.jobs import LARGEST_ID, cancel, newest_attempt, owner_id, visible_job
from appliance.web.log_stream import Place
from appliance.web.reproduction import retry
from appliance.web.services import services

_PAGE = 50
_LOG_LINES = 1000
_FILES = 200

FILTERS: dict[str, tuple[JobState, ...]] = {
    "all": tuple(JobState),
    "waiting": (JobState.PENDING,),
    "running": tuple(ACTIVE),
    "finished": (JobState.FINISHED,),
}

job_pages = Blueprint("job_pages", __name__)


@dataclass(frozen=True, slots=True)
class LogView:
    """The end of a log as the page shows it; the live stream goes on from `place`."""

    text: str
    place: str
    is_cut: bool
    cursor: tuple[int, int] = (0, 0)


@job_pages.get("/jobs")
def list_jobs() -> str:
    """List jobs, newest first, a page at a time."""
    shown = request.args.get("show", "all")
    if shown not in FILTERS:
        raise NotFound(f"There is no list of jobs called {shown[:40]!r}. Choose: {', '.join(FILTERS)}.")
    owner = request.args.get("owner", "all")
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before <= LARGEST_ID:
        before = None
    jobs = services().storage.jobs.list(owner_id(current_user(), owner), FILTERS[shown], before, _PAGE + 1)
    return render_template(
        "jobs.html",
        jobs=jobs[:_PAGE],
        next=jobs[_PAGE - 1].id if len(jobs) > _PAGE else None,
        before=before,
        shown=shown,
        owner=owner,
        filters=FILTERS,
    )


@job_pages.get("/jobs/<int:job_id>")
def show_job(job_id: int) -> str:
    """Show a job with its log."""
    job = visible_job(job_id)
    store = services().storage.jobs
    attempt = newest_attempt(job)
    directory = services().storage.job_directory(attempt) if attempt else None
    files = job_files.list_files(directory.root) if directory else ()
    return render_template(
        "job.html",
        job=job,
        attempts=store.attempts(job.id),
        events=store.events(job.id),
        gpu_names=_gpu_names(),
        files=files[:_FILES],
        file_count=len(files),
        log=_log_view(attempt, directory),
    )


@job_pages.get("/jobs/<int:job_id>/cancel")
def confirm_cancel(job_id: int) -> str:
    """Ask before a job is cancelled."""
    return render_template("cancel.html", job=visible_job(job_id))


@job_pages.post("/jobs/<int:job_id>/cancel")
def cancel_job(job_id: int) -> Response:
    """Leave the wish that the job be cancelled."""
    job: Job = cancel(visible_job(job_id), current_user())
    return redirect(url_for("job_pages.show_job", job_id=job.id), 303)


@job_pages.post("/jobs/<int:job_id>/retry")
def retry_job(job_id: int) -> Response:
    """Leave the wish that the job runs again."""
    job: Job = retry(visible_job(job_id), current_user())
    return redirect(url_for("job_pages.show_job", job_id=job.id), 303)


def _log_view(attempt: Attempt | None, directory: JobDirectory | None) -> LogView:
    if attempt is None or directory is None:
        return LogView("", "0", is_cut=False)
    start = log_text.tail_offset(directory.log, _LOG_LINES)
    text, offset = log_text.read_from(directory.log, start)
    screen = Screen(WHOLE)
    lines = screen.feed(text)
    cursor = screen.cursor
    return LogView(lines + screen.end(), str(Place(attempt.number, offset)), start > 0, cursor)


def _gpu_names() -> dict[str, str]:
    box = services().storage.box.box()
    return {gpu.uuid: _gpu_name(gpu) for gpu in box.gpus} if box else {}


def _gpu_name(gpu: Gpu) -> str:
    return f"GPU {gpu.index}, {gpu.name}{' (simulated)' if gpu.simulated else ''}"
