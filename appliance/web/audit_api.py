"""/api/v1/audit: who did what, for administrators."""

from __future__ import annotations

from datetime import datetime

from flask import Response
from pydantic import BaseModel, Field

from appliance.audit import Entry
from appliance.web.access import require_admin
from appliance.web.answers import Moment, Parameters, Time, answer, api_blueprint, rfc3339
from appliance.web.services import services

_LARGEST_ID = 2**63 - 1

audit_trail = api_blueprint("audit", "/api/v1/audit")


class AuditQuery(Parameters):
    """Which lines of the trail."""

    since: Moment | None = Field(None, description="only what was done since then, RFC 3339")
    actor: str | None = Field(None, max_length=100, description="only what this user did")
    action: str = Field("*", max_length=100, description="only these actions, such as `job.*`")
    before: int | None = Field(None, ge=1, le=_LARGEST_ID, description="only lines with a smaller id")
    limit: int = Field(100, ge=1, le=1000)


class AuditEntry(BaseModel):
    """Something that somebody did."""

    id: int
    at: Time
    actor: str = Field(description="`-` is somebody whose sign-in was refused")
    action: str
    subject: str = Field(description="what it was done to: a job's id, a user's name, a GPU")
    detail: str
    address: str = Field(description="where the request came from; `local` is the box itself")


class AuditList(BaseModel):
    """A page of the trail, newest first."""

    entries: list[AuditEntry]
    next: int | None = Field(description="give it as `before` for the next page")


@audit_trail.get("", responses={200: AuditList})
def list_audit(query: AuditQuery) -> Response:
    """List what was done, newest first (administrators only)."""
    require_admin()
    since = _unix(query.since)
    found = services().storage.audit.entries(since, query.actor, query.action, query.before, query.limit + 1)
    page = found[: query.limit]
    more = len(found) > query.limit
    return answer(AuditList(entries=[_entry(entry) for entry in page], next=page[-1].id if more else None))


def _unix(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0


def _entry(entry: Entry) -> AuditEntry:
    return AuditEntry(
        id=entry.id,
        at=rfc3339(entry.at) or "",
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
        address=entry.address,
    )
