"""What the scheduler last saw of the box: cards, cores, images, engine. The other processes read it."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.gpus.gpu import Gpu


@dataclass(frozen=True, slots=True)
class Image:
    """A local image that jobs can name. `digest` is the engine's content id."""

    name: str
    digest: str
    size_bytes: int

    @property
    def short_name(self) -> str:
        """What users call the image: `tensorflow` for spud/tensorflow:latest, others by their name."""
        is_ours = self.name.startswith("spud/") and self.name.endswith(":latest")
        return self.name.removeprefix("spud/").removesuffix(":latest") if is_ours else self.name


@dataclass(frozen=True, slots=True)
class Box:
    """The box as last seen; `gpu_error` and `engine_error` are sentences, None when all is well."""

    gpus: tuple[Gpu, ...] = ()
    gpu_error: str | None = None
    engine_error: str | None = None
    cpus: float = 1.0
    memory_bytes: int = 0
    images: tuple[Image, ...] = ()
    strangers: tuple[str, ...] = ()
    """Names of containers that carry Spud's labels but belong to no job in the store."""
    occupied: dict[str, str] = field(default_factory=dict)
    """Why a GPU is not given to jobs though it is well, by UUID: what strangers do on it."""
    tolerated_bytes: dict[str, int] = field(default_factory=dict)
    """Memory of GPUs that the desktop holds and that jobs cannot have, by UUID."""
    hold: str | None = None
    """Why no job is started at all, such as a disk that is nearly full."""
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0


LOST = "lost"
"""Cause of a quarantine: the driver does not reach the card."""
LEFT_OVER = "left_over"
"""Cause of a quarantine: processes of an ended job still hold the card."""
XID = "xid"
"""Cause of a quarantine: the card reported an error after which NVIDIA has it reset or replaced."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A GPU that is not given to jobs until it is well again.

    `cause` is a word for programs (LOST, LEFT_OVER, XID), `reason` a sentence; `boot_id` is the boot in which
    it was seen, `since` Unix seconds.
    """

    gpu_uuid: str
    cause: str
    reason: str
    boot_id: str
    since: float
    release_requested_by: str | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """The wish of an admin that no further job starts."""

    by: str
    reason: str
    since: float
