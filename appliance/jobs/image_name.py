"""What a job's image is called: Spud's short names, names on the box, names in registries. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from appliance.config import ImagesSettings
from appliance.jobs.box import Image

LAYERS = "spud/layer"
"""The repository of images that Spud makes of jobs' requirements; jobs get them without naming them."""

_DEFAULT_REGISTRY = re.compile(r"^(index\.)?docker\.io/")
_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


def local_names(name: str) -> tuple[str, ...]:
    """Return the names under which the engine may have the image: Spud's own short one first."""
    if is_layer(name) or _ID.fullmatch(name):
        return ()
    short = _DEFAULT_REGISTRY.sub("", name).removeprefix("library/")
    own = f"spud/{name}:latest"
    return tuple(
        with_tag(candidate) for candidate in dict.fromkeys((own, name, short)) if not is_layer(candidate)
    )


def with_tag(name: str) -> str:
    """Return the name as the engine writes it, with `:latest` where it has neither tag nor digest."""
    has_one = "@" in name or ":" in name.rpartition("/")[2]
    return name if has_one else f"{name}:latest"


def find_local(name: str, images: Mapping[str, Image]) -> Image | None:
    """Return the image of that name among those of the box, which stand under their full names."""
    return next((images[candidate] for candidate in local_names(name) if candidate in images), None)


def is_layer(name: str) -> bool:
    """Return whether a name is that of other people's installed requirements."""
    plain = _DEFAULT_REGISTRY.sub("", name)
    return plain == LAYERS or plain.startswith((f"{LAYERS}:", f"{LAYERS}@"))


def nameable(images: Iterable[Image]) -> list[Image]:
    """Return the images that jobs may name."""
    return [image for image in images if not is_layer(image.name)]


def refusal(name: str, images: Iterable[Image], settings: ImagesSettings) -> str | None:
    """Return why a job may not run in the image of that name, or None when it may; a sentence."""
    known = nameable(images)
    local = find_local(name, {image.name: image for image in known})
    is_own = local is not None and local.name.startswith("spud/")
    if is_own or name == settings.default:
        return None
    if is_layer(name):
        return f"{name} belongs to the requirements of other jobs. Name the image below it instead."
    if not is_allowed(name, settings.allowed):
        return f"This box does not take the image {name}. It takes Spud's own and {settings.allowed}."
    if local or settings.pull:
        return None
    there = ", ".join(sorted(image.short_name for image in known)) or "none"
    return (
        f"There is no image {name} on this box, and [images] pull is off. There are: {there}."
        " Name one of them with --image."
    )


def is_allowed(name: str, patterns: str) -> bool:
    """Return whether one of the comma-separated patterns matches one of the ways to write the name."""
    short = _DEFAULT_REGISTRY.sub("", name).removeprefix("library/")
    is_of_hub = "." not in short.partition("/")[0] and ":" not in short.partition("/")[0]
    ways = {name, with_tag(name)}
    if "/" not in short or is_of_hub:
        path = short if "/" in short else f"library/{short}"
        ways |= {short, with_tag(short), f"docker.io/{path}", f"docker.io/{with_tag(path)}"}
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    return any(fnmatchcase(way, pattern) for way in ways for pattern in wanted if pattern)
