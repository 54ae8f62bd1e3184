"""Xid events: what the driver reports of a GPU's faults while it happens.

The numbers and what to do about them are those of NVIDIA's Xid catalogue ("Analyzing Xid Errors with the
Xid Catalog", column "Resolution Bucket (Immediate Action)").
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from appliance.gpus.nvml import GpuError, NvmlDriver, XidEvents

logger = logging.getLogger(__name__)

CRITICAL = {
    46: "GPU stopped processing",
    48: "double bit ECC error",
    54: "auxiliary power is not connected",
    62: "internal micro-controller halt",
    64: "memory remapping failure",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained memory error",
    109: "context switch timeout",
    110: "security fault",
    119: "GSP RPC timeout",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "GPU initialization error",
    155: "NVLink error",
    156: "resource retirement",
    158: "fatal timeout",
}
"""Where the immediate action is RESET_GPU, RESTART_BM or CHECK_MECHANICALS, or a workflow that leads to one
(48, 74): until then the card does not do its work."""

OTHERS = {
    13: "graphics engine exception",
    31: "memory page fault",
    32: "corrupted push buffer stream",
    43: "GPU stopped processing for one program",
    45: "cleanup after a program's end",
    63: "memory remapping",
    68: "video decoder exception",
    69: "graphics engine class error",
    92: "high rate of single bit ECC errors",
    94: "contained memory error",
    154: "recovery action changed",
}
"""Some after which the card goes on; most of them are a program's own fault."""

_WAIT_S = 1.0
_ADD_S = 5.0
_OPEN_AGAIN_S = 1.0
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Xid:
    """A fault that a GPU reported; `at` is Unix seconds."""

    gpu_uuid: str
    code: int
    at: float

    @property
    def is_critical(self) -> bool:
        """Whether the card must be reset, or seen to, before it is used again."""
        return self.code in CRITICAL

    @property
    def text(self) -> str:
        """What happened, as a sentence."""
        return f"GPU {self.gpu_uuid} {self.clause}."

    @property
    def clause(self) -> str:
        """What happened, in words that follow a card."""
        meaning = CRITICAL.get(self.code) or OTHERS.get(self.code)
        return f"reported Xid {self.code}{f' ({meaning})' if meaning else ''}"


class XidWatch:
    """Listens to the Xid events of all GPUs on a thread of its own; may be shared between threads.

    Knows what happened since it was made, and nothing of cards or drivers that report no events.
    """

    def __init__(self, driver: NvmlDriver) -> None:
        self._driver = driver
        self._seen: deque[Xid] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._watched: frozenset[str] = frozenset()
        self._closed = threading.Event()
        # A daemon, since a driver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._listen_until_closed, name="xid events", daemon=True)
        self._thread.start()

    @property
    def watched(self) -> frozenset[str]:
        """The GPUs, by UUID, whose events would be heard."""
        return self._watched

    def since(self, gpu_uuid: str, since: float) -> tuple[Xid, ...]:
        """Return what the GPU reported since a time (Unix seconds), oldest first."""
        with self._lock:
            return tuple(xid for xid in self._seen if xid.gpu_uuid == gpu_uuid and xid.at >= since)

    def wait(self, timeout_s: float) -> None:
        """Return after the time, or as soon as a GPU has reported something."""
        self._rung.wait(timeout_s)
        self._rung.clear()

    def close(self) -> None:
        """Listen no longer; returns when the thread has let go of the driver."""
        self._closed.set()
        self._thread.join()

    def _listen_until_closed(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except GpuError as error:
                logger.debug("No Xid events: %s", error)
            except Exception:
                logger.exception("Xid events could not be read; trying again")
            self._watched = frozenset()
            self._closed.wait(_OPEN_AGAIN_S)

    def _listen(self) -> None:
        """Listen until the driver fails, or was loaded anew."""
        events = self._driver.xid_events()
        try:
            while not self._closed.is_set():
                self._watched = events.gpu_uuids
                self._take(events, time.monotonic() + _ADD_S)
                events.add_gpus()
        finally:
            events.close()

    def _take(self, events: XidEvents, deadline: float) -> None:
        """Record what is reported until the deadline (monotonic seconds)."""
        while time.monotonic() < deadline and not self._closed.is_set():
            if event := events.wait(_WAIT_S):
                xid = Xid(*event, time.time())
                logger.warning("%s", xid.text)
                with self._lock:
                    self._seen.append(xid)
                self._rung.set()
