"""Settings: one TOML file, and a variable for every key.

`[web] listen` is `SPUD_WEB_LISTEN`; a variable wins over the file. Unknown keys are refused, since a
misspelt limit that is silently ignored is worse than none. docs/configuration.md lists every key.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from appliance.errors import ConfigError
from appliance.validation import first_reason, unknown_name

DEFAULT_PATH = Path("/etc/spud/config.toml")

_MIB = 1024**2
_GIB = 1024**3


def _check_address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8600")
    return value


def _check_ports(value: str) -> str:
    for port in value.split(",") if value.strip() else ():
        if not port.strip().isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("must be ports, comma-separated, such as 8080,9000")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
Ports = Annotated[str, AfterValidator(_check_ports)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(_Section):
    """Where Spud keeps what it must not lose."""

    directory: Path = Field(Path("/var/lib/spud"), description="database, jobs and uploads")


class WebSettings(_Section):
    """The page and the API."""

    listen: Address = Field("127.0.0.1:8600", description="address of the page and the API")
    threads: int = Field(32, ge=4, description="requests served at once; a followed log holds one")
    session_hours: int = Field(168, ge=1, description="how long a browser stays signed in")
    allowed_hosts: str = Field(
        "", description="names, comma-separated, by which browsers may reach the page beside its address"
    )
    trust_forwarded_for: bool = Field(
        default=False,
        description="believe a proxy on this box that tells the browser's address as X-Forwarded-For",
    )


class ExporterSettings(_Section):
    """The Prometheus exporter."""

    listen: Address = Field("127.0.0.1:9836", description="address of /metrics")


class SchedulerSettings(_Section):
    """The process that starts jobs."""

    reconcile_seconds: float = Field(
        5.0, gt=0, description="how often containers are compared with the store"
    )
    stop_grace_seconds: float = Field(10.0, gt=0, description="time between SIGTERM and SIGKILL for a job")
    backfill_depth: int = Field(
        1000, ge=1, description="how many waiting jobs of a lane are looked at in one tick"
    )
    cpus: float = Field(0.0, ge=0, description="cores shared by the jobs without GPU; 0 means all cores")


class EngineSettings(_Section):
    """The Docker engine."""

    socket: str = Field("unix:///var/run/docker.sock", description="address of the Docker engine")
    prefix: str = Field(
        "spud",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="first part of the names of job containers; two Spuds on one engine need two",
    )


class ImagesSettings(_Section):
    """The images that jobs run in."""

    directory: Path = Field(Path("/opt/spud/images"), description="recipes for `spud image build`")
    default: str = Field("tensorflow", description="image of a job that names none")
    pull: bool = Field(default=True, description="fetch an image that is not on the box from its registry")
    allowed: str = Field(
        "*", description="images that jobs may name, comma-separated patterns such as nvcr.io/*; * is any"
    )
    build_timeout_seconds: int = Field(
        3600, gt=0, description="longest that the installation of a job's requirements may take"
    )


class GpusSettings(_Section):
    """How GPUs are found and given to containers."""

    library: str = Field("", description="path of libnvidia-ml.so.1; empty lets the loader find it")
    injection: Literal["auto", "cdi", "device_request", "environment"] = Field(
        "auto", description="how a GPU enters a container; `environment` names it only, for simulated GPUs"
    )
    tolerated_bytes: int = Field(
        512 * _MIB,
        ge=0,
        description="memory that a desktop may hold on a GPU which is still given to jobs",
    )
    release_seconds: float = Field(
        5.0, ge=0, description="how long an ended job's processes may hold a GPU before it is quarantined"
    )


class JobsSettings(_Section):
    """Limits of a single job."""

    code_max_bytes: int = Field(100 * _MIB, gt=0, description="largest upload of code, compressed")
    workspace_max_bytes: int = Field(2 * _GIB, gt=0, description="largest upload of code, unpacked")
    code_max_files: int = Field(20_000, gt=0, description="most files in an upload of code")
    log_max_bytes: int = Field(
        256 * _MIB, gt=0, description="log kept of one attempt; of the rest only the end, behind a mark"
    )
    pids: int = Field(4096, gt=0, description="processes and threads of one job")
    shm_bytes: int = Field(1 * _GIB, gt=0, description="size of /dev/shm in a job")
    min_free_bytes: int = Field(
        1 * _GIB, ge=0, description="free disk below which uploads are refused and no job starts"
    )


class NetworkSettings(_Section):
    """What jobs can reach."""

    mode: Literal["isolated", "bridge", "none"] = Field(
        "isolated",
        description="`isolated` reaches the Internet but neither this box's services nor other jobs,"
        " `bridge` is the engine's own network, `none` reaches nothing",
    )
    reachable_ports: Ports = Field(
        "", description="ports of this box, comma-separated, that isolated jobs may reach"
    )

    @property
    def ports(self) -> tuple[int, ...]:
        """The reachable ports as numbers."""
        return tuple(int(port) for port in self.reachable_ports.split(",") if port.strip())


class RetentionSettings(_Section):
    """How long Spud keeps what jobs leave. 0 means for ever."""

    workspace_days: float = Field(7.0, ge=0, description="workspace and home of a finished job")
    artifact_days: float = Field(0.0, ge=0, description="outputs, checkpoints and code of a finished job")
    log_days: float = Field(0.0, ge=0, description="logs of a finished job")
    image_days: float = Field(
        30.0, ge=0, description="images made of requirements, or pulled for a job, since their last use"
    )
    max_bytes: int = Field(
        0, ge=0, description="space for all that jobs leave; workspaces give way first, then the oldest jobs"
    )


class DataSettings(_Section):
    """The data sets that jobs can mount."""

    directory: Path = Field(Path("/var/lib/spud/data"), description="one folder per data set")
    link_targets: str = Field(
        "", description="folders, comma-separated, that links in there may lead to, such as a large disk"
    )

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where data sets may really be: the directory, and what its links may lead to."""
        linked = (Path(text.strip()) for text in self.link_targets.split(",") if text.strip())
        return (self.directory, *linked)


class Settings(_Section):
    """All settings of the box."""

    store: StoreSettings = StoreSettings()
    web: WebSettings = WebSettings()
    exporter: ExporterSettings = ExporterSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    engine: EngineSettings = EngineSettings()
    images: ImagesSettings = ImagesSettings()
    gpus: GpusSettings = GpusSettings()
    jobs: JobsSettings = JobsSettings()
    network: NetworkSettings = NetworkSettings()
    retention: RetentionSettings = RetentionSettings()
    data: DataSettings = DataSettings()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a checked `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the TOML file and the variables.

    Without `path`, `SPUD_CONFIG` names the file; the default file may be absent, a named one may not.
    Raises ConfigError naming the file or variable, the key and what it must be.
    """
    named = path or (Path(environ["SPUD_CONFIG"]) if environ.get("SPUD_CONFIG") else None)
    source = named or DEFAULT_PATH
    values = _read_file(source) if named or source.exists() else {}
    _check_keys(values, source)
    for section, key, variable in _variables():
        if variable in environ:
            values.setdefault(section, {})[key] = environ[variable]
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_describe(error, source, environ)) from None


def _variables() -> list[tuple[str, str, str]]:
    return [
        (section, key, f"SPUD_{section}_{key}".upper())
        for section, field in Settings.model_fields.items()
        for key in _section_model(field.annotation).model_fields
    ]


def _section_model(annotation: Any) -> type[_Section]:
    if isinstance(annotation, type) and issubclass(annotation, _Section):
        return annotation
    raise TypeError(f"{annotation} is not a section of settings")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"Cannot read the settings in {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}. Correct it and start again.") from None


def _check_keys(values: dict[str, Any], path: Path) -> None:
    for section, content in values.items():
        _check_name(section, list(Settings.model_fields), f"section [{section}] in {path}")
        if not isinstance(content, dict):
            raise ConfigError(f"[{section}] in {path} must be a section with keys, not a value.")
        known = list(_section_model(Settings.model_fields[section].annotation).model_fields)
        for key in content:
            _check_name(key, known, f'key "{key}" in [{section}] of {path}')


def _check_name(name: str, known: list[str], what: str) -> None:
    if name not in known:
        raise ConfigError(unknown_name(name, known, what))


def _describe(error: ValidationError, path: Path, environ: Mapping[str, str]) -> str:
    first = error.errors()[0]
    section, key = str(first["loc"][0]), str(first["loc"][-1])
    variable = f"SPUD_{section}_{key}".upper()
    where = variable if variable in environ else f"[{section}] {key} in {path}"
    return f"{where} is {first['input']!r}, but {first_reason(error)}."
