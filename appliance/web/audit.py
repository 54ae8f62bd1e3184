"""What a view tells the audit trail: `audit` on its own, or `audited` round the change itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import g, request

from appliance.audit import NOBODY, Action
from appliance.web.services import services


def audit(action: Action, subject: object, detail: str = "", actor: str | None = None) -> None:
    """Record that the user of this request did something to the subject: a job's id, a user's name, a GPU."""
    identity = getattr(g, "identity", None)
    actor = actor or (identity.user.name if identity else NOBODY)
    services().storage.audit.record(actor, action, str(subject), detail, request.remote_addr or "")


@contextmanager
def audited(action: Action, subject: object, detail: str = "") -> Iterator[None]:
    """Make a change and its line in the audit trail one transaction; a change that raises leaves neither."""
    with services().storage.database.transaction():
        yield
        audit(action, subject, detail)
