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
    WithJsonSchema,
    model_validator,
)

from appliance.errors import InvalidRequest
from appliance.jobs.reason import NEVER_RETRIED, Reason
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
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError("must be a size such as 8G or 512M")
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"].upper()])


def parse_duration(text: object) -> int:
    """Return seconds for `2h`, `1h30m`, `90s` or a number of seconds."""
    if isinstance(text, int) and not isinstance(text, bool):
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


def _refuse_flag(value: object) -> object:
    """Refuse true and false where a number belongs; Python would take them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  pydantic turns a ValueError into a sentence
    return value


def _check_argument(argument: str) -> str:
    if "\0" in argument:
        raise ValueError("has a NUL character")
    return argument


def _check_model(model: str) -> str:
    if not model.strip() or not model.isprintable():
        raise ValueError('must be a part of a card\'s name, such as "GTX 1070"')
    return model.strip()


def _check_file(path: str) -> str:
    if path and (path.startswith("/") or ".." in PurePosixPath(path).parts or not path.isprintable()):
        raise ValueError("must be a file in the job's code, such as requirements.txt")
    return path


def _check_secret(name: str) -> str:
    _check_env({name: ""})
    return name


def _check_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"names {name} twice; leave one out")
    return names


def _check_retried(reason: object) -> object:
    known = [str(one) for one in Reason if one not in NEVER_RETRIED]
    if reason not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return reason


def _check_size(size_bytes: int) -> int:
    if not _SMALLEST_MEMORY_BYTES <= size_bytes <= _LARGEST_MEMORY_BYTES:
        raise ValueError("must be at least 16M and at most 1024T")
    return size_bytes


def _check_duration(seconds: int) -> int:
    if not 0 < seconds <= _LONGEST_TIME_S:
        raise ValueError("must be at least 1s and at most 3660d")
    return seconds


Argument = Annotated[str, StringConstraints(max_length=32_768), AfterValidator(_check_argument)]
Name = Annotated[
    str, AfterValidator(_check_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]
ImageName = Annotated[
    str,
    AfterValidator(_check_image),
    WithJsonSchema({"type": "string", "pattern": f"^{_IMAGE_NAME.pattern}$"}),
]
Whole = Annotated[int, BeforeValidator(_refuse_flag)]
Cores = Annotated[float, Field(gt=0, le=1024), BeforeValidator(_refuse_flag)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    AfterValidator(_check_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": _SMALLEST_MEMORY_BYTES, "maximum": _LARGEST_MEMORY_BYTES},
                {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?\s*[kKmMgGtT]?(i?[bB])?$"},
            ],
            "examples": ["8G"],
        }
    ),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    AfterValidator(_check_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": _LONGEST_TIME_S},
                {
                    "type": "string",
                    "pattern": "^([0-9]+[dD])?([0-9]+[hH])?([0-9]+[mM])?([0-9]+[sS]?)?$",
                    "minLength": 1,
                },
            ],
            "examples": ["1h30m"],
        }
    ),
]
GpuModel = Annotated[str, StringConstraints(max_length=100), AfterValidator(_check_model)]
CodeFile = Annotated[str, StringConstraints(max_length=255), AfterValidator(_check_file)]
SecretName = Annotated[str, StringConstraints(max_length=100), AfterValidator(_check_secret)]
RetriedReason = Annotated[Reason, BeforeValidator(_check_retried)]


class JobSpec(BaseModel):
    """A job as asked for; the keys are those of `job.yaml` and, with dashes, of `spud run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[Argument, ...] = Field(
        min_length=1, max_length=1000, description="program and arguments, run in /workspace"
    )
    name: Name | None = Field(None, description="what the job is called in lists")
    image: ImageName | None = Field(None, description="image to run in; the box has a default")
    gpus: Whole = Field(
        0, ge=0, le=1024, description="GPUs the job gets; for itself alone without gpu_memory"
    )
    gpu_memory: Size | None = Field(
        None,
        description="memory it needs of each GPU, in bytes or as 6G; it then shares the cards",
    )
    gpu_model: GpuModel | None = Field(
        None, description='part of the name of the card it wants, as "GTX 1070"'
    )
    cpus: Cores | None = Field(None, description="cores the job may use")
    memory: Size | None = Field(
        None,
        description="host memory the job may use, in bytes or as 8G",
    )
    time: Duration | None = Field(
        None,
        description="limit in seconds or as 2h, after which the job is stopped",
    )
    priority: Whole = Field(0, ge=-1000, le=1000, description="higher starts first")
    retries: Whole = Field(0, ge=0, le=100, description="times it is tried again after a fault of the box")
    retry_on: tuple[RetriedReason, ...] = Field(
        (), max_length=20, description="further reasons to try again for, such as user_error"
    )
    requeue: bool = Field(
        default=True, strict=True, description="start it again after the box restarted while it ran"
    )
    requirements: CodeFile | None = Field(
        None,
        description="file in the code that lists Python packages; requirements.txt or pyproject.toml is found"
        " by itself, an empty name installs nothing",
    )
    secrets: tuple[SecretName, ...] = Field(
        (), max_length=100, description="secrets of yours that the job gets as environment variables"
    )
    data: Annotated[tuple[Name, ...], AfterValidator(_check_once)] = Field(
        (), max_length=32, description="data sets to mount at /data/<name>"
    )
    env: Annotated[dict[str, str], AfterValidator(_check_env)] = Field(
        default_factory=dict, max_length=200, description="environment variables"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_gpu_when_only_described(cls, values: Any) -> Any:
        if isinstance(values, dict) and "gpus" not in values:
            described = values.get("gpu_memory") is not None or values.get("gpu_model") is not None
            return {**values, "gpus": 1 if described else 0}
        return values

    @model_validator(mode="after")
    def _no_gpu_undescribed(self) -> JobSpec:
        if self.gpus == 0 and (self.gpu_memory or self.gpu_model):
            raise ValueError("gpus is 0, yet gpu_memory or gpu_model is given; leave one out")
        return self

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
    if not first["loc"]:
        return f"The job cannot be as asked for: {first_reason(error)}."
    field, value = first["loc"][0], first["input"]
    if isinstance(value, str | int | float):
        return f"{field}: {value!r:.60} {first_reason(error)}."
    return f"{field} {first_reason(error)}."
