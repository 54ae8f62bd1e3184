"""From a job and its GPUs to the arguments of its container. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.config import EngineSettings, Settings
from appliance.containers.network import job_network
from appliance.errors import AccessDenied
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Attempt, Job
from appliance.users.user import User

WORKSPACE = "/workspace"
OUTPUT = "/output"
CHECKPOINTS = "/checkpoints"
DATA = "/data"
HOME = "/home/job"

STORE_LABEL = "spud.store"
JOB_LABEL = "spud.job"
ATTEMPT_LABEL = "spud.attempt"
OWNER_LABEL = "spud.owner"
GPUS_LABEL = "spud.gpus"
"""The UUIDs of the GPUs, comma-separated."""
TOKEN_LABEL = "spud.token"  # noqa: S105  the name of a label
"""Tells an attempt's own container from one of the same name that an earlier life of the store left."""

_FIRST_ORDINARY_ID = 1000
_ENGINE_LOG_FACTOR = 4
"""The engine's JSON takes up to 2.5 times the bytes that our log takes for the same short lines."""
_SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Keeps TensorFlow and JAX from taking all of a card that others use as well (their guides on GPU memory)."""
_MEMORY_SHARE = 0.9
"""Part of the box's memory that a job without --memory may use; the rest keeps the box alive."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the box inside a container."""

    source: Path
    target: str
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerArguments:
    """All that the engine is told of a job's container.

    Every such container runs under the owner's uid, without capabilities and without a way to gain
    privileges, under an init that reaps, with namespaces of its own; that is not negotiable and therefore
    not in here. `secrets` are environment variables whose values are shown nowhere.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str]
    secrets: dict[str, str]
    labels: dict[str, str]
    uid: int
    gid: int
    mounts: tuple[Mount, ...]
    gpu_uuids: tuple[str, ...]
    cpus: float | None
    memory_bytes: int
    pids: int
    shm_bytes: int
    network: str
    """Name of the engine's network that the container joins; none has no network."""
    log_bytes: int
    """Least size of the engine's own log, which the log pump must be able to read from its beginning."""


def container_name(attempt: Attempt, engine: EngineSettings) -> str:
    """Return the container's name, which is also the launch lock: the engine refuses a second one."""
    return f"{engine.prefix}-{attempt.job_id}-{attempt.number}"


def container_arguments(
    job: Job,
    attempt: Attempt,
    owner: User,
    directory: JobDirectory,
    image: str,
    box_memory_bytes: int,
    settings: Settings,
    secrets: Mapping[str, str] | None = None,
) -> ContainerArguments:
    """Return the container of one attempt; `image` is the engine's name for the image.

    `secrets` are the values of those that the job has asked for.

    Raises AccessDenied for an owner with the uid or gid of root or of a system account.
    """
    if min(owner.uid, owner.gid) < _FIRST_ORDINARY_ID:
        raise AccessDenied(
            f"jobs do not run under the uid {owner.uid} of {owner.name}, which is the system's"
        )
    return ContainerArguments(
        name=container_name(attempt, settings.engine),
        image=image,
        command=job.spec.command,
        environment=_environment(job, attempt, owner),
        secrets=dict(secrets or {}),
        labels={
            JOB_LABEL: str(job.id),
            ATTEMPT_LABEL: str(attempt.number),
            OWNER_LABEL: owner.name,
            TOKEN_LABEL: attempt.token,
            GPUS_LABEL: ",".join(attempt.gpu_uuids),
        },
        uid=owner.uid,
        gid=owner.gid,
        mounts=_mounts(job, directory, settings.data.directory),
        gpu_uuids=attempt.gpu_uuids,
        cpus=job.spec.cpus,
        memory_bytes=job.spec.memory or int(box_memory_bytes * _MEMORY_SHARE),
        pids=settings.jobs.pids,
        shm_bytes=settings.jobs.shm_bytes,
        network=job_network(settings),
        log_bytes=_ENGINE_LOG_FACTOR * settings.jobs.log_max_bytes,
    )


def passwd(owner: User) -> str:
    """Return an /etc/passwd in which the owner's uid has a name and a home."""
    return (
        f"root:x:0:0:root:/root:/usr/sbin/nologin\n{owner.name}:x:{owner.uid}:{owner.gid}::{HOME}:/bin/bash\n"
    )


def _environment(job: Job, attempt: Attempt, owner: User) -> dict[str, str]:
    return {
        "PYTHONUNBUFFERED": "1",  # a log that comes in blocks of 8 KiB is not live
        **(_SHARING if job.spec.gpu_memory else {}),
        **job.spec.env,
        "HOME": HOME,
        "USER": owner.name,
        "LOGNAME": owner.name,
        "SPUD_JOB_ID": str(job.id),
        "SPUD_ATTEMPT": str(attempt.number),
        "SPUD_OUTPUT_DIR": OUTPUT,
        "SPUD_CHECKPOINT_DIR": CHECKPOINTS,
        "SPUD_DATA_DIR": DATA,
        # CUDA images set this to "all"; under a runtime that honours it a CPU job would see every card.
        "NVIDIA_VISIBLE_DEVICES": ",".join(attempt.gpu_uuids) or "void",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def _mounts(job: Job, directory: JobDirectory, data: Path) -> tuple[Mount, ...]:
    return (
        Mount(directory.workspace, WORKSPACE),
        Mount(directory.output, OUTPUT),
        Mount(directory.checkpoints, CHECKPOINTS),
        Mount(directory.home, HOME),
        Mount(directory.passwd, "/etc/passwd", is_read_only=True),
        *(Mount(data / name, f"{DATA}/{name}", is_read_only=True) for name in job.spec.data),
    )
