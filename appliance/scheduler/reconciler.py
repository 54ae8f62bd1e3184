"""The reconciler: brings the store and the engine's containers into agreement.

Containers are found by label, never by an id that was remembered. What is not known is shown, never
killed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from appliance.containers.engine import ContainerEngine, ContainerSummary
from appliance.failpoints import reach
from appliance.jobs.store import JobStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """The containers with the label of this Spud: those of open attempts, and what belongs to none."""

    ours: tuple[ContainerSummary, ...] = ()
    strangers: tuple[ContainerSummary, ...] = ()


def remove_leftovers(jobs: JobStore, engine: ContainerEngine) -> Found:
    """Remove ended containers of finished attempts, and return the others.

    A running container of a finished attempt is a stranger. Raises EngineUnavailable.
    """
    ours, strangers = [], []
    for container in engine.containers():
        match _is_over(jobs, container):
            case False:
                ours.append(container)
            case True if not container.is_running:
                engine.remove(container.name)
                reach("container.removed")
                logger.info("Removed %s, left behind by a finished attempt", container.name)
            case _:
                strangers.append(container)
    return Found(tuple(ours), tuple(sorted(strangers, key=lambda container: container.name)))


def _is_over(jobs: JobStore, container: ContainerSummary) -> bool | None:
    """Return whether the container's attempt is over; None when the store knows no such attempt."""
    for attempt in jobs.attempts(container.job_id):
        if attempt.number == container.attempt and attempt.token == container.token:
            return attempt.finished_at is not None
    return None
