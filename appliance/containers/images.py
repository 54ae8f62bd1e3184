"""Build the box's images from their recipes; an image whose inputs are unchanged is never built again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from appliance.containers.build_output import BuildOutput, Event
from appliance.containers.recipe import Recipe, Variant, hash_inputs, load_recipe
from appliance.errors import SpudError

CERTIFICATES = Path("/usr/local/share/ca-certificates")
# Docker knows the proxy variables by itself and keeps them out of the image's history.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image that the engine has."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    created_at: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """The answer of a build."""

    tag: str
    id: str
    changed: bool


class ImageEngine(Protocol):
    """What a build needs of the container engine."""

    def find(self, reference: str) -> ImageRecord | None:
        """Return the local image of this name or id, or None."""

    def list(self, label: str) -> list[ImageRecord]:
        """Return the local images that bear the label."""

    def pull(self, reference: str) -> Iterator[str]:
        """Fetch an image; yields lines, raises NotFound."""

    def build(
        self, folder: Path, tag: str, arguments: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[str]:
        """Build a Dockerfile; yields its output, raises SpudError with the reason."""

    def import_root(self, chunks: Iterable[bytes], tag: str, changes: Sequence[str]) -> None:
        """Make an image of a root file system's tar stream; raises SpudError."""

    def tag(self, reference: str, name: str) -> None:
        """Give a local image a further name."""

    def remove(self, reference: str) -> bool:
        """Remove an image that nothing needs; False when something does."""


class ImageBuilder:
    """Builds recipes of one directory in one engine, parents first."""

    def __init__(
        self, engine: ImageEngine, directory: Path, base_image: str, report: Callable[[Event], None]
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._base_image = base_image
        self._report = report

    def build(self, recipe: Recipe, variant: Variant) -> BuiltImage:
        """Build the image unless it is up to date; raises SpudError with the failed step and its cause."""
        if recipe.parent is None and self._base_image:
            return self._adopt(recipe)
        origins = self._origins(recipe)
        inputs = hash_inputs(recipe, variant, origins)
        tag = recipe.tag(variant)
        old = self._engine.find(tag)
        if old and old.labels.get("spud.inputs") == inputs:
            return BuiltImage(tag, old.id, changed=self._name(old, recipe.latest))
        self._make(recipe, variant, inputs)
        new = self._found(tag)
        self._name(new, recipe.latest)
        if old and old.id != new.id:
            # Without it each change of a recipe would cost gigabytes. The engine keeps what is in use.
            self._engine.remove(old.id)
        return BuiltImage(tag, new.id, changed=True)

    def _origins(self, recipe: Recipe) -> list[str]:
        if recipe.parent is None:
            return box_origins()
        parent = load_recipe(self._directory, recipe.parent)
        return [self.build(parent, Variant()).id]

    def _adopt(self, recipe: Recipe) -> BuiltImage:
        """Take an image of the user's for the base, as it is."""
        if self._engine.find(self._base_image) is None:
            with _log_file(recipe.name) as log:
                self._read(self._engine.pull(self._base_image), BuildOutput(), log)
        found = self._found(self._base_image)
        return BuiltImage(self._base_image, found.id, changed=self._name(found, recipe.latest))

    def _name(self, image: ImageRecord, name: str) -> bool:
        named = self._engine.find(name)
        if named is not None and named.id == image.id:
            return False
        self._engine.tag(image.id, name)
        return True

    def _found(self, reference: str) -> ImageRecord:
        found = self._engine.find(reference)
        if found is None:
            raise SpudError(f"The image {reference} was removed while it was in use. Build it again.")
        return found

    def _make(self, recipe: Recipe, variant: Variant, inputs: str) -> None:
        output = BuildOutput()
        with _log_file(recipe.name) as log:
            try:
                if recipe.script:
                    self._run_script(recipe, variant, inputs, output, log)
                else:
                    self._read(self._build_dockerfile(recipe, variant, inputs), output, log)
            except SpudError as error:
                log.write(f"{error.message}\n")
                where = output.failure(error.message)
                raise SpudError(
                    f"Building spud/{recipe.name} failed {where.rstrip('.')}. The whole log: {log.name}"
                ) from None

    def _build_dockerfile(self, recipe: Recipe, variant: Variant, inputs: str) -> Iterator[str]:
        arguments = {name: os.environ[name] for name in (*_PROXIES, "PIP_INDEX_URL") if name in os.environ}
        if recipe.parent:
            arguments["BASE_IMAGE"] = load_recipe(self._directory, recipe.parent).latest
        if variant.lock:
            arguments["LOCK"] = variant.lock
        return self._engine.build(
            recipe.folder, recipe.tag(variant), arguments, recipe.labels(variant, inputs)
        )

    def _run_script(
        self, recipe: Recipe, variant: Variant, inputs: str, output: BuildOutput, log: TextIO
    ) -> None:
        # Not /tmp: on some boxes that is memory.
        with tempfile.TemporaryDirectory(prefix="spud-image-", dir="/var/tmp") as folder:
            archive = Path(folder, "root.tar")
            self._read(_script_lines([sys.executable, str(recipe.script), str(archive)]), output, log)
            last = output.step.total if output.step else 1
            size = archive.stat().st_size
            self._tell(f"Step {last}/{last} : Import {size // 10**6} MB into the engine\n", output, log)
            labels = [f'LABEL {key}="{value}"' for key, value in recipe.labels(variant, inputs).items()]
            chunks = self._chunks(archive, size, output, log)
            self._engine.import_root(chunks, recipe.tag(variant), [*recipe.changes, *labels])

    def _chunks(self, archive: Path, size: int, output: BuildOutput, log: TextIO) -> Iterator[bytes]:
        with archive.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                self._tell(f"Progress {stream.tell()} of {size}\n", output, log)
                yield chunk

    def _read(self, pieces: Iterable[str], output: BuildOutput, log: TextIO) -> None:
        for piece in pieces:
            self._tell(piece, output, log)

    def _tell(self, piece: str, output: BuildOutput, log: TextIO) -> None:
        log.write(piece)
        for event in output.feed(piece):
            self._report(event)


def box_origins() -> list[str]:
    """Return what a base image takes from this machine: its release, its architecture and its CAs."""
    release = platform.freedesktop_os_release()
    authorities = [file.read_text(errors="replace") for file in sorted(CERTIFICATES.glob("*.crt"))]
    return [release["ID"], release.get("VERSION_CODENAME", ""), platform.machine(), *authorities]


def _script_lines(command: list[str]) -> Iterator[str]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as script:
        if script.stdout:
            yield from script.stdout
    if script.returncode:
        raise SpudError(f"the script ended with exit code {script.returncode}")


def _log_file(name: str) -> TextIO:
    folder = Path("/var/log/spud")
    if os.access(folder, os.W_OK):
        return (folder / f"image-{name}.log").open("w", buffering=1)
    descriptor, path = tempfile.mkstemp(prefix=f"spud-image-{name}-", suffix=".log")
    os.close(descriptor)
    return Path(path).open("w", buffering=1)
