"""From a user's second thoughts to a changed job."""

from __future__ import annotations

import time

from pydantic import Field

from appliance.errors import Conflict
from appliance.jobs.change import changed
from appliance.jobs.job import Job
from appliance.jobs.spec import Duration, Name, Whole
from appliance.web.answers import Parameters
from appliance.web.audit import audit
from appliance.web.services import services


class JobChange(Parameters):
    """What to change; what is left out stays, null takes it away."""

    priority: Whole = Field(0, ge=-1000, le=1000, description="higher starts first; until the job runs")
    time: Duration | None = Field(None, description="limit in seconds or as 2h, from the start of the job")
    name: Name | None = Field(None, description="what the job is called in lists; until the job runs")


def change(job_id: int, wishes: JobChange) -> Job:
    """Change a job and return it; raises InvalidRequest, and Conflict when it is too late."""
    storage = services().storage
    with storage.database.transaction():
        job = storage.jobs.get(job_id)
        spec, text = changed(job, wishes.model_dump(include=set(wishes.model_fields_set)), time.time())
        if text and not storage.jobs.change(job, spec, text):
            raise Conflict(f"Job {job.id} has just changed its state. Try again.")
        if text:
            audit("job.change", job.id, text)
    return storage.jobs.get(job_id)
