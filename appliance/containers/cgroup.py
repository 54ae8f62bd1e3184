"""Control groups: which container a process of the box is in, and what the kernel counts of its memory."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

# Linux, admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst. v1 has oom_kill since Linux 4.13.
_V1_FILES = {
    "events": "memory.oom_control",
    "usage": "memory.usage_in_bytes",
    "peak": "memory.max_usage_in_bytes",
    "limit": "memory.limit_in_bytes",
    "stat": "memory.stat",
}
_V2_FILES = {
    "events": "memory.events",
    "usage": "memory.current",
    "peak": "memory.peak",
    "limit": "memory.max",
    "stat": "memory.stat",
}
_NO_LIMIT_BYTES = 2**60
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.05
_FASTEST_BYTES_PER_S = 8 * 1024**3
"""More than a job can fill: every page is zeroed by the kernel first."""
_COUNTED_AFTER_S = 0.1
"""On v1 the event comes before the kill is counted."""

# cgroupfs driver: /docker/<id>; systemd driver: /system.slice/docker-<id>.scope; podman: libpod-<id>.scope.
_CONTAINER = re.compile(r"(?:^|[/-])(?P<id>[0-9a-f]{64})(?:\.scope)?(?=/|$)")


def container_of(pid: int, proc: Path = PROC) -> str | None:
    """Return the id of the container in which a process runs; None for the box's own and for ended ones."""
    try:
        return container_id((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None


def processes_of(container: str, proc: Path = PROC) -> list[int]:
    """Return the processes on the box that run in a container, by its id."""
    pids = (int(path.name) for path in proc.iterdir() if path.name.isdecimal())
    return [pid for pid in pids if container_of(pid, proc) == container]


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


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What the kernel counted of a container's memory; None where it does not count it.

    `peak_bytes` and `shmem_bytes`, which is what lay in /dev/shm, are the highest seen.
    """

    oom_kills: int
    peak_bytes: int | None = None
    limit_bytes: int | None = None
    shmem_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The memory control group of a container: its folder and whether it is of v2."""

    folder: Path
    is_v2: bool


def memory_group(cgroup_text: str, mountinfo_text: str) -> MemoryGroup | None:
    """Return where the memory of a process is counted, by its cgroup file and our own mountinfo.

    With both versions mounted (hybrid) the memory controller is in one of them only: v1 when the process
    has a line for it, see cgroups(7).
    """
    lines = [line.split(":", 2) for line in cgroup_text.splitlines() if line.count(":") >= 2]
    v1 = next((path for _, controllers, path in lines if "memory" in controllers.split(",")), None)
    v2 = next((path for number, controllers, path in lines if number == "0" and not controllers), None)
    path = v2 if v1 is None else v1
    if path is None:
        return None
    for line in mountinfo_text.splitlines():
        before, _, after = line.partition(" - ")
        root, mount_point = (_unescaped(field) for field in before.split()[3:5])
        kind, _, options = after.partition(" ")
        wanted = (
            kind == "cgroup2" if v1 is None else kind == "cgroup" and "memory" in re.split("[ ,]", options)
        )
        if wanted and (folder := _below(path, root)) is not None:
            return MemoryGroup(Path(mount_point) / folder, is_v2=v1 is None)
    return None


def _below(path: str, root: str) -> str | None:
    """Return the path relative to the root of a mount, or None when the mount does not show it."""
    if path.startswith("/.."):  # outside of our own cgroup namespace
        return None
    if root == "/" or path == root or path.startswith(f"{root}/"):
        return path.removeprefix(root if root != "/" else "").lstrip("/")
    return None


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


class MemoryWatch:
    """The counters of one container's memory, kept beyond its end.

    They vanish with the container, some 30 ms after the kernel has killed it. Therefore the kernel is asked
    to tell of an out-of-memory kill: on v1 by an eventfd, in which nothing is lost however late it is read,
    but which on some kernels only root may register (on 6.18, not on 5.4); on v2 by poll(2) on
    memory.events, open to all. Where neither can be had, samples are taken so often that the job cannot fill
    its memory between two.
    """

    def __init__(self, group: MemoryGroup | None) -> None:
        self._files: dict[str, int] = {}
        self._eventfd: int | None = None
        self._is_v2 = bool(group and group.is_v2)
        self._is_seen = self._is_gone = False
        self._oom_kills = self._told = 0
        self._trusted_at = 0.0
        self._usage = 0
        self._peak: int | None = None
        self._limit: int | None = None
        self._shmem: int | None = None
        self._lock = threading.Lock()
        self.due_at = time.monotonic()
        if group:
            self._open(group)
            self.sample()

    @property
    def use(self) -> MemoryUse | None:
        """What was counted so far, None when the counters were never seen."""
        if not self._is_seen:
            return None
        kills = self._oom_kills or max(0, self._told - self._is_gone)
        return MemoryUse(kills, self._peak, self._limit, self._shmem)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be counted."""
        return not self._files or self._is_gone

    @property
    def is_told(self) -> bool:
        """Whether the kernel tells of out-of-memory kills by itself."""
        return self._is_v2 or self._eventfd is not None

    def notification(self) -> tuple[int, int] | None:
        """Return the file to poll for the kernel's word and the event to poll for."""
        if self._eventfd is not None:
            return self._eventfd, select.EPOLLIN
        if self._is_v2 and "events" in self._files:
            return self._files["events"], select.EPOLLPRI
        return None

    def sample(self) -> None:
        """Read the counters and keep the highest; harmless when the container is gone."""
        with self._lock:
            self._read_notification()
            if self.is_over:
                return
            try:
                self._read_counters()
                self._is_seen = True
            except OSError:  # ENODEV: the container has ended
                self._is_gone = True
            now = time.monotonic()
            if not self._is_gone and now > self._trusted_at:
                self._told = 0  # the counter had the time to count what was told
            self.due_at = now + self._pause_s(now)

    def close(self) -> None:
        """Take the last sample and let go of the counters; `use` stays."""
        self.sample()
        with self._lock:
            for file in (*self._files.values(), *([] if self._eventfd is None else [self._eventfd])):
                os.close(file)
            self._files, self._eventfd = {}, None

    def _open(self, group: MemoryGroup) -> None:
        for key, name in (_V2_FILES if group.is_v2 else _V1_FILES).items():
            with suppress(OSError):  # memory.peak is new in Linux 5.19
                self._files[key] = os.open(group.folder / name, os.O_RDONLY | os.O_CLOEXEC)
        if "events" not in self._files:
            for file in self._files.values():
                os.close(file)
            self._files = {}
        elif not group.is_v2:
            with suppress(OSError):
                self._eventfd = _register(group.folder / "cgroup.event_control", self._files["events"])

    def _read_notification(self) -> None:
        if self._eventfd is None:
            return
        with suppress(BlockingIOError):
            # Also the removal of the group counts as one: mm/memcontrol-v1.c, memcg_event_remove().
            self._told += os.eventfd_read(self._eventfd)
            self._trusted_at = time.monotonic() + _COUNTED_AFTER_S

    def _read_counters(self) -> None:
        self._oom_kills = max(self._oom_kills, self._field("events", b"oom_kill") or 0)
        self._usage = self._number("usage") or 0
        self._peak = max(self._peak or 0, self._number("peak") or 0, self._usage) or None
        self._limit = self._number("limit")
        shmem = self._field("stat", b"shmem")
        if shmem is not None:
            self._shmem = max(self._shmem or 0, shmem)

    def _number(self, key: str) -> int | None:
        if key not in self._files:
            return None
        text = os.pread(self._files[key], 64, 0).strip()
        # v1 says "no limit" by the largest number of pages, v2 by "max".
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT_BYTES else None

    def _field(self, key: str, name: bytes) -> int | None:
        if key not in self._files:
            return None
        for line in os.pread(self._files[key], 8192, 0).splitlines():
            field, _, value = line.partition(b" ")
            if field == name:
                return int(value)
        return None

    def _pause_s(self, now: float) -> float:
        if now < self._trusted_at:
            return _SHORTEST_PAUSE_S
        return sampling_pause_s(self._usage, self._limit, is_told=self.is_told)


def sampling_pause_s(usage_bytes: int, limit_bytes: int | None, *, is_told: bool) -> float:
    """Return the time to the next sample: before the job can have reached its limit, unless we are told."""
    if is_told or limit_bytes is None:
        return _LONGEST_PAUSE_S
    soonest = (limit_bytes - usage_bytes) / _FASTEST_BYTES_PER_S
    return min(max(soonest, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)


def _register(event_control: Path, oom_control: int) -> int:
    """Return an eventfd that counts the out-of-memory events of a v1 group; cgroup-v1/memory.rst, 10."""
    notification = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        event_control.write_text(f"{notification} {oom_control}")
    except OSError:
        os.close(notification)
        raise
    return notification


class MemoryPoller:
    """The memory of all running containers, watched by one thread."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._watches: set[MemoryWatch] = set()
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, pid: int | None) -> Iterator[MemoryWatch]:
        """Watch the container whose first process has this id on the box, until the context is left.

        Without a process, or where its counters cannot be read, `use` stays None.
        """
        watch = MemoryWatch(self._group(pid) if pid else None)
        self._add(watch)
        try:
            yield watch
        finally:
            self._remove(watch)
            watch.close()

    def _group(self, pid: int) -> MemoryGroup | None:
        try:
            cgroup_text = (self._proc / str(pid) / "cgroup").read_text()
            mountinfo_text = (self._proc / "self" / "mountinfo").read_text()
        except OSError:
            return None
        # The number of a process that has ended may be another's by now.
        return memory_group(cgroup_text, mountinfo_text) if container_id(cgroup_text) else None

    def _add(self, watch: MemoryWatch) -> None:
        if watch.is_over:
            return
        with self._lock:
            self._watches.add(watch)
            if notification := watch.notification():
                with suppress(OSError):
                    self._epoll.register(*notification)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="memory of jobs", daemon=True)
                thread.start()  # which fails when the system gives none; then the next job tries again
                self._thread = thread
        os.eventfd_write(self._wake, 1)

    def _remove(self, watch: MemoryWatch) -> None:
        with self._lock:
            if watch in self._watches:
                self._watches.remove(watch)
                if notification := watch.notification():
                    with suppress(OSError):
                        self._epoll.unregister(notification[0])

    def _run(self) -> None:
        while True:
            with self._lock:
                due_at = min((watch.due_at for watch in self._watches), default=None)
            ready = self._epoll.poll(None if due_at is None else max(0.0, due_at - time.monotonic()))
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            self._sample({file for file, _ in ready})

    def _sample(self, ready: Set[int]) -> None:
        now = time.monotonic()
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            notification = watch.notification()
            if now >= watch.due_at or (notification and notification[0] in ready):
                watch.sample()
                if watch.is_over:
                    self._remove(watch)
