"""/: the cards, what runs and what waits."""

from __future__ import annotations

from flask import Blueprint, render_template

from appliance.jobs.job import ACTIVE, JobState
from appliance.web.access import current_user
from appliance.web.box import box_json
from appliance.web.gpus import gpu_list
from appliance.web.jobs import owner_id
from appliance.web.services import services

_ROWS = 20
_RECENT = 8

overview = Blueprint("overview", __name__)


@overview.get("/")
def show_overview() -> str:
    """Show the box at a glance."""
    user = current_user()
    store, owner = services().storage.jobs, owner_id(user, "all")
    return render_template(
        "overview.html",
        box=box_json(),
        gpus=gpu_list(user),
        running=store.list(owner, ACTIVE, limit=_ROWS),
        waiting=list(store.waiting(owner, _ROWS)),
        recent=store.list(owner, [JobState.FINISHED], limit=_RECENT),
    )
