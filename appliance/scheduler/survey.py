"""What the scheduler sees of the box: cards, cores, memory, images, engine.

It looks from a thread of its own, since a driver or an engine may take long to answer, or never do.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from appliance.config import Settings
from appliance.containers.engine import ContainerEngine, EngineUnavailable
from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.jobs.box import Box
from appliance.jobs.box_store import BoxStore
from appliance.jobs.store import JobStore
from appliance.scheduler.reconciler import remove_leftovers

logger = logging.getLogger(__name__)

_FIRST_LOOK_S = 10.0
_ENGINE_AWAY_S = 1.0
_KIB = 1024


class Surveyor:
    """Looks at the box again and again, and records what it sees for the other processes."""

    def __init__(self, jobs: JobStore, box: BoxStore, engine: ContainerEngine, settings: Settings) -> None:
        self._jobs = jobs
        self._store = box
        self._engine = engine
        self._cpus = settings.scheduler.cpus or float(len(os.sched_getaffinity(0)))
        self._interval_s = settings.scheduler.reconcile_seconds
        self._inventory = Inventory(NvmlDriver(settings.gpus.library))
        self._box: Box | None = None
        self._looked = threading.Event()

    @property
    def box(self) -> Box | None:
        """The box as last seen; None before the first look."""
        return self._box

    def begin(self) -> None:
        """Begin to look; returns after the first look, or when it takes too long."""
        threading.Thread(target=self._look_for_ever, name="survey", daemon=True).start()
        self._looked.wait(_FIRST_LOOK_S)

    def _look_for_ever(self) -> None:
        while True:
            try:
                self._box = self._look(self._box or self._store.box() or Box())
                self._store.set_box(self._box)
            except Exception:
                logger.exception("A look at the box failed; the next one tries again")
            self._looked.set()
            is_away = self._box is None or self._box.engine_error
            time.sleep(_ENGINE_AWAY_S if is_away else self._interval_s)

    def _look(self, known: Box) -> Box:
        """Return the box as it is now; what the engine does not tell while it is away stays as known."""
        cards = self._inventory.snapshot()
        images, strangers, engine_error = known.images, known.strangers, None
        try:
            images = self._engine.images()
            strangers = remove_leftovers(self._jobs, self._engine)
        except EngineUnavailable as error:
            engine_error = error.message
        if strangers != known.strangers:
            logger.warning("Containers with Spud's labels and no job: %s", ", ".join(strangers) or "none")
        return Box(
            gpus=cards.gpus_up(),
            gpu_error=cards.driver.error,
            engine_error=engine_error,
            cpus=self._cpus,
            memory_bytes=memory_bytes(),
            images=images,
            strangers=strangers,
        )


def memory_bytes() -> int:
    """Return the box's memory (MemTotal of proc(5) meminfo, in KiB)."""
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(first.split()[1]) * _KIB
