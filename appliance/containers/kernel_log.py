"""What the kernel's log says of processes killed for lack of memory: the witness for what nobody watched.

A container may be killed before it is watched, or while the scheduler is not there. The kernel's log tells of
it for as long as it is not overwritten, and survives the container. Reading it needs CAP_SYSLOG.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from appliance.containers.cgroup import MemoryUse

KERNEL_LOG = Path("/dev/kmsg")
_LONGEST_RECORD = 8192

# mm/oom_kill.c, dump_oom_victim(), since Linux 5.0; the group with cgroupfs is /docker/<id>, with systemd
# /system.slice/docker-<id>.scope.
_VICTIM = re.compile(r"^oom-kill:constraint=(?P<constraint>\w+),.*\btask_memcg=\S*?(?P<id>[0-9a-f]{64})\b")
# mm/memcontrol.c, mem_cgroup_print_oom_meminfo(), before it
_USAGE = re.compile(r"^memory: usage (?P<usage>\d+)kB, limit (?P<limit>\d+)kB")
_OF_THE_GROUP = "CONSTRAINT_MEMCG"
_KIB = 1024


def seen_by_kernel(memory: MemoryUse | None, container_id: str, log: Path = KERNEL_LOG) -> MemoryUse | None:
    """Return what was counted of a container's memory, with the kills that only the kernel's log knows."""
    if memory and memory.oom_kills:
        return memory
    logged = kills_of(container_id, _messages(log))
    if logged is None:
        return memory
    return replace(logged, shmem_bytes=memory.shmem_bytes) if memory else logged


def kills_of(container_id: str, messages: Iterable[str]) -> MemoryUse | None:
    """Return the kills in a container and its memory at the last of them, None when there was none."""
    kills = 0
    usage_bytes: int | None = None
    limit_bytes: int | None = None
    found: MemoryUse | None = None
    for message in messages:
        if match := _USAGE.match(message):
            usage_bytes, limit_bytes = int(match["usage"]) * _KIB, int(match["limit"]) * _KIB
        elif match := _VICTIM.match(message):
            if match["id"] == container_id:
                kills += 1
                is_own_limit = match["constraint"] == _OF_THE_GROUP and limit_bytes is not None
                found = MemoryUse(kills, usage_bytes, limit_bytes) if is_own_limit else MemoryUse(kills)
            usage_bytes = limit_bytes = None
    return found


def _messages(log: Path) -> Iterator[str]:
    """Yield the kernel's messages that are still there, oldest first; none when they may not be read."""
    try:
        file = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # Every read(2) gives one record, `6,13085,14171879858,-;text`; Documentation/ABI/testing/dev-kmsg.
        while record := _read(file):
            yield record.decode(errors="replace").partition(";")[2].partition("\n")[0]
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    while True:
        try:
            return os.read(file, _LONGEST_RECORD)
        except BrokenPipeError:  # the record was overwritten meanwhile; the next read goes on after it
            continue
        except OSError:  # EAGAIN: all is read
            return b""
