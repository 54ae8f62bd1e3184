"""Evidence in words: counters and exit codes as a verdict quotes them. Pure."""

from __future__ import annotations

import re
import signal

from appliance.containers.cgroup import MemoryUse
from appliance.jobs.quantity import size

_LONGEST_SENTENCE = 200
_SHORTEST_SENTENCE = 60


def exit_of(exit_code: int) -> str:
    """Return how the process ended; a shell and an init report a signal as 128 + its number."""
    if exit_code > 128:
        try:
            return f"ended by {signal.Signals(exit_code - 128).name} (exit code {exit_code})"
        except ValueError:
            pass
    return f"ended with exit code {exit_code}"


def memory_used(memory: MemoryUse | None) -> tuple[str, ...]:
    """Return what the kernel counted, nothing where it was not counted."""
    if memory is None:
        return ()
    kills = "no process" if memory.oom_kills == 0 else f"{memory.oom_kills} of its processes"
    peak = f"at most {size(memory.peak_bytes)}" if memory.peak_bytes else "an unknown amount"
    limit = f" of {size(memory.limit_bytes)}" if memory.limit_bytes else ""
    shm = f", {size(memory.shmem_bytes)} of it in shared memory" if memory.shmem_bytes else ""
    return (f"memory cgroup: {kills} killed for lack of memory; used {peak}{limit}{shm}",)


def shared_memory_used(memory: MemoryUse | None, shm_bytes: int | None) -> tuple[str, ...]:
    """Return how full /dev/shm was seen, nothing where it was not counted or filled between two samples."""
    if memory is None or memory.shmem_bytes is None or memory.shmem_bytes < (shm_bytes or 0) / 2:
        return ()
    limit = f" of {size(shm_bytes)}" if shm_bytes else ""
    return (f"shared memory held at most {size(memory.shmem_bytes)}{limit}",)


def disk_free(free_bytes: int | None) -> tuple[str, ...]:
    """Return how full the disk is, nothing where that is not known."""
    return () if free_bytes is None else (f"the disk with the job's folders has {size(free_bytes)} free",)


def first_sentence(line: str) -> str:
    """Return the beginning of an error that says it all: PyTorch's run on for hundreds of characters."""
    first, *rest = re.split(r"\. (?=[A-Z])", line)
    text = f"{first}. {rest[0]}" if rest and len(first) < _SHORTEST_SENTENCE else first
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[: _LONGEST_SENTENCE - 1]}…"
