"""/api/v1/jobs/ID: what it takes to run a job again: retry, the uncommitted changes, the engine's command."""

from __future__ import annotations

from typing import Any

from flask import Response

from appliance.containers.arguments import container_arguments
from appliance.containers.command_line import command_line
from appliance.errors import Conflict, NotFound
from appliance.jobs.job import Job
from appliance.users.user import User
from appliance.web.access import current_user
from appliance.web.answers import answer, api_blueprint
from appliance.web.audit import audited
from appliance.web.job_json import JobDetail, job_detail
from appliance.web.jobs import AttemptQuery, JobPath, newest_attempt, visible_job
from appliance.web.services import services

reproduction = api_blueprint("reproduction", "/api/v1/jobs")


def _text(description: str) -> dict[Any, Any]:
    return {200: {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}}


@reproduction.post("/<int:job_id>/retry", responses={200: JobDetail})
def retry_job(path: JobPath) -> Response:
    """Run a finished job again, with the same code, image and options."""
    job = retry(visible_job(path.job_id), current_user())
    return answer(job_detail(services().storage.jobs, job))


@reproduction.get("/<int:job_id>/diff", responses=_text("the output of git diff at submit"))
def read_diff(path: JobPath) -> Response:
    """Read the changes that were not committed when the job was submitted."""
    job = visible_job(path.job_id)
    if job.git_diff is None:
        raise NotFound(f"Job {job.id} has no uncommitted changes on record.")
    diff = services().storage.snapshots.read_diff(job.git_diff)
    return Response(diff, mimetype="text/plain")


@reproduction.get("/<int:job_id>/command", responses=_text("a docker command"))
def read_command(path: JobPath, query: AttemptQuery) -> Response:
    """Read the docker command that does what an attempt did; values of secrets are not in it."""
    job = visible_job(path.job_id)
    return Response(equivalent_command(job, query.attempt), mimetype="text/plain")


def retry(job: Job, by: User) -> Job:
    """Leave the wish that a finished job runs again; raises Conflict when it cannot."""
    store, snapshots = services().storage.jobs, services().storage.snapshots
    if job.is_finished and job.snapshot and not snapshots.path(job.snapshot).exists():
        raise Conflict(
            f"Job {job.id} cannot run again: its code is no longer kept. Submit it again with: spud submit"
        )
    with audited("job.retry", job.id, job.name):
        if not store.request_retry(job.id, by):
            raise Conflict(
                f"Job {job.id} is {store.get(job.id).state}, not finished."
                f" Wait for its end, or end it with: spud cancel {job.id}"
            )
    return store.get(job.id)


def equivalent_command(job: Job, number: int | None) -> str:
    """Return the docker command of an attempt, the newest by default; raises NotFound before the first."""
    storage, settings = services().storage, services().settings
    attempt = newest_attempt(job, number)
    image = (attempt.image_digest if attempt else None) or job.image_digest
    if attempt is None or image is None:
        raise NotFound(f"Job {job.id} has not run yet. Wait for it with: spud logs -f {job.id}")
    box = storage.box.box()
    arguments = container_arguments(
        job,
        attempt,
        storage.users.get(job.owner),
        storage.job_directory(attempt),
        image,
        box.memory_bytes if box else 0,
        settings,
        dict.fromkeys(job.spec.secrets, ""),
    )
    return command_line(arguments, settings.gpus.injection)
