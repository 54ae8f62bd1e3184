"""What the scheduler last saw of the box: cards, cores, images, engine. The other processes read it."""

from __future__ import annotations

from dataclasses import dataclass

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
