"""What the scheduler sees of the box: cards, cores, memory, images, engine."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from appliance.containers.engine import ContainerEngine, EngineUnavailable
from appliance.gpus.gpu import Gpu
from appliance.gpus.nvml import GpuError, NvmlDriver
from appliance.jobs.box import Box

logger = logging.getLogger(__name__)

_GPU_INTERVAL_S = 5.0
_GPU_PATIENCE_S = 20.0
_KIB = 1024


class GpuWatch:
    """The cards that can be given to jobs, looked up in a thread of its own, since a driver may hang."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._gpus: tuple[Gpu, ...] = ()
        self._error: str | None = "The GPUs have not been looked at yet."
        self._seen_at = time.monotonic()
        self._first_look = threading.Event()

    def begin(self) -> None:
        """Begin to look; returns when the first look is done or takes too long."""
        threading.Thread(target=self._look_for_ever, name="gpu watch", daemon=True).start()
        self._first_look.wait(_GPU_PATIENCE_S)

    def gpus(self) -> tuple[tuple[Gpu, ...], str | None]:
        """Return the cards and, when there are none, the reason."""
        if time.monotonic() - self._seen_at > _GPU_PATIENCE_S:
            return (), "The NVIDIA driver does not answer. Look at: dmesg | grep -i xid"
        return self._gpus, self._error

    def _look_for_ever(self) -> None:
        driver = NvmlDriver(self._library)
        while True:
            self._look(driver)
            self._first_look.set()
            time.sleep(_GPU_INTERVAL_S)

    def _look(self, driver: NvmlDriver) -> None:
        try:
            self._gpus, self._error = driver.gpus(), None
        except GpuError as error:
            self._gpus, self._error = (), error.message
        self._seen_at = time.monotonic()


def survey(engine: ContainerEngine, gpu_watch: GpuWatch, cpus: float, known: Box | None) -> Box:
    """Return the box as it is now; what cannot be seen while the engine is away stays as it was known."""
    gpus, gpu_error = gpu_watch.gpus()
    try:
        images, engine_error = engine.images(), None
    except EngineUnavailable as error:
        images, engine_error = (known.images if known else ()), error.message
    return Box(
        gpus=gpus,
        gpu_error=gpu_error,
        engine_error=engine_error,
        cpus=cpus or float(len(os.sched_getaffinity(0))),
        memory_bytes=memory_bytes(),
        images=images,
        strangers=known.strangers if known else (),
    )


def memory_bytes() -> int:
    """Return the box's memory (MemTotal of proc(5) meminfo, in KiB)."""
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(first.split()[1]) * _KIB
