"""/api/v1/gpus: the cards, what they do now, and for which job."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel, Field, ValidationError

from appliance.config import split_address
from appliance.gpus.gpu import Gpu
from appliance.jobs.box import Box
from appliance.jobs.job import Job
from appliance.storage import Storage
from appliance.users.user import User
from appliance.web.access import current_user
from appliance.web.answers import answer, api_blueprint
from appliance.web.services import services

_TIMEOUT_S = 1.0
_ANSWER_BYTES = 1024**2

# The exporter is this box: a proxy of the environment must not be asked for it.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

gpus = api_blueprint("gpus", "/api/v1")


class GpuJob(BaseModel):
    """The job that a GPU works for."""

    id: int
    owner: str
    name: str


class GpuJson(BaseModel):
    """A GPU; null is what the card does not report."""

    index: int
    uuid: str
    name: str
    simulated: bool = Field(default=False, description="no such card is there: the driver is simulated")
    up: bool | None = Field(None, description="null when the exporter does not answer")
    utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    error: str | None = None
    job: GpuJob | None = Field(None, description="null when idle, and for another user's job")
    reserved: bool = Field(default=False, description="given to a job, whoever owns it")


class Driver(BaseModel):
    """The GPU driver."""

    version: str | None = None
    error: str | None = None
    simulated: bool = False


class GpuList(BaseModel):
    """All GPUs of the box."""

    driver: Driver
    gpus: list[GpuJson]
    exporter_error: str | None = None


@gpus.get("/gpus", responses={200: GpuList})
def list_gpus() -> Response:
    """Show the GPUs, what they do now, and for which job."""
    return answer(gpu_list(current_user()))


def gpu_list(user: User) -> GpuList:
    """Return the exporter's readings with the jobs that hold the cards."""
    found = _read_exporter() or _without_readings(services().storage.box.box())
    jobs = _jobs_by_gpu(services().storage)
    for gpu in found.gpus:
        job = jobs.get(gpu.uuid)
        gpu.reserved = job is not None
        gpu.job = _gpu_job(job, user)
    return found


def _read_exporter() -> GpuList | None:
    host, port = split_address(services().settings.exporter.listen)
    url = f"http://{_reachable(host)}:{port}/api/gpus"
    try:
        with _direct.open(url, timeout=_TIMEOUT_S) as response:
            return GpuList.model_validate(json.loads(response.read(_ANSWER_BYTES)))
    except (OSError, urllib.error.URLError, ValueError, ValidationError):
        return None


def _reachable(host: str) -> str:
    """Return the address at which a server that listens on `host` answers from the box itself."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _without_readings(box: Box | None) -> GpuList:
    known = box or Box()
    return GpuList(
        driver=Driver(error=known.gpu_error),
        gpus=[_identity(gpu) for gpu in known.gpus],
        exporter_error="The exporter does not answer, so there are no readings. Start it with: spud up",
    )


def _identity(gpu: Gpu) -> GpuJson:
    return GpuJson(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        simulated=gpu.simulated,
        memory_total_bytes=gpu.memory_total_bytes,
    )


def _jobs_by_gpu(storage: Storage) -> Mapping[str, Job]:
    jobs = {job.id: job for job, _ in storage.jobs.active()}
    return {held.gpu_uuid: jobs[held.job_id] for held in storage.jobs.reservations() if held.job_id in jobs}


def _gpu_job(job: Job | None, user: User) -> GpuJob | None:
    """Return the job as far as this user may see it."""
    if job is None or (job.owner_id != user.id and not user.is_admin):
        return None
    return GpuJob(id=job.id, owner=job.owner, name=job.name)
