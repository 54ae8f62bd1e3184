"""/api/v1/box/prune: ask the scheduler to remove what jobs have left, and read what it answers."""

from __future__ import annotations

import secrets
import time

from flask import Response
from pydantic import BaseModel, Field

from appliance.errors import NotFound, Unavailable
from appliance.jobs.prune import (
    Category,
    PruneReport,
    PruneRequest,
    leave_request,
    read_report,
)
from appliance.scheduler import lock
from appliance.web.access import current_user, require_admin
from appliance.web.answers import Parameters, answer, api_blueprint
from appliance.web.audit import audited
from appliance.web.services import services

_DAY_S = 86_400.0
_LONGEST_DAYS = 36_500.0

prune = api_blueprint("prune", "/api/v1/box/prune")


class PruneBody(Parameters):
    """What to remove."""

    dry_run: bool = Field(default=False, description="only tell what would go")
    older_than_days: float | None = Field(
        None, ge=0, le=_LONGEST_DAYS, description="instead of the settings' longer ages"
    )
    with_results: bool = Field(
        default=False, description="`older_than_days` is for outputs, checkpoints, code and logs too"
    )


class PruneAsked(BaseModel):
    """The request was left for the scheduler; its report bears the same id."""

    id: str


class ItemJson(BaseModel):
    """A thing that goes, or went."""

    category: Category
    name: str
    bytes: int
    why: str
    job_id: int | None


class SumJson(BaseModel):
    """All things of a category."""

    count: int
    bytes: int


class ReportJson(BaseModel):
    """What the scheduler answers; more comes while `is_done` is false."""

    id: str
    dry_run: bool
    is_done: bool
    items: list[ItemJson] = Field(description="the first thousand")
    sums: dict[Category, SumJson]
    total_bytes: int
    done_bytes: int = Field(description="what was freed by now")
    kept: list[str] = Field(description="what could not be removed, and folders that belong to no job")
    error: str | None


@prune.post("", responses={202: PruneAsked})
def ask_for_prune(body: PruneBody) -> Response:
    """Ask for a prune; administrators only."""
    require_admin()
    storage = services().storage
    if not lock.is_held(storage.directory / lock.FILE_NAME):
        raise Unavailable("The scheduler, which does the pruning, is not running. Start it with: spud up")
    older_than_s = None if body.older_than_days is None else body.older_than_days * _DAY_S
    request = PruneRequest(
        secrets.token_hex(8), current_user().name, body.dry_run, older_than_s, body.with_results, time.time()
    )
    with audited("box.prune", "dry run" if body.dry_run else "prune", _detail(body)):
        leave_request(storage.box, request)
    return answer(PruneAsked(id=request.id), 202)


@prune.get("", responses={200: ReportJson})
def show_report() -> Response:
    """Show the newest report; administrators only."""
    require_admin()
    report = read_report(services().storage.box)
    if report is None:
        raise NotFound("Nobody has asked for a prune yet. Ask for one with: spud prune --dry-run")
    return answer(_report_json(report))


def _detail(body: PruneBody) -> str:
    age = "" if body.older_than_days is None else f"older than {body.older_than_days:g} days"
    return age + (", results too" if body.with_results else "")


def _report_json(report: PruneReport) -> ReportJson:
    sizes = report.bytes or {}
    return ReportJson(
        id=report.id,
        dry_run=report.dry_run,
        is_done=report.is_done,
        items=[
            ItemJson(
                category=item.category, name=item.name, bytes=item.bytes, why=item.why, job_id=item.job_id
            )
            for item in report.items
        ],
        sums={
            category: SumJson(count=count, bytes=sizes.get(category, 0))
            for category, count in (report.counts or {}).items()
        },
        total_bytes=sum(sizes.values()),
        done_bytes=report.done_bytes,
        kept=list(report.kept),
        error=report.error,
    )
