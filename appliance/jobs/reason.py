"""How a job can end, and why: the two fixed lists. Pure."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a finished job ended, in one word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class Reason(StrEnum):
    """Why a job ended so."""

    OK = "ok"
    USER_ERROR = "user_error"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    OUT_OF_MEMORY = "out_of_memory"
    SHARED_MEMORY_EXHAUSTED = "shared_memory_exhausted"
    TIME_LIMIT = "time_limit"
    CANCELLED = "cancelled"
    BOX_RESTARTED = "box_restarted"
    GPU_LOST = "gpu_lost"
    DISK_FULL = "disk_full"
    IMAGE_ERROR = "image_error"
    LAUNCH_ERROR = "launch_error"
    CONTAINER_REMOVED = "container_removed"


RETRIED = frozenset(
    {
        Reason.GPU_LOST,
        Reason.DISK_FULL,
        Reason.IMAGE_ERROR,
        Reason.LAUNCH_ERROR,
        Reason.CONTAINER_REMOVED,
        Reason.BOX_RESTARTED,
    }
)
"""What `--retries` tries again unasked: faults of the box, which may be gone the next time."""

NEVER_RETRIED = frozenset({Reason.OK, Reason.CANCELLED, Reason.TIME_LIMIT})
"""What is not tried again even when asked: it ended as somebody wished."""
