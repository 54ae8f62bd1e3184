"""The queue: what waits for a place, what of it starts now, and the reasons of the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from appliance.jobs.box import Box, Image
from appliance.jobs.job import Attempt, Job, Request
from appliance.scheduler.placement import Card, CoresHeld, Placement, Plan, cores, plan
from appliance.storage import Storage

GPUS, CPUS = "gpus", "cpus"
"""The lanes: jobs with GPUs wait for cards, the others for cores."""

_IMAGES_AT_ONCE = 8
"""How many jobs may be starting only to have their image made; the others stay pending."""


@dataclass(frozen=True, slots=True)
class Next:
    """What shall happen now: jobs that start, and jobs whose image is to be made or fetched."""

    placements: Sequence[Placement] = ()
    without_image: Sequence[Request] = ()


class Images(Protocol):
    """Knows the image that a job will run in."""

    def resolve(self, request: Request, local: Mapping[str, Image]) -> str | None:
        """Return the engine's id of the image when it is on the box, by the local images' names."""


class Queue:
    """Decides what happens to the waiting jobs. Reads the store, and writes there why they wait."""

    def __init__(self, storage: Storage, images: Images, depth: int) -> None:
        self._jobs = storage.jobs
        self._lifecycle = storage.lifecycle
        self._store = storage.box
        self._images = images
        self._depth = depth

    def next(self, active: Sequence[tuple[Job, Attempt]], box: Box) -> Next:
        """Return what shall happen now; `active` are the jobs with an open attempt."""
        on_gpus = self._jobs.queue(gpus=True, limit=self._depth)
        on_cpus = self._jobs.queue(gpus=False, limit=self._depth)
        if reason := self._hold(box):
            self._explain([*on_gpus, *on_cpus], Plan(lanes={GPUS: reason, CPUS: reason}))
            return Next()
        gpus_ready, gpus_without = self._with_image(on_gpus, box)
        cpus_ready, cpus_without = self._with_image(on_cpus, box)
        held_cpus = [
            CoresHeld(job.id, cores(job.spec.cpus, box.cpus), _ends_by(job, attempt))
            for job, attempt in active
            if not job.spec.gpus and attempt.placed_at is not None and attempt.released_at is None
        ]
        free_cpus = box.cpus - sum(held.cpus for held in held_cpus)
        decided = plan(gpus_ready, cpus_ready, self._cards(box), free_cpus, box.cpus, time.time(), held_cpus)
        without_image = [*gpus_without, *cpus_without]
        decided.waiting.update(dict.fromkeys((one.job_id for one in without_image), "its image"))
        self._explain([*on_gpus, *on_cpus], decided)
        making = sum(attempt.placed_at is None and attempt.image_digest is None for _, attempt in active)
        return Next(decided.placements, without_image[: max(0, _IMAGES_AT_ONCE - making)])

    def _hold(self, box: Box) -> str | None:
        """Return why nothing starts at all."""
        if box.engine_error:
            return "the Docker engine, which does not answer"
        if drain := self._store.drain():
            why = f" ({drain.reason})" if drain.reason else ""
            return f"the end of the drain by {drain.by}{why}"
        return box.hold

    def _with_image(self, requests: Sequence[Request], box: Box) -> tuple[list[Request], list[Request]]:
        """Return the requests whose image is there, with its id, and those that lack it."""
        local = {image.name: image for image in box.images}
        ready, without = [], []
        for request in requests:
            if request.attempt_id is not None:
                ready.append(request)
            elif image := self._images.resolve(request, local):
                ready.append(replace(request, image_digest=image))
            else:
                without.append(request)
        return ready, without

    def _cards(self, box: Box) -> list[Card]:
        reservations = self._jobs.reservations()
        quarantined = {entry.gpu_uuid: entry.reason for entry in self._store.quarantines()}
        return [
            Card(
                gpu,
                tuple(held for held in reservations if held.gpu_uuid == gpu.uuid),
                quarantined.get(gpu.uuid) or box.occupied.get(gpu.uuid),
                gpu.memory_usable_bytes - box.tolerated_bytes.get(gpu.uuid, 0),
            )
            for gpu in box.gpus
        ]

    def _explain(self, requests: Sequence[Request], decided: Plan) -> None:
        """Record why jobs wait, where that has changed."""
        started = {placement.request.job_id for placement in decided.placements}
        self._lifecycle.set_waiting_for(
            {
                request.job_id: decided.waiting.get(request.job_id)
                for request in requests
                if request.job_id not in started
                and request.waiting_for != decided.waiting.get(request.job_id)
            }
        )
        self._store.set_lanes(decided.lanes)


def _ends_by(job: Job, attempt: Attempt) -> float | None:
    """Return when the job's time limit ends the attempt, in Unix seconds, if it has one."""
    return attempt.started_at + job.spec.time if attempt.started_at and job.spec.time else None
