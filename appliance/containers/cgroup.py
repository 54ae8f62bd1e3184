"""Which container a process of the box belongs to, by its control groups."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")

# cgroupfs driver: /docker/<id>; systemd driver: /system.slice/docker-<id>.scope; podman: libpod-<id>.scope.
_CONTAINER = re.compile(r"(?:^|[/-])(?P<id>[0-9a-f]{64})(?:\.scope)?(?=/|$)")


def container_of(pid: int, proc: Path = PROC) -> str | None:
    """Return the id of the container in which a process runs; None for the box's own and for ended ones."""
    try:
        return container_id((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None


def container_id(cgroup_text: str) -> str | None:
    """Return the container id in a /proc/<pid>/cgroup of v1, v2 or both; None when it names no container.

    Of containers inside a container it is the innermost: the one that the engine beside us knows when
    we run in a container ourselves.
    """
    for line in cgroup_text.splitlines():
        path = line.split(":", 2)[-1]
        if found := _CONTAINER.findall(path):
            return str(found[-1])
    return None
