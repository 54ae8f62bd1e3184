"""/api/v1/box, /api/v1/data and the description of the API itself."""

from __future__ import annotations

import time
from typing import cast

from flask import Response, current_app, jsonify
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, Field

from appliance import __version__
from appliance.datasets.library import DatasetLibrary
from appliance.jobs.box import Box, Drain
from appliance.jobs.image_name import nameable
from appliance.scheduler import lock
from appliance.web.access import current_user, require_admin
from appliance.web.answers import Parameters, Time, answer, api_blueprint, rfc3339
from appliance.web.audit import audited
from appliance.web.services import services

_REASON_LENGTH = 200

box = api_blueprint("box", "/api/v1")


class ImageJson(BaseModel):
    """An image that jobs can run in."""

    name: str
    digest: str
    size_bytes: int


class DrainJson(BaseModel):
    """Who lets no further job start, and why."""

    by: str
    reason: str
    since: Time


class DrainBody(Parameters):
    """Why no further job shall start."""

    reason: str = Field(default="", max_length=_REASON_LENGTH, description="what users read while they wait")


class BoxJson(BaseModel):
    """The box as the scheduler last saw it."""

    version: str
    scheduler_running: bool
    engine_error: str | None = Field(description="why the container engine cannot be used")
    gpu_error: str | None = Field(description="why there is no usable GPU")
    gpus: int
    cpus: float | None = Field(description="null before the scheduler's first look")
    memory_bytes: int | None
    default_image: str
    code_max_bytes: int
    workspace_max_bytes: int
    images: list[ImageJson]
    drain: DrainJson | None = Field(description="set while an administrator lets no further job start")
    hold: str | None = Field(description="what all jobs wait for, such as space on the disk")
    strangers: list[str] = Field(description="containers with Spud's labels that belong to no job")
    disk_free_bytes: int | None = Field(description="of the disk that holds the store, to 64 MiB")
    disk_total_bytes: int | None


class DatasetJson(BaseModel):
    """A data set that jobs can mount."""

    name: str
    title: str
    bytes: int


class DatasetList(BaseModel):
    """All data sets, by name."""

    datasets: list[DatasetJson]


@box.get("/box", responses={200: BoxJson})
def show_box() -> Response:
    """Describe the box."""
    return answer(box_json())


@box.post("/box/drain", responses={200: BoxJson})
def drain_box(body: DrainBody) -> Response:
    """Let no further job start; those that run go on. Administrators only."""
    require_admin()
    reason = " ".join(body.reason.split())
    with audited("box.drain", "box", reason):
        services().storage.box.set_drain(Drain(current_user().name, reason, time.time()))
    return answer(box_json())


@box.post("/box/resume", responses={200: BoxJson})
def resume_box() -> Response:
    """Let jobs start again; administrators only."""
    require_admin()
    with audited("box.resume", "box"):
        services().storage.box.set_drain(None)
    return answer(box_json())


@box.get("/data", responses={200: DatasetList})
def list_data() -> Response:
    """List the data sets."""
    return answer(DatasetList(datasets=datasets()))


@box.get("/openapi.json", responses={200: {"description": "an OpenAPI 3.1 document"}})
def describe_api() -> Response:
    """Describe this API in OpenAPI."""
    return jsonify(cast(OpenAPI, current_app).api_doc)


def box_json() -> BoxJson:
    """Return what is known of the box."""
    settings, storage = services().settings, services().storage
    seen = storage.box.box()
    known = seen or Box()
    return BoxJson(
        version=__version__,
        scheduler_running=lock.is_held(storage.directory / lock.FILE_NAME),
        engine_error=known.engine_error,
        gpu_error=known.gpu_error,
        gpus=len(known.gpus),
        cpus=seen.cpus if seen else None,
        memory_bytes=seen.memory_bytes if seen else None,
        default_image=settings.images.default,
        code_max_bytes=settings.jobs.code_max_bytes,
        workspace_max_bytes=settings.jobs.workspace_max_bytes,
        images=[
            ImageJson(name=i.name, digest=i.digest, size_bytes=i.size_bytes) for i in nameable(known.images)
        ],
        drain=_drain_json(storage.box.drain()),
        hold=known.hold,
        strangers=list(known.strangers),
        disk_free_bytes=seen.disk_free_bytes if seen else None,
        disk_total_bytes=seen.disk_total_bytes if seen else None,
    )


def _drain_json(drain: Drain | None) -> DrainJson | None:
    if drain is None:
        return None
    return DrainJson(by=drain.by, reason=drain.reason, since=rfc3339(drain.since) or "")


def datasets() -> list[DatasetJson]:
    """Return the data sets on this box."""
    library = DatasetLibrary(services().settings.data.directory)
    return [DatasetJson(name=d.name, title=d.title, bytes=d.bytes) for d in library.list()]
