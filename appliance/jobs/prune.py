"""A prune that an admin asks for, and what the scheduler answers; both are facts of the box in the store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from appliance.jobs.box_store import BoxStore

_REQUEST, _REPORT = "prune_request", "prune_report"


class Category(StrEnum):
    """What can be removed."""

    WORKSPACE = "workspace"
    RESULTS = "results"
    LOG = "log"
    CODE = "code"
    IMAGE = "image"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """The wish: `older_than_s` goes instead of the settings' longer ages, without it the settings count.

    Outputs, checkpoints, code and logs fall under it only `with_results`; a dry run removes nothing.
    """

    id: str
    by: str
    dry_run: bool
    older_than_s: float | None
    with_results: bool
    requested_at: float


@dataclass(frozen=True, slots=True)
class PruneItem:
    """One thing that goes or went, and why."""

    category: Category
    name: str
    bytes: int
    why: str
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class PruneReport:
    """The answer; while `is_done` is false more comes. `items` are the first thousand, sums are of all.

    `kept` are sentences on what could not be removed and on folders that belong to no job.
    """

    id: str
    dry_run: bool
    is_done: bool
    items: tuple[PruneItem, ...] = ()
    counts: dict[Category, int] | None = None
    bytes: dict[Category, int] | None = None
    done_bytes: int = 0
    kept: tuple[str, ...] = ()
    error: str | None = None


_REQUESTS = TypeAdapter(PruneRequest)
_REPORTS = TypeAdapter(PruneReport)


def leave_request(box: BoxStore, request: PruneRequest) -> None:
    """Leave the wish; it takes the place of one that the scheduler has not seen yet."""
    box.set_fact(_REQUEST, _REQUESTS.dump_json(request).decode())


def take_request(box: BoxStore) -> PruneRequest | None:
    """Return the wish that waits, None when none does."""
    text = box.fact(_REQUEST)
    return _REQUESTS.validate_json(text) if text else None


def write_report(box: BoxStore, report: PruneReport) -> None:
    """Answer; a report that is done also ends the wish it answers."""
    box.set_fact(_REPORT, _REPORTS.dump_json(report).decode())
    request = take_request(box) if report.is_done else None
    if request and request.id == report.id:
        box.set_fact(_REQUEST, "")


def read_report(box: BoxStore) -> PruneReport | None:
    """Return the newest answer, None before the first."""
    text = box.fact(_REPORT)
    return _REPORTS.validate_json(text) if text else None
