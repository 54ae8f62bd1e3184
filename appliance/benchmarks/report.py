"""The table of RNN runs: measured ones from result.json, and the original figures, marked as claimed.

    load_result(values) -> RnnRun     one run from the content of result.json
    report(runs) -> Report            rows and notes, for programs
    render(console, runs)             the same as a rich table

Claimed figures were never measured here. They stand in rows of their own, and nothing is computed from a
claimed and a measured figure together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_Z = 1.959964  # two-sided 95 % of the normal distribution
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class RnnRun:
    """One run, measured or claimed. Times in seconds, accuracies 0..1; None is not known."""

    machine: str
    is_claimed: bool
    dataset: str
    steps: int
    real_s: float | None
    user_s: float | None
    sys_s: float | None
    steps_per_second: float | None
    accuracy_first_128: float | None
    accuracy_all: float | None
    test_images: int | None
    """How many images `accuracy_all` was measured on."""
    bar: float | None
    succeeded: bool
    note: str = ""


# What the report on the $723 box gives for this network on it and on a server. Its text calls 1m21.002s and
# 27m32s elapsed time; both are `user` in its own listings, whose `real` stands here. The steps per second
# are 10,000 / real.
CLAIMED = (
    RnnRun(
        machine="$723 box, GTX 1070 Ti",
        is_claimed=True,
        dataset="MNIST",
        steps=10_000,
        real_s=82.601,
        user_s=81.002,
        sys_s=None,
        steps_per_second=121.1,
        accuracy_first_128=0.8828125,
        accuracy_all=None,
        test_images=None,
        bar=None,
        succeeded=True,
        note="steps/s are 10,000 steps over the whole real time, start-up included",
    ),
    RnnRun(
        machine="server, 48 cores",
        is_claimed=True,
        dataset="MNIST",
        steps=10_000,
        real_s=324.519,
        user_s=1652.0,
        sys_s=None,
        steps_per_second=30.8,
        accuracy_first_128=0.8984375,
        accuracy_all=None,
        test_images=None,
        bar=None,
        succeeded=True,
    ),
)


def load_result(values: Mapping[str, Any]) -> RnnRun:
    """Return the run that result.json describes; raises ValueError when it is not one of this benchmark."""
    try:
        metrics = {metric["name"]: float(metric["value"]) for metric in values["metrics"]}
        return RnnRun(
            machine=_machine(values),
            is_claimed=False,
            dataset=str(values["dataset"]["title"]),
            steps=int(values["workload"]["steps"]),
            real_s=metrics.get("real"),
            user_s=metrics.get("user"),
            sys_s=metrics.get("sys"),
            steps_per_second=metrics.get("steps_per_second"),
            accuracy_first_128=float(values["accuracy"]["first_128"]),
            accuracy_all=float(values["accuracy"]["all"]),
            test_images=int(values["dataset"]["test_images"]),
            bar=values["accuracy"]["bar"],
            succeeded=bool(values["succeeded"]),
            note=str(values["verdict"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"This is not a result of the RNN benchmark ({error!r}).") from None


def _machine(values: Mapping[str, Any]) -> str:
    if values["device"] != "CPU":
        return str(values["device"])
    return f"{values['system']['cpu']}, {values['system']['cores_available']} cores"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as text."""

    machine: str
    origin: str
    """`measured` or `claimed`."""
    dataset: str
    steps: str
    real: str
    user: str
    sys: str
    steps_per_second: str
    accuracy_first_128: str
    interval_first_128: str
    """95 % interval of the accuracy, from the number of images it was seen on."""
    accuracy_all: str
    interval_all: str


HEADERS = Row(
    machine="",
    origin="",
    dataset="data set",
    steps="steps",
    real="real",
    user="user",
    sys="sys",
    steps_per_second="steps per second",
    accuracy_first_128="first 128 test images",
    interval_first_128="  95 % interval",
    accuracy_all="all test images",
    interval_all="  95 % interval",
)


@dataclass(frozen=True, slots=True)
class Report:
    """The table and what must be said beside it."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def report(runs: Sequence[RnnRun]) -> Report:
    """Return measured runs first, then the claimed ones, and notes."""
    return Report(tuple(_row(run) for run in (*runs, *CLAIMED)), tuple(_notes(runs)))


def to_json(runs: Sequence[RnnRun]) -> list[dict[str, Any]]:
    """Return measured and claimed runs for programs, each with `is_claimed`."""
    return [asdict(run) for run in (*runs, *CLAIMED)]


def _row(run: RnnRun) -> Row:
    return Row(
        machine=run.machine,
        origin="claimed" if run.is_claimed else "measured",
        dataset=run.dataset,
        steps=f"{run.steps:,}",
        real=_clock(run.real_s),
        user=_clock(run.user_s),
        sys=_clock(run.sys_s),
        steps_per_second=_UNKNOWN if run.steps_per_second is None else f"{run.steps_per_second:.1f}",
        accuracy_first_128=_share(run.accuracy_first_128),
        interval_first_128=_interval(run.accuracy_first_128, 128),
        accuracy_all=_share(run.accuracy_all),
        interval_all=_interval(run.accuracy_all, run.test_images),
    )


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    return f"{int(seconds // 60)}m{f'{seconds % 60:.3f}'.removesuffix('.000')}s"


def _share(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.4f}"


def _interval(share: float | None, images: int | None) -> str:
    if share is None or images is None:
        return _UNKNOWN
    low, high = binomial_interval(share, images)
    return f"{low:.3f} to {high:.3f}"


def binomial_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share seen in `count` independent trials, after Wilson (1927)."""
    centre = share + _Z**2 / (2 * count)
    spread = _Z * (share * (1 - share) / count + _Z**2 / (4 * count**2)) ** 0.5
    scale = 1 + _Z**2 / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _notes(runs: Sequence[RnnRun]) -> list[str]:
    notes = [run.note for run in runs if run.note]
    differing = [difference for run in runs if (difference := _difference(run, CLAIMED[0]))]
    notes += [f"Not to be compared with the claimed figures: {text}." for text in dict.fromkeys(differing)]
    notes += [f"Claimed: {run.note}." for run in CLAIMED if run.note]
    return notes


def _difference(run: RnnRun, claimed: RnnRun) -> str:
    """Return in what the work of a measured run is another than the original's; empty when it is the same."""
    parts = []
    if run.steps != claimed.steps:
        parts.append(f"{run.steps:,} steps instead of {claimed.steps:,}")
    if run.dataset != claimed.dataset:
        parts.append(f"{run.dataset} instead of {claimed.dataset}")
    return ", ".join(parts)


def render(console: Console, runs: Sequence[RnnRun]) -> None:
    """Print the table, a column for each run so that it fits a terminal of 80 characters, and the notes."""
    content = report(runs)
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for row in content.rows:
        table.add_column(justify="right", style="dim" if row.origin == "claimed" else "")
    for name, header in asdict(HEADERS).items():
        table.add_row(header, *(getattr(row, name) for row in content.rows), end_section=name == "origin")
    console.print(table)
    for text in content.notes:
        console.print(text, markup=False, highlight=False)
