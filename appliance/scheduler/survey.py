"""What the scheduler sees of the box: cards, cores, memory, disk, images, engine.

It looks from threads of its own, since a driver or an engine may take long to answer, or never do: one for
the cards and one for the engine, so that neither waits for the other.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.config import Settings
from appliance.containers.engine import ContainerEngine, EngineUnavailable
from appliance.containers.network import NetworkGuard
from appliance.gpus.inventory import Inventory
from appliance.gpus.xid import XidWatch
from appliance.jobs.box import Box, Image
from appliance.scheduler.gpu_watch import Cards, GpuWatch
from appliance.scheduler.occupancy import cards_of_strangers
from appliance.scheduler.reconciler import Found, remove_leftovers
from appliance.storage import Storage

logger = logging.getLogger(__name__)

_FIRST_LOOK_S = 10.0
_CARDS_S = 1.0
_ENGINE_AWAY_S = 1.0
_KIB = 1024
_GIB = 1024**3
_DISK_STEP_BYTES = 64 * 1024**2
"""Steps in which free disk is told, since it changes all the time."""


@dataclass(frozen=True, slots=True)
class _EngineLook:
    """What the engine told when it was last asked, at a time in monotonic seconds."""

    images: tuple[Image, ...] = ()
    found: Found = field(default_factory=Found)
    asked_at: float = 0.0
    error: str | None = None
    hold: str | None = None


class Surveyor:
    """Looks at the box again and again, and records what it sees for the other processes.

    `on_change` is called, from another thread, when something is seen that was not so before.
    """

    def __init__(
        self,
        storage: Storage,
        engine: ContainerEngine,
        guard: NetworkGuard,
        gpus: Inventory,
        xids: XidWatch,
        settings: Settings,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = storage.jobs
        self._store = storage.box
        self._directory = storage.directory
        self._engine = engine
        self._guard = guard
        self._xids = xids
        self._on_change = on_change
        self._cpus = settings.scheduler.cpus or float(len(os.sched_getaffinity(0)))
        self._interval_s = settings.scheduler.reconcile_seconds
        self._min_free_bytes = settings.jobs.min_free_bytes
        self._watch = GpuWatch(storage, gpus, xids, settings)
        self._lock = threading.Lock()
        self._cards: Cards | None = None
        self._engine_look: _EngineLook | None = None
        self._box: Box | None = None
        self._looked = threading.Event()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def box(self) -> Box | None:
        """The box as last seen; None before the first look."""
        return self._box

    def begin(self) -> None:
        """Begin to look; returns after the first look, or when it takes too long."""
        known = self._store.box() or Box()
        self._watch.remember(known.gpus)
        for name, look in (("cards", self._look_at_cards), ("engine", lambda: self._look_at_engine(known))):
            thread = threading.Thread(target=self._look_until_end, args=(look,), name=f"survey: {name}")
            thread.daemon = True
            thread.start()
            self._threads.append(thread)
        self._looked.wait(_FIRST_LOOK_S)

    def end(self) -> None:
        """Look no more; returns when the looks under way are over."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _look_until_end(self, look: Callable[[], Callable[[], object]]) -> None:
        """Look, publish and pause, again and again."""
        while not self._ended.is_set():
            pause: Callable[[], object] = self._pause
            try:
                pause = look()
                self._publish()
            except Exception:
                logger.exception("A look at the box failed; the next one tries again")
            pause()

    def _look_at_cards(self) -> Callable[[], object]:
        seen = self._engine_look or _EngineLook()
        self._cards = self._watch.look(seen.found, seen.asked_at)
        return lambda: self._xids.wait(_CARDS_S)

    def _look_at_engine(self, known: Box) -> Callable[[], object]:
        before = self._engine_look or _EngineLook(images=known.images)
        asked_at = time.monotonic()
        try:
            images = self._engine.images()
            found = remove_leftovers(self._jobs, self._engine)
            self._engine_look = _EngineLook(images, found, asked_at, hold=self._guard.ensure())
        except EngineUnavailable as error:
            # What it told before stays as known while it is away.
            self._engine_look = replace(before, error=error.message)
            return self._pause
        if self._engine_look.found.strangers != before.found.strangers:
            names = ", ".join(container.name for container in self._engine_look.found.strangers)
            logger.warning("Containers with Spud's labels and no job: %s", names or "none")
        return lambda: self._ended.wait(self._interval_s)

    def _pause(self) -> None:
        self._ended.wait(_ENGINE_AWAY_S)

    def _publish(self) -> None:
        """Record the box as it is now known to be, once both have been looked at."""
        with self._lock:
            cards, engine = self._cards, self._engine_look
            if cards is None or engine is None:
                return
            box = self._compose(cards, engine)
            if box != self._box:
                self._store.set_box(box)
                self._box = box
                self._on_change()
            self._looked.set()

    def _compose(self, cards: Cards, engine: _EngineLook) -> Box:
        free_bytes, total_bytes = disk_bytes(self._directory)
        return Box(
            gpus=cards.gpus,
            gpu_error=cards.error,
            engine_error=engine.error,
            cpus=self._cpus,
            memory_bytes=memory_bytes(),
            images=engine.images,
            strangers=tuple(container.name for container in engine.found.strangers),
            occupied=cards.occupied | cards_of_strangers(engine.found),
            tolerated_bytes=cards.tolerated_bytes,
            hold=self._hold(free_bytes) or engine.hold,
            disk_free_bytes=free_bytes // _DISK_STEP_BYTES * _DISK_STEP_BYTES,
            disk_total_bytes=total_bytes,
        )

    def _hold(self, free_bytes: int) -> str | None:
        """Return why no job is started at all."""
        if free_bytes >= self._min_free_bytes:
            return None
        return (
            f"space on the disk that holds {self._directory}, of which less than [jobs] min_free_bytes"
            f" ({self._min_free_bytes / _GIB:.1f} GiB) is free; make some with: spud prune"
        )


def disk_bytes(directory: Path) -> tuple[int, int]:
    """Return the free and the total bytes of the disk that holds a directory."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize


def memory_bytes() -> int:
    """Return the box's memory (MemTotal of proc(5) meminfo, in KiB)."""
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(first.split()[1]) * _KIB
