"""The end of an attempt: what is known of it becomes a verdict, and its GPUs are seen free."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from appliance.containers.cgroup import MemoryUse, container_of
from appliance.containers.engine import Container
from appliance.containers.kernel_log import seen_by_kernel
from appliance.executors.context import Context
from appliance.gpus.gpu import GpuReading
from appliance.gpus.holders import left_over
from appliance.jobs.box import LEFT_OVER, LOST, XID, Quarantine
from appliance.jobs.job import Attempt, Job, Verdict
from appliance.jobs.log import tail
from appliance.jobs.verdict import Ending, container_removed, judge, launch_refused

_EVIDENCE_LINES = 200
_LOOK_AGAIN_S = 0.05
_XID_LATE_S = 2.0
"""How much later than the end that it caused an Xid may be heard; what comes after is the next job's."""


def judge_container(
    context: Context,
    job: Job,
    attempt: Attempt,
    container: Container | None,
    memory: MemoryUse | None,
    gpu_faults: Sequence[str],
    engine_started_at: float | None,
) -> Verdict:
    """Return the verdict on an attempt whose container was launched, by all that can be known of it."""
    if container is None:
        return container_removed()
    if not container.was_started:
        return launch_refused(container.error)
    directory = context.storage.job_directory(attempt)
    return judge(
        Ending(
            exit_code=container.exit_code or 0,
            stop_reason=job.stop_reason,
            stopped_by=job.cancel_requested_by,
            tail=tail(directory.log, _EVIDENCE_LINES),
            memory=seen_by_kernel(memory, container.id) if container.exit_code else memory,
            shm_bytes=context.settings.jobs.shm_bytes,
            gpu_faults=gpu_faults,
            disk_free_bytes=_free_bytes(context),
            box_restarted=attempt.boot_id != context.boot_id,
            engine_restarted=bool(
                engine_started_at and container.started_at and engine_started_at > container.started_at
            ),
            time_limit_s=job.spec.time,
            gpu_memory_bytes=job.spec.gpu_memory,
            gpus=job.spec.gpus,
        )
    )


def was_cut_off(container: Container, engine_started_at: float | None) -> bool:
    """Return whether the container ended while the engine was down.

    What it wrote meanwhile is lost: nobody read its pipes, and they ended with it.
    """
    if not engine_started_at or not container.started_at or not container.finished_at:
        return False
    return container.started_at < engine_started_at and container.finished_at < engine_started_at


def check_gpus(
    context: Context, attempt: Attempt, container: Container
) -> tuple[list[str], list[Quarantine]]:
    """Return what went wrong with the attempt's GPUs while it ran, and which must not be given on.

    Waits for as long as the settings allow until no process of the container holds them.
    """
    faults: list[str] = []
    quarantined: list[Quarantine] = []
    since = container.started_at or attempt.created_at
    until = (container.finished_at or time.time()) + _XID_LATE_S
    for uuid in attempt.gpu_uuids:
        xids = [xid for xid in context.xids.since(uuid, since) if xid.at <= until]
        faults += [xid.text for xid in xids]
        quarantined += [_quarantine(context, uuid, XID, xid.text) for xid in xids if xid.is_critical][:1]
        reading, rest = _wait_until_free(context, uuid, container.id)
        if not reading.up:
            faults.append(reading.error or f"The driver does not reach GPU {uuid}.")
            quarantined.append(_quarantine(context, uuid, LOST, faults[-1]))
        elif rest:
            reason = f"{rest[0].upper()}{rest[1:]} (job {attempt.job_id})."
            quarantined.append(_quarantine(context, uuid, LEFT_OVER, reason))
    return faults, quarantined


def _wait_until_free(context: Context, uuid: str, container_id: str) -> tuple[GpuReading, str | None]:
    deadline = time.monotonic() + context.settings.gpus.release_seconds
    while True:
        reading = context.gpus.read(uuid)
        rest = left_over(reading, container_of, container_id) if reading.up else None
        if rest is None or time.monotonic() > deadline:
            return reading, rest
        time.sleep(_LOOK_AGAIN_S)


def _quarantine(context: Context, uuid: str, cause: str, reason: str) -> Quarantine:
    return Quarantine(uuid, cause, reason, context.boot_id, time.time())


def _free_bytes(context: Context) -> int:
    disk = os.statvfs(context.storage.directory)
    return disk.f_bavail * disk.f_frsize
