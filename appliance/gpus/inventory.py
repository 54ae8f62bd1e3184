"""All GPUs of the box with their readings, collected once for all who ask, within a deadline.

Each GPU is read on a thread of its own: one whose driver call hangs makes no other reading late or old.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from appliance.gpus.gpu import Gpu, GpuReading
from appliance.gpus.nvml import GpuError, NvmlDriver

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DriverState:
    """The driver at one moment: its version, or the reason why there is none."""

    version: str | None
    gpu_count: int | None
    """How many GPUs the driver lists."""
    simulated: bool
    error: str | None
    """Why there is no driver, or why a GPU that it lists cannot be told by its UUID."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one collection found: every GPU seen since the start, each with its reading."""

    driver: DriverState
    gpus: tuple[Gpu, ...]
    readings: tuple[GpuReading, ...]
    """In the order of `gpus`."""
    collected_at: float
    """Unix time in seconds at which the collection began."""

    def gpus_up(self) -> tuple[Gpu, ...]:
        """Return the GPUs that answered."""
        return tuple(gpu for gpu, reading in zip(self.gpus, self.readings, strict=True) if reading.up)


@dataclass(frozen=True, slots=True)
class Answer:
    """A GPU that answered, with its reading."""

    gpu: Gpu
    reading: GpuReading


class Inventory:
    """The GPUs of the box. May be shared between threads; concurrent readers share one collection.

    A result is used again for `max_age_s`. A GPU that was seen once is in every later snapshot, up or not.
    """

    def __init__(self, driver: NvmlDriver, *, timeout_s: float = 2.0, max_age_s: float = 1.0) -> None:
        self._driver = driver
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._lock, self._fresh_lock = threading.Lock(), threading.Lock()
        self._driver_lane: Lane[DriverState] = Lane("The NVIDIA driver", timeout_s)
        self._gpu_lanes: list[Lane[Answer]] = []
        self._fresh_lanes: dict[str, _FreshLane] = {}
        self._latest: Snapshot | None = None
        self._expires_at = 0.0

    def snapshot(self) -> Snapshot:
        """Return what the GPUs say now, or said at most `max_age_s` ago.

        Takes no longer than about `timeout_s`, whatever the driver does, and raises no GpuError.
        """
        with self._lock:
            if self._latest is None or time.monotonic() >= self._expires_at:
                self._latest = self._collect(self._latest.gpus if self._latest else ())
                self._expires_at = time.monotonic() + self._max_age_s
            return self._latest

    def read(self, gpu_uuid: str) -> GpuReading:
        """Read one GPU now, whatever is known of it; takes at most `timeout_s` and raises no GpuError.

        For decisions that a reading of a moment ago would spoil: it is shared with nobody.
        """
        asked_at, deadline = time.time(), time.monotonic() + self._timeout_s
        gpu = self._find(gpu_uuid)
        if gpu is None:
            error = f"The driver lists no GPU {gpu_uuid}; look at: spud gpus"
            return GpuReading(gpu_uuid, asked_at, up=False, error=error)
        reading = self._fresh_lane(gpu).result(lambda: self._driver.read(gpu), deadline)
        if isinstance(reading, GpuError):
            return GpuReading(gpu_uuid, asked_at, up=False, error=reading.message)
        return reading

    def forget(self, gpu_uuid: str) -> None:
        """Leave a GPU out of later snapshots, unless it answers again."""
        with self._lock:
            if self._latest:
                gpus = tuple(gpu for gpu in self._latest.gpus if gpu.uuid != gpu_uuid)
                readings = tuple(one for one in self._latest.readings if one.gpu_uuid != gpu_uuid)
                self._latest = replace(self._latest, gpus=gpus, readings=readings)

    def _find(self, gpu_uuid: str) -> Gpu | None:
        latest = self._latest or self.snapshot()
        return next((gpu for gpu in latest.gpus if gpu.uuid == gpu_uuid), None)

    def _fresh_lane(self, gpu: Gpu) -> _FreshLane:
        with self._fresh_lock:
            if gpu.uuid not in self._fresh_lanes:
                self._fresh_lanes[gpu.uuid] = _FreshLane(f"GPU {gpu.index} ({gpu.uuid})", self._timeout_s)
            return self._fresh_lanes[gpu.uuid]

    def _collect(self, known: Sequence[Gpu]) -> Snapshot:
        collected_at = time.time()
        deadline = time.monotonic() + self._timeout_s
        driver = self._driver_lane.result(self._driver_lane.start(self._ask_driver), deadline)
        if isinstance(driver, GpuError):
            driver = DriverState(version=None, gpu_count=None, simulated=False, error=driver.message)
        return merge(known, driver, self._ask_gpus(driver.gpu_count or 0, deadline), collected_at)

    def _ask_driver(self) -> DriverState:
        # The count first: it opens a new session when the old one is no longer known.
        count = self._driver.count()
        return DriverState(self._driver.driver_version, count, self._driver.simulated, error=None)

    def _ask_gpus(self, count: int, deadline: float) -> list[Answer | GpuError]:
        """Return what each GPU answers, by index; all are asked at once."""
        for index in range(len(self._gpu_lanes), count):
            self._gpu_lanes.append(Lane(f"GPU {index}", self._timeout_s))
        lanes = self._gpu_lanes[:count]
        calls = [lane.start(self._gpu_call(index)) for index, lane in enumerate(lanes)]
        return [lane.result(call, deadline) for lane, call in zip(lanes, calls, strict=True)]

    def _gpu_call(self, index: int) -> Callable[[], Answer]:
        def ask() -> Answer:
            gpu = self._driver.gpu(index)
            return Answer(gpu, self._driver.read(gpu))

        return ask


def merge(
    known: Sequence[Gpu], driver: DriverState, answers: Sequence[Answer | GpuError], collected_at: float
) -> Snapshot:
    """Put the answers, one for each index, together with the GPUs known from before.

    A known GPU that did not answer is down; its error is that of its index, where there is one.
    An index that fails and belongs to no known GPU shows in the driver's error.
    """
    found = {answer.gpu.uuid: answer for answer in answers if isinstance(answer, Answer)}
    errors = {index: answer.message for index, answer in enumerate(answers) if isinstance(answer, GpuError)}
    gpus = {gpu.uuid: gpu for gpu in known} | {uuid: answer.gpu for uuid, answer in found.items()}
    ordered = sorted(gpus.values(), key=lambda gpu: (gpu.index, gpu.uuid))
    down_indices = {gpu.index for gpu in ordered if gpu.uuid not in found}
    unidentified = [error for index, error in errors.items() if index not in down_indices]
    return Snapshot(
        driver=DriverState(
            driver.version, driver.gpu_count, driver.simulated, driver.error or " ".join(unidentified) or None
        ),
        gpus=tuple(ordered),
        readings=tuple(
            found[gpu.uuid].reading
            if gpu.uuid in found
            else GpuReading(gpu.uuid, collected_at, up=False, error=_why_down(gpu, driver, errors))
            for gpu in ordered
        ),
        collected_at=collected_at,
    )


def _why_down(gpu: Gpu, driver: DriverState, errors: dict[int, str]) -> str:
    gone = f"The driver no longer lists GPU {gpu.index} ({gpu.uuid}); check its power cable, then reboot."
    return driver.error or errors.get(gpu.index, gone)


class Lane(Generic[T]):
    """A thread on which one call after another is made to something that may hang."""

    def __init__(self, subject: str, timeout_s: float) -> None:
        self._subject = subject
        self._timeout_s = timeout_s
        self._calls: queue.SimpleQueue[tuple[Callable[[], T], Future[T]]] = queue.SimpleQueue()
        self._latest: Future[T] | None = None
        # A daemon, since a hung call must not keep the process from ending.
        threading.Thread(target=self._run, name=f"lane: {subject}", daemon=True).start()

    def start(self, call: Callable[[], T]) -> Future[T] | None:
        """Begin the call; None while an earlier one has not returned, whose answer would be an old one."""
        if self._latest and not self._latest.done():
            return None
        self._latest = Future()
        self._calls.put((call, self._latest))
        return self._latest

    def result(self, started: Future[T] | None, deadline: float) -> T | GpuError:
        """Wait for a call until the deadline (monotonic seconds); what went wrong is the result too."""
        if started is None:
            return self._late()
        try:
            return started.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return self._late()
        except GpuError as error:
            return error

    def _late(self) -> GpuError:
        return GpuError(
            f"{self._subject} did not answer within {self._timeout_s:g} s; if it stays so, reboot the box."
        )

    def _run(self) -> None:
        while True:
            call, future = self._calls.get()
            try:
                future.set_result(call())
            except GpuError as error:
                future.set_exception(error)
            except Exception as error:
                logger.exception("%s could not be read", self._subject)
                future.set_exception(GpuError(f"{self._subject} could not be read ({error!r}); see the log."))


class _FreshLane:
    """A lane on which callers take turns, each with a call of its own."""

    def __init__(self, subject: str, timeout_s: float) -> None:
        self._lane: Lane[GpuReading] = Lane(subject, timeout_s)
        self._turn = threading.Lock()

    def result(self, call: Callable[[], GpuReading], deadline: float) -> GpuReading | GpuError:
        """Make the call when its turn comes; late when that is after the deadline (monotonic seconds)."""
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return self._lane.result(None, deadline)
        try:
            return self._lane.result(self._lane.start(call), deadline)
        finally:
            self._turn.release()
