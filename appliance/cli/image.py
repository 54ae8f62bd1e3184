"""`spud image`: build and list the images that jobs run in; runs on the box, against its engine."""

from __future__ import annotations

import re
import sys
import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console

from appliance.cli.examples import examples
from appliance.cli.output import local_time, print_json, size, table
from appliance.config import Settings, load_settings
from appliance.containers.build_output import Event, Line, Step, Transfer
from appliance.containers.docker import DockerImages
from appliance.containers.images import ImageBuilder, ImageRecord
from appliance.containers.layers import KEY_LABEL
from appliance.containers.recipe import LABEL, choose_variant, load_recipe
from appliance.gpus.nvml import GpuError, NvmlDriver

# Seconds between two lines about one download when nobody watches a terminal.
_PLAIN_INTERVAL_S = 5.0
_WORTH_A_LINE = re.compile(
    r"\s*(Downloading |Installing collected|Successfully installed|I: (?!running .*hook))"
)


@click.group(epilog=examples("sudo spud image build tensorflow", "spud image list"))
def image() -> None:
    """Build and list the images that jobs run in."""


@image.command(
    epilog=examples("sudo spud image build tensorflow", "sudo spud image build base --base-image debian:12")
)
@click.argument("name")
@click.option("--variant", default="auto", metavar="cpu|gpu|auto", help="auto: gpu where the box has a GPU.")
@click.option("--generation", default="", help="GPU generation, such as pascal; without it, that of the box.")
@click.option(
    "--base-image", default="", help="Build on this image instead of one made from the box's packages."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def build(name: str, variant: str, generation: str, base_image: str, as_json: bool) -> None:  # noqa: FBT001
    """Build the image NAME and its parents, unless they are up to date."""
    settings = load_settings()
    engine = DockerImages(settings.engine.socket)
    recipe = load_recipe(settings.images.directory, name)
    chosen = choose_variant(recipe, variant, generation, _capabilities(settings))
    with BuildProgress() as progress:
        builder = ImageBuilder(engine, settings.images.directory, base_image, progress.report)
        built = builder.build(recipe, chosen)
    if as_json:
        print_json({"image": built.tag, "id": built.id, "changed": built.changed})
    else:
        click.echo(f"{built.tag} is {'built' if built.changed else 'up to date'}.")


@image.command(name="list", epilog=examples("spud image list", "spud image list --json"))
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def list_images(as_json: bool) -> None:  # noqa: FBT001
    """List the images that Spud has built."""
    found = DockerImages(load_settings().engine.socket).list(LABEL)
    # Layers with a job's requirements inherit the label of the image that they stand on.
    records = [record for record in found if KEY_LABEL not in record.labels]
    if as_json:
        print_json([_record_json(record) for record in records])
    elif records:
        click.echo(_table(records))
    else:
        click.echo("No images yet. Build one with: sudo spud image build tensorflow")


def _capabilities(settings: Settings) -> list[float]:
    try:
        gpus = NvmlDriver(settings.gpus.library).gpus()
    except GpuError:  # no driver, so no GPU that a container could use
        return []
    return [float(gpu.compute_capability) for gpu in gpus if gpu.compute_capability and not gpu.simulated]


def _record_json(record: ImageRecord) -> dict[str, object]:
    return {
        "name": record.labels[LABEL],
        "version": record.labels.get("spud.version"),
        "variant": record.labels.get("spud.variant") or None,
        "tags": list(record.tags),
        "id": record.id,
        "created_at": record.created_at,
        "size_bytes": record.size_bytes,
    }


def _table(records: list[ImageRecord]) -> str:
    rows = [
        (
            ", ".join(record.tags) or "(no name)",
            record.id.removeprefix("sha256:")[:12],
            local_time(record.created_at),
            size(record.size_bytes),
        )
        for record in records
    ]
    return table(("IMAGE", "ID", "CREATED", "SIZE"), rows, right=("SIZE",))


class BuildProgress:
    """Shows a build on stderr: a live line on a terminal, otherwise a plain line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._step: Step | None = None
        self._step_began = self._shown_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._end_step()
        if self._status:
            self._status.stop()

    def report(self, event: Event) -> None:
        """Show one event of the build."""
        match event:
            case Step():
                self._end_step()
                self._step, self._step_began = event, time.monotonic()
                self._print(f"[{event.number}/{event.total}] {event.instruction}")
            case Transfer():
                self._transfer(event)
            case Line(text):
                self._line(text)

    def _end_step(self) -> None:
        took_s = time.monotonic() - self._step_began
        if self._step and took_s >= 1:
            self._print(f"[{self._step.number}/{self._step.total}] took {took_s:.0f} s")
        self._step = None

    def _transfer(self, transfer: Transfer) -> None:
        done = f"{transfer.done_bytes / 1e6:.0f} of {transfer.total_bytes / 1e6:.0f} MB {transfer.name}"
        if self._status:
            self._status.update(done)
        elif time.monotonic() - self._shown_at >= _PLAIN_INTERVAL_S:
            self._print(f"      {done}")

    def _line(self, text: str) -> None:
        if self._status:
            self._status.update(text[:100].strip())
        elif _WORTH_A_LINE.match(text):
            self._print(f"      {text.strip()}")

    def _print(self, text: str) -> None:
        self._shown_at = time.monotonic()
        self._console.print(text[:160], markup=False, soft_wrap=True)
        sys.stderr.flush()
