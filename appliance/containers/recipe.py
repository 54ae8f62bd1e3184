"""What a folder of images/ says: the recipe of one image, and the hash of all that goes in."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.errors import InvalidRequest, NotFound, SpudError

LABEL = "spud.image"
"""Every image of Spud's bears it, with the recipe's name as its value."""


class _ImageFile(BaseModel):
    """The keys of image.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: str | None = None
    version: str | None = None
    version_of: str | None = None
    variants: tuple[str, ...] = ()
    generations: Mapping[str, Annotated[float, Field(gt=0)]] = {}
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """What may differ between two images of one recipe; `""` where the recipe has no variants."""

    name: str = ""
    generation: str = ""

    @property
    def lock(self) -> str:
        """The lock file's name without suffix: `cpu` or `gpu-pascal`."""
        return "-".join(part for part in (self.name, self.generation) if part)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A folder of images/ that `spud image build` can build."""

    name: str
    folder: Path
    version: str
    parent: str | None
    variants: tuple[str, ...]
    generations: Mapping[str, float]
    """Oldest CUDA compute capability that a generation's lock serves."""
    changes: tuple[str, ...]

    @property
    def script(self) -> Path | None:
        """The script that writes a root file system, for a recipe that has no Dockerfile."""
        path = self.folder / "build.py"
        return path if path.exists() else None

    def tag(self, variant: Variant) -> str:
        """Return `spud/tensorflow:2.21.0-cpu`; a generation is part of the variant."""
        return f"spud/{self.name}:" + "-".join(part for part in (self.version, variant.lock) if part)

    @property
    def latest(self) -> str:
        """The name by which jobs and child images find it."""
        return f"spud/{self.name}:latest"

    def labels(self, variant: Variant, inputs: str) -> dict[str, str]:
        """Return what the image says of itself."""
        return {
            LABEL: self.name,
            "spud.version": self.version,
            "spud.variant": variant.lock,
            "spud.inputs": inputs,
        }


def load_recipe(directory: Path, name: str) -> Recipe:
    """Read images/<name>/image.toml; raises NotFound naming the known recipes, SpudError for a broken one."""
    folder = directory / name
    if name not in recipe_names(directory):
        known = ", ".join(recipe_names(directory)) or "none"
        raise NotFound(f"There is no image recipe {name} in {directory}. Known are: {known}.")
    try:
        values = _ImageFile.model_validate(tomllib.loads((folder / "image.toml").read_text()))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SpudError(f"{folder / 'image.toml'} is not a recipe: {str(error).splitlines()[-1]}.") from None
    return Recipe(
        name=name,
        folder=folder,
        version=values.version or _pinned(folder / "versions.txt", values.version_of),
        parent=values.parent,
        variants=values.variants,
        generations=values.generations,
        changes=values.changes,
    )


def recipe_names(directory: Path) -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(file.parent.name for file in directory.glob("*/image.toml"))


def _pinned(versions: Path, package: str | None) -> str:
    for line in versions.read_text().splitlines():
        name, _, version = line.partition("==")
        if package and name.strip() == package:
            return version.strip()
    raise SpudError(f"{versions} pins no version of {package}.")


def choose_variant(recipe: Recipe, name: str, generation: str, capabilities: Sequence[float]) -> Variant:
    """Return the variant to build for the wishes (`auto`, `""` for none) and the box's GPUs.

    `capabilities` are the CUDA compute capabilities of its real GPUs. All cards of a box share one image,
    so the oldest decides. Raises InvalidRequest for a variant or generation that the recipe has not.
    """
    if not recipe.variants:
        return Variant()
    usable = _generation_for(recipe, capabilities)
    if name == "auto":
        name = "gpu" if usable else "cpu"
    if name not in recipe.variants:
        raise InvalidRequest(f"{recipe.name} has no variant {name}. Known are: {', '.join(recipe.variants)}.")
    if name == "cpu":
        return Variant("cpu")
    generation = generation or usable or list(recipe.generations)[-1]
    if generation not in recipe.generations:
        known = ", ".join(recipe.generations)
        raise InvalidRequest(f"{recipe.name} knows no GPU generation {generation}. Known are: {known}.")
    return Variant(name, generation)


def _generation_for(recipe: Recipe, capabilities: Sequence[float]) -> str:
    oldest = min(capabilities, default=0.0)
    served = [name for name, capability in recipe.generations.items() if capability <= oldest]
    return served[-1] if served else ""


def hash_inputs(recipe: Recipe, variant: Variant, origins: Iterable[str]) -> str:
    """Return the hash of all that decides the image: its files, its variant and `origins`.

    `origins` says what the image stands on: the parent's id, or the box's distribution and CAs.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in recipe.folder.rglob("*") if path.is_file()):
        if file.name == "README.md" or "__pycache__" in file.parts:
            continue
        _add(digest, str(file.relative_to(recipe.folder)), hashlib.sha256(file.read_bytes()).hexdigest())
    _add(digest, variant.name, variant.generation, *origins)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, *parts: str) -> None:
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
