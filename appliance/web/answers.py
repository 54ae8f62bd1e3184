"""The form of API answers: pydantic models out, one sentence for a bad parameter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models import Tag  # type: ignore[attr-defined]
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from appliance.errors import InvalidRequest
from appliance.validation import first_reason

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-21T09:00:00.123Z"])]


def _refuse_number(value: object) -> object:
    """Refuse a bare number, which pydantic takes for Unix seconds: `2026` would be a time in 1970."""
    if isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("must be a time such as 2026-11-21T09:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_refuse_number)]
"""A point in time that a request names."""


class Error(BaseModel):
    """What went wrong."""

    code: str = Field(description="a stable word for programs")
    message: str = Field(description="one sentence with the next step")


class ErrorAnswer(BaseModel):
    """Every answer that is not 2xx."""

    error: Error


class Parameters(BaseModel):
    """Parameters of a request; a misspelt one is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


def api_blueprint(noun: str, url_prefix: str) -> APIBlueprint:
    """Return the blueprint of a noun's part of the API."""
    return APIBlueprint(
        noun,
        __name__,
        url_prefix=url_prefix,
        abp_tags=[Tag(name=noun)],
        # 400 by itself too: the library would describe it as a list of errors.
        abp_responses={"400": ErrorAnswer, "4XX": ErrorAnswer, "5XX": ErrorAnswer},
    )


def answer(model: BaseModel, status: int = 200) -> Response:
    """Return the model as a JSON response."""
    return Response(model.model_dump_json(), status, mimetype="application/json")


def rfc3339(unix_s: float | None) -> str | None:
    """Return Unix seconds as RFC 3339 in UTC, to the millisecond."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refuse_parameters(error: ValidationError) -> Response:
    """Raise InvalidRequest for the first parameter or key that is wrong."""
    first: Any = error.errors()[0]
    if not first["loc"]:
        raise InvalidRequest("The request needs a body that is a JSON object.")
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        raise InvalidRequest(f'Unknown parameter "{name[:100]}". The API is told at /api/v1/openapi.json.')
    if first["type"] == "missing":
        raise InvalidRequest(f"The request lacks {name}. The API is told at /api/v1/openapi.json.")
    raise InvalidRequest(f"{name}: {str(first['input'])[:60]!r} {first_reason(error)}.")
