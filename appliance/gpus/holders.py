"""Which processes hold a GPU, and whose they are.

A process is told by its container, whose id stands in the kernel's list of the process's control groups
(`appliance.containers.cgroup.container_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from appliance.gpus.gpu import GpuReading

ContainerOf = Callable[[int], str | None]
"""Returns the id of the container in which a process runs; None for a process of the box itself."""

NameOf = Callable[[int], str | None]
"""Returns the name of a process; None when there is no such process."""


def process_name(pid: int, proc: Path = Path("/proc")) -> str | None:
    """Return the command of a process, from proc(5) comm; None when there is no such process."""
    try:
        return (proc / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return None


def left_over(
    reading: GpuReading, container_of: ContainerOf, container_id: str, name_of: NameOf = process_name
) -> str | None:
    """Return a clause on what an ended container left behind on the GPU; None when there is nothing.

    Processes that the kernel cannot end, such as those inside a driver call that hangs, keep their memory.
    """
    pids = {process.pid for process in reading.processes or () if container_of(process.pid) == container_id}
    if not pids:
        return None
    hold = "holds" if len(pids) == 1 else "hold"
    return f"{processes_named(pids, name_of)} of the ended container still {hold} it"


def processes_named(pids: Collection[int], name_of: NameOf = process_name) -> str:
    """Return words for one process or more: `process 4242 (python3) and 2 more`."""
    first, *others = sorted(pids)
    name = name_of(first)
    return f"process {first}{f' ({name})' if name else ''}{f' and {len(others)} more' if others else ''}"
