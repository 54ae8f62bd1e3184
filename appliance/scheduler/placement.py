"""Which pending jobs start now, and on what. Pure.

Jobs with GPUs and jobs without wait in two lanes, since they compete for different things: the former
for cards, the latter for cores. In each lane the order is priority (high first), then age, and a job
that must wait is not overtaken, so it cannot starve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.gpus.gpu import Gpu
from appliance.jobs.job import Job


@dataclass(frozen=True, slots=True)
class Placement:
    """A job that can start now, with the GPUs it gets."""

    job: Job
    gpu_uuids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that must wait, and for what."""

    job: Job
    reason: str


def place(
    pending: Sequence[Job], free_gpus: Sequence[Gpu], free_cpus: float, all_cpus: float
) -> tuple[list[Placement], list[Waiting]]:
    """Return what starts now and why the rest waits; `pending` is in order of priority, then age.

    `free_cpus` are the cores of `all_cpus` that no running job without GPU holds.
    """
    on_gpus = _place_on_gpus([job for job in pending if job.spec.gpus], free_gpus)
    on_cpus = _place_on_cpus([job for job in pending if not job.spec.gpus], free_cpus, all_cpus)
    return on_gpus[0] + on_cpus[0], on_gpus[1] + on_cpus[1]


def cores(job: Job, all_cpus: float) -> float:
    """Return the cores that a job without GPU holds: what it asks for, else all of them."""
    return min(job.spec.cpus or all_cpus, all_cpus)


def _place_on_gpus(jobs: Sequence[Job], free: Sequence[Gpu]) -> tuple[list[Placement], list[Waiting]]:
    left = sorted(free, key=lambda gpu: gpu.index)
    placed: list[Placement] = []
    for position, job in enumerate(jobs):
        if job.spec.gpus > len(left):
            return placed, _queue(jobs[position:], _missing(job.spec.gpus, "GPU", len(left)))
        placed.append(Placement(job, tuple(gpu.uuid for gpu in left[: job.spec.gpus])))
        left = left[job.spec.gpus :]
    return placed, []


def _place_on_cpus(
    jobs: Sequence[Job], free: float, all_cpus: float
) -> tuple[list[Placement], list[Waiting]]:
    placed: list[Placement] = []
    for position, job in enumerate(jobs):
        wanted = cores(job, all_cpus)
        if wanted > free:
            return placed, _queue(jobs[position:], _missing(wanted, "core", free))
        placed.append(Placement(job, ()))
        free -= wanted
    return placed, []


def _queue(jobs: Sequence[Job], missing: str) -> list[Waiting]:
    """Return the reasons of a lane whose first job waits for what is missing."""
    head = jobs[0]
    behind = [Waiting(job, f"job {head.id}, which is ahead and waits for {missing}") for job in jobs[1:]]
    return [Waiting(head, missing), *behind]


def _missing(wanted: float, noun: str, free: float) -> str:
    plural = "" if wanted == 1 else "s"
    return f"{wanted:g} {noun}{plural}, of which {free:g} {'is' if free == 1 else 'are'} free"
