"""/api/v1/secrets: names of a user's secrets, in and out; values only in."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from appliance.errors import InvalidRequest
from appliance.users.secrets import LARGEST_VALUE_BYTES
from appliance.web.access import current_user
from appliance.web.answers import Parameters, Time, answer, api_blueprint, rfc3339
from appliance.web.audit import audited
from appliance.web.services import services

secrets = api_blueprint("secrets", "/api/v1/secrets")


class SecretJson(BaseModel):
    """A secret. Its value is told to jobs that name it, and to nobody else."""

    name: str
    set_at: Time


class SecretList(BaseModel):
    """The user's secrets, by name."""

    secrets: list[SecretJson]


class SecretPath(BaseModel):
    """The name of a secret, which is that of the variable in jobs."""

    name: str


class SecretValue(Parameters):
    """What to keep."""

    # Any: a refusal of the wrong type would repeat the value.
    value: Any = Field(
        description=f"at most {LARGEST_VALUE_BYTES} bytes",
        json_schema_extra={"type": "string", "writeOnly": True},
    )


@secrets.get("", responses={200: SecretList})
def list_secrets() -> Response:
    """List one's secrets, without their values."""
    return answer(SecretList(secrets=_list()))


@secrets.put("/<name>", responses={200: SecretList})
def set_secret(path: SecretPath, body: SecretValue) -> Response:
    """Keep a secret, in the place of an earlier one of that name."""
    if not isinstance(body.value, str):
        raise InvalidRequest("The value of a secret must be a string.")
    with audited("secret.set", path.name):
        services().storage.secrets.set(current_user().id, path.name, body.value)
    return answer(SecretList(secrets=_list()))


@secrets.delete("/<name>", responses={200: SecretList})
def remove_secret(path: SecretPath) -> Response:
    """Remove a secret; jobs that have started keep it until they end."""
    with audited("secret.remove", path.name):
        services().storage.secrets.remove(current_user().id, path.name)
    return answer(SecretList(secrets=_list()))


def _list() -> list[SecretJson]:
    found = services().storage.secrets.list(current_user().id)
    return [SecretJson(name=secret.name, set_at=rfc3339(secret.created_at) or "") for secret in found]
