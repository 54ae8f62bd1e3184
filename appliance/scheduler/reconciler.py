"""The reconciler: brings the store and the engine's containers into agreement.

Containers are found by label, never by an id that was remembered. What is not known is shown, never
killed.
"""

from __future__ import annotations

import logging

from appliance.containers.engine import Container, ContainerEngine
from appliance.failpoints import reach
from appliance.jobs.store import JobStore

logger = logging.getLogger(__name__)


def remove_leftovers(jobs: JobStore, engine: ContainerEngine) -> tuple[str, ...]:
    """Remove ended containers of finished attempts; return the names of what belongs to no open attempt.

    A running container of a finished attempt is among these. Raises EngineUnavailable.
    """
    strangers = []
    for container in engine.containers():
        match _is_over(jobs, container):
            case True if not container.is_running:
                engine.remove(container.name)
                reach("container.removed")
                logger.info("Removed %s, left behind by a finished attempt", container.name)
            case None | True:
                strangers.append(container.name)
            case _:
                pass
    return tuple(sorted(strangers))


def _is_over(jobs: JobStore, container: Container) -> bool | None:
    """Return whether the container's attempt is over; None when the store knows no such attempt."""
    for attempt in jobs.attempts(container.job_id):
        if attempt.number == container.attempt:
            return attempt.finished_at is not None
    return None
