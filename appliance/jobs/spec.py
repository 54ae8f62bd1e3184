"""What a user asks for: a command and the resources it needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from appliance.errors import InvalidRequest
from appliance.validation import first_reason, unknown_name

_SIZE = re.compile(r"(?P<number>\d{1,15}(\.\d{1,9})?)\s*(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(
    r"(?=\d)((?P<d>\d{1,9})d)?((?P<h>\d{1,9})h)?((?P<m>\d{1,9})m)?((?P<s>\d{1,9})s?)?", re.IGNORECASE
)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_IMAGE_NAME = re.compile(r"[a-z0-9][a-zA-Z0-9_./:@-]{0,254}")
_OWNED_BY_SPUD = ("SPUD_", "NVIDIA_", "CUDA_VISIBLE_DEVICES")
_SMALLEST_MEMORY_BYTES = 16 * 1024**2
_LARGEST_MEMORY_BYTES = 1024**5
_LONGEST_TIME_S = 10 * 366 * 86_400


def parse_size(text: object) -> int:
    """Return bytes for `8G`, `512M` or a number of bytes; K, M, G and T are powers of 1024."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError("must be a size such as 8G or 512M")
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"].upper()])


def parse_duration(text: object) -> int:
    """Return seconds for `2h`, `1h30m`, `90s` or a number of seconds."""
    if isinstance(text, int):
        return text
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError("must be a time such as 2h, 1h30m or 90s")
    return sum(int(match[unit] or 0) * seconds for unit, seconds in _SECONDS.items())


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"has a name that no variable can have: {name!r}")
        if name.startswith(_OWNED_BY_SPUD):
            raise ValueError(f"sets {name}, which Spud sets itself; leave it out")
        if "\0" in value:
            raise ValueError(f"has a NUL character in {name}")
    return env


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "must be at most 63 letters, digits, dots, dashes and underscores, a letter or digit first"
        )
    return name


def _check_image(name: str) -> str:
    if not _IMAGE_NAME.fullmatch(name):
        raise ValueError(
            "must be the name of an image, such as tensorflow or registry.example/team/image:tag"
        )
    return name


def _check_argument(argument: str) -> str:
    if "\0" in argument:
        raise ValueError("has a NUL character")
    return argument


Argument = Annotated[str, StringConstraints(max_length=32_768), AfterValidator(_check_argument)]
Name = Annotated[str, AfterValidator(_check_name)]
ImageName = Annotated[str, AfterValidator(_check_image)]
Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[int, BeforeValidator(parse_duration)]


class JobSpec(BaseModel):
    """A job as asked for; the keys are those of `job.yaml` and, with dashes, of `spud run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[Argument, ...] = Field(
        min_length=1, max_length=1000, description="program and arguments, run in /workspace"
    )
    name: Name | None = Field(None, description="what the job is called in lists")
    image: ImageName | None = Field(None, description="image to run in; the box has a default")
    gpus: int = Field(0, ge=0, le=1024, description="GPUs the job gets for itself alone")
    cpus: float | None = Field(None, gt=0, le=1024, description="cores the job may use")
    memory: Size | None = Field(
        None,
        ge=_SMALLEST_MEMORY_BYTES,
        le=_LARGEST_MEMORY_BYTES,
        description="host memory the job may use, in bytes or as 8G",
    )
    time: Duration | None = Field(
        None,
        gt=0,
        le=_LONGEST_TIME_S,
        description="limit in seconds or as 2h, after which the job is stopped",
    )
    priority: int = Field(0, ge=-1000, le=1000, description="higher starts first")
    data: tuple[Name, ...] = Field((), max_length=32, description="data sets to mount at /data/<name>")
    env: Annotated[dict[str, str], AfterValidator(_check_env)] = Field(
        default_factory=dict, max_length=200, description="environment variables"
    )

    @property
    def title(self) -> str:
        """The job's name, or the script's, or the program's."""
        if self.name:
            return self.name
        scripts = [word for word in self.command if word.endswith((".py", ".sh"))]
        return PurePosixPath((scripts or list(self.command))[0]).name[:63] or "job"


def parse_spec(values: object) -> JobSpec:
    """Check what a user sent; raise InvalidRequest with one sentence on the first thing that is wrong."""
    if not isinstance(values, Mapping):
        raise InvalidRequest("A job must be a mapping of keys such as command, gpus and image.")
    for key in values:
        if key not in JobSpec.model_fields:
            raise InvalidRequest(unknown_name(str(key), JobSpec.model_fields, f'key "{key}" in the job'))
    try:
        return JobSpec.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidRequest(_describe(error)) from None


def _describe(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    if first["type"] == "missing":
        return f"The job has no {first['loc'][0]}. Give one, such as: command: [python3, train.py]"
    field, value = first["loc"][0], first["input"]
    if isinstance(value, str | int | float):
        return f"{field}: {value!r:.60} {first_reason(error)}."
    return f"{field} {first_reason(error)}."
