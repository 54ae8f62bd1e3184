"""/api/v1/box, /api/v1/data and the description of the API itself."""

from __future__ import annotations

from typing import cast

from flask import Response, current_app, jsonify
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, Field

from appliance import __version__
from appliance.datasets.library import DatasetLibrary
from appliance.jobs.box import Box
from appliance.jobs.image_name import nameable
from appliance.scheduler import lock
from appliance.web.answers import answer, api_blueprint
from appliance.web.services import services

box = api_blueprint("box", "/api/v1")


class ImageJson(BaseModel):
    """An image that jobs can run in."""

    name: str
    digest: str
    size_bytes: int


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
    )


def datasets() -> list[DatasetJson]:
    """Return the data sets on this box."""
    library = DatasetLibrary(services().settings.data.directory)
    return [DatasetJson(name=d.name, title=d.title, bytes=d.bytes) for d in library.list()]
