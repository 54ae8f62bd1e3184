"""/api/v1/gpus: the cards, what they do now, and for which job."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel, Field, ValidationError

from appliance.config import split_address
from appliance.errors import Conflict
from appliance.gpus.gpu import Gpu
from appliance.jobs.box import Box
from appliance.jobs.box_store import BoxStore
from appliance.jobs.job import Job, Reservation
from appliance.storage import Storage
from appliance.users.user import User
from appliance.web.access import current_user, require_admin
from appliance.web.answers import Time, answer, api_blueprint, rfc3339
from appliance.web.audit import audited
from appliance.web.services import services

_TIMEOUT_S = 1.0
_ANSWER_BYTES = 1024**2

# The exporter is this box: a proxy of the environment must not be asked for it.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

gpus = api_blueprint("gpus", "/api/v1")


class GpuJob(BaseModel):
    """A job that a GPU works for."""

    id: int
    owner: str
    name: str
    memory_bytes: int | None = Field(None, description="its share of the card; null when it has all of it")


class QuarantineJson(BaseModel):
    """Why a GPU is not given to jobs until it is well again."""

    cause: str = Field(description="lost, left_over or xid")
    reason: str
    since: Time
    release_requested_by: str | None = Field(description="the administrator who asked for its release")


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
    jobs: list[GpuJob] = Field(default_factory=list, description="all that share it, without other users'")
    reserved: bool = Field(default=False, description="given to a job, whoever owns it")
    reserved_bytes: int | None = Field(None, description="memory that jobs share; null when none is shared")
    withheld: str | None = Field(None, description="why it is not given to jobs though it is well")
    quarantine: QuarantineJson | None = None


class GpuPath(BaseModel):
    """Which GPU."""

    uuid: str = Field(max_length=100, description="UUID of the GPU")


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


@gpus.post("/gpus/<uuid>/release", responses={202: QuarantineJson})
def release_gpu(path: GpuPath) -> Response:
    """Ask that a GPU leaves quarantine; the scheduler sees to it. Administrators only."""
    require_admin()
    store = services().storage.box
    with audited("gpu.release", path.uuid):
        if not store.request_release(path.uuid, current_user().name):
            raise Conflict(f"GPU {path.uuid} is not in quarantine. Look at: spud gpus")
    return answer(_quarantines(store)[path.uuid], 202)


def gpu_list(user: User) -> GpuList:
    """Return the exporter's readings with the jobs that hold the cards, and why cards are withheld."""
    storage = services().storage
    box = storage.box.box() or Box()
    found = _read_exporter() or _without_readings(box)
    quarantines = _quarantines(storage.box)
    found.gpus += _missing(box, found, quarantines)
    shares = _shares(storage)
    for gpu in found.gpus:
        held = shares.get(gpu.uuid, [])
        gpu.reserved = bool(held)
        gpu.reserved_bytes = sum(share.memory_bytes or 0 for share, _ in held) or None
        gpu.jobs = [_gpu_job(job, share) for share, job in held if user.is_admin or job.owner_id == user.id]
        gpu.job = gpu.jobs[0] if gpu.jobs else None
        gpu.quarantine = quarantines.get(gpu.uuid)
        gpu.withheld = None if gpu.quarantine else box.occupied.get(gpu.uuid)
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


def _without_readings(box: Box) -> GpuList:
    return GpuList(
        driver=Driver(error=box.gpu_error),
        gpus=[_identity(gpu) for gpu in box.gpus],
        exporter_error="The exporter does not answer, so there are no readings. Start it with: spud up",
    )


def _missing(box: Box, found: GpuList, quarantines: Mapping[str, QuarantineJson]) -> list[GpuJson]:
    """Return the cards that the scheduler misses and of which the exporter knows nothing."""
    listed = {gpu.uuid for gpu in found.gpus}
    missing = [_identity(gpu) for gpu in box.gpus if gpu.uuid in quarantines and gpu.uuid not in listed]
    for gpu in missing:
        gpu.up = False
    return missing


def _identity(gpu: Gpu) -> GpuJson:
    return GpuJson(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        simulated=gpu.simulated,
        memory_total_bytes=gpu.memory_total_bytes,
    )


def _shares(storage: Storage) -> dict[str, list[tuple[Reservation, Job]]]:
    """Return who holds which card, and how much of it."""
    jobs = {job.id: job for job, _ in storage.jobs.active()}
    shares: dict[str, list[tuple[Reservation, Job]]] = {}
    for held in storage.jobs.reservations():
        if held.job_id in jobs:
            shares.setdefault(held.gpu_uuid, []).append((held, jobs[held.job_id]))
    return shares


def _gpu_job(job: Job, share: Reservation) -> GpuJob:
    return GpuJob(id=job.id, owner=job.owner, name=job.name, memory_bytes=share.memory_bytes)


def _quarantines(store: BoxStore) -> dict[str, QuarantineJson]:
    return {
        entry.gpu_uuid: QuarantineJson(
            cause=entry.cause,
            reason=entry.reason,
            since=rfc3339(entry.since) or "",
            release_requested_by=entry.release_requested_by,
        )
        for entry in store.quarantines()
    }
