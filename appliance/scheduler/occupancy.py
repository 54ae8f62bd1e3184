"""Who holds a GPU beside the jobs of this Spud. The decisions are pure; `Occupancy` remembers the last look.

Whoever computes on a card without being a job keeps it from jobs. The desktop, which draws, may have some of
it (`[gpus] tolerated_bytes`), and so may what no process explains.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from appliance.containers.cgroup import container_of
from appliance.gpus.gpu import GpuProcess, GpuReading
from appliance.gpus.holders import ContainerOf, NameOf, process_name, processes_named
from appliance.scheduler.reconciler import Found

_GIB = 1024**3
_STEP_BYTES = 64 * 1024**2
"""Steps in which tolerated memory is told, since it changes all the time."""


@dataclass(frozen=True, slots=True)
class Use:
    """What others have of a GPU: why it is not given to jobs, if so, and memory that is tolerated."""

    reason: str | None = None
    tolerated_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of processes at one look.

    `ours` are the ids of the containers of open attempts and `unknown` of those that may be such, since the
    engine was not asked since they were first seen; `strange` are names of containers with our label that
    belong to no attempt, by id. `invisible` are processes that the kernel does not show, twice in a row.
    """

    container_of: ContainerOf = container_of
    name_of: NameOf = process_name
    ours: Collection[str] = ()
    unknown: Collection[str] = ()
    strange: Mapping[str, str] = field(default_factory=dict)
    invisible: Collection[int] = ()


def use_by_others(reading: GpuReading, known: Knowledge, tolerated_bytes: int, *, has_jobs: bool) -> Use:
    """Return what others have of the GPU; `has_jobs` says whether jobs have some of it."""
    strangers, desktop = _split(reading.processes or (), known, has_jobs=has_jobs)
    if strangers:
        return Use(_describe(strangers, known))
    tolerated = sum(process.memory_bytes or 0 for process in desktop)
    unexplained = 0 if has_jobs else _unexplained_bytes(reading)
    if tolerated + unexplained <= tolerated_bytes:
        return Use(None, (tolerated + unexplained) // _STEP_BYTES * _STEP_BYTES)
    if tolerated > unexplained:
        names = processes_named({process.pid for process in desktop}, known.name_of)
        return Use(f"the desktop ({names}) holds {_size(tolerated)}, more than [gpus] tolerated_bytes")
    return Use(f"{_size(unexplained)} of its memory are in use by no process that the driver names")


def _split(
    processes: Iterable[GpuProcess], known: Knowledge, *, has_jobs: bool
) -> tuple[list[GpuProcess], list[GpuProcess]]:
    """Return the strangers that keep the card from jobs, and those that draw."""
    strangers, desktop = {}, {}
    drawing = {process.pid for process in processes if process.kind == "graphics"}
    for process in processes:
        container = known.container_of(process.pid)
        if container in known.ours or (has_jobs and container in known.unknown):
            continue
        if container is None and known.name_of(process.pid) is None:
            # A process in another process namespace, or one that has just ended.
            if not has_jobs and process.pid in known.invisible:
                strangers[process.pid] = process
        elif container is None and process.pid in drawing:
            desktop[process.pid] = process
        else:
            strangers[process.pid] = process
    return list(strangers.values()), list(desktop.values())


def _unexplained_bytes(reading: GpuReading) -> int:
    """Return the memory that no process explains; 0 where processes do not tell theirs."""
    by_pid = {process.pid: process.memory_bytes for process in reading.processes or ()}
    if reading.memory_used_bytes is None or None in by_pid.values():
        return 0
    return max(0, reading.memory_used_bytes - sum(held or 0 for held in by_pid.values()))


def _describe(strangers: list[GpuProcess], known: Knowledge) -> str:
    containers = {container for process in strangers if (container := known.container_of(process.pid))}
    if strange := sorted(known.strange[container] for container in containers & known.strange.keys()):
        return strange_container(strange[0])
    names = processes_named({process.pid for process in strangers}, known.name_of)
    hold = "holds" if len(strangers) == 1 else "hold"
    held = [process.memory_bytes for process in strangers if process.memory_bytes is not None]
    return f"{names} from outside Spud {hold} {_size(sum(held)) if held else 'it'}"


def cards_of_strangers(found: Found) -> dict[str, str]:
    """Return the GPUs that running containers have which belong to no job, by UUID, each with a clause.

    Such a card is not given away, whatever the driver says of it.
    """
    running = (container for container in found.strangers if container.is_running)
    return {uuid: strange_container(container.name) for container in running for uuid in container.gpu_uuids}


def strange_container(name: str) -> str:
    """Return what keeps a GPU from jobs that a container with our label has, though it belongs to no job."""
    return f"the container {name}, which belongs to no job, has it; end it with: docker rm --force {name}"


def _size(size_bytes: int) -> str:
    return f"{max(size_bytes / _GIB, 0.1):.1f} GiB"


class Occupancy:
    """What others have of the cards, look by look. For one thread."""

    def __init__(
        self, tolerated_bytes: int, container_of: ContainerOf = container_of, name_of: NameOf = process_name
    ) -> None:
        self._tolerated_bytes = tolerated_bytes
        self._container_of = container_of
        self._name_of = name_of
        self._first_seen: dict[str, float] = {}
        self._gone: set[int] = set()

    def look(
        self, readings: Iterable[GpuReading], found: Found, found_at: float, with_jobs: Collection[str]
    ) -> dict[str, Use]:
        """Return what others have of each GPU that is up, by UUID.

        `found` is what the engine told when it was asked at `found_at` (monotonic seconds); `with_jobs` are
        the GPUs of which jobs have some.
        """
        up = [reading for reading in readings if reading.up]
        pids = {process.pid for reading in up for process in reading.processes or ()}
        known = self._know(pids, found, found_at)
        return {
            reading.gpu_uuid: use_by_others(
                reading, known, self._tolerated_bytes, has_jobs=reading.gpu_uuid in with_jobs
            )
            for reading in up
        }

    def _know(self, pids: Collection[int], found: Found, found_at: float) -> Knowledge:
        now = time.monotonic()
        seen = {container for pid in pids if (container := self._container_of(pid))}
        self._first_seen = {container: self._first_seen.get(container, now) for container in seen}
        gone = {pid for pid in pids if not self._container_of(pid) and self._name_of(pid) is None}
        invisible, self._gone = gone & self._gone, gone
        return Knowledge(
            container_of=self._container_of,
            name_of=self._name_of,
            ours={container.id for container in found.ours},
            unknown={container for container, at in self._first_seen.items() if at >= found_at},
            strange={container.id: container.name for container in found.strangers},
            invisible=invisible,
        )
