"""What the scheduler sees of the cards: which there are, who holds them, and which are not well."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from appliance.config import Settings
from appliance.executors.context import boot_id
from appliance.gpus.gpu import Gpu, GpuReading
from appliance.gpus.inventory import Inventory, Snapshot
from appliance.gpus.xid import Xid, XidWatch
from appliance.scheduler.health import Change, Condition, examine
from appliance.scheduler.occupancy import Occupancy, Use
from appliance.scheduler.reconciler import Found
from appliance.storage import Storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cards:
    """The cards at one look; see `Box` for what the fields mean."""

    gpus: tuple[Gpu, ...] = ()
    error: str | None = None
    occupied: dict[str, str] = field(default_factory=dict)
    tolerated_bytes: dict[str, int] = field(default_factory=dict)


class GpuWatch:
    """Looks at the cards, and puts into quarantine what is not well. For one thread."""

    def __init__(self, storage: Storage, gpus: Inventory, xids: XidWatch, settings: Settings) -> None:
        self._jobs = storage.jobs
        self._store = storage.box
        self._database = storage.database
        self._inventory = gpus
        self._xids = xids
        self._occupancy = Occupancy(settings.gpus.tolerated_bytes)
        self._boot_id = boot_id()
        self._may_be_simulated = bool(settings.gpus.library)
        self._known: dict[str, Gpu] = {}
        self._up_since: dict[str, float] = {}
        self._looked_at = time.time()

    def remember(self, gpus: Iterable[Gpu]) -> None:
        """Expect the cards that were in the box before; one that a test simulated is not missed after it."""
        self._known = {gpu.uuid: gpu for gpu in gpus if self._may_be_simulated or not gpu.simulated}

    def look(self, found: Found, found_at: float) -> Cards:
        """Return the cards as they are now; `found` is what the engine told at `found_at` (monotonic)."""
        looked_at = time.time()
        with_jobs = self._with_jobs()
        snapshot = self._inventory.snapshot()
        uses = self._occupancy.look(snapshot.readings, found, found_at, with_jobs | self._with_jobs())
        self._known |= {gpu.uuid: gpu for gpu in snapshot.gpus}
        self._apply(self._examine(snapshot, uses, with_jobs))
        self._looked_at = looked_at
        return Cards(
            gpus=tuple(sorted(self._known.values(), key=lambda gpu: (gpu.index, gpu.uuid))),
            error=snapshot.driver.error,
            occupied={uuid: use.reason for uuid, use in uses.items() if use.reason},
            tolerated_bytes={uuid: use.tolerated_bytes for uuid, use in uses.items() if use.tolerated_bytes},
        )

    def _with_jobs(self) -> frozenset[str]:
        return frozenset(held.gpu_uuid for held in self._jobs.reservations())

    def _examine(self, snapshot: Snapshot, uses: dict[str, Use], with_jobs: Collection[str]) -> Change:
        readings = {reading.gpu_uuid: reading for reading in snapshot.readings}
        now = time.monotonic()
        up = {uuid for uuid, reading in readings.items() if reading.up}
        self._up_since = {uuid: self._up_since.get(uuid, now) for uuid in up}
        conditions = [
            Condition(
                gpu_uuid=gpu.uuid,
                index=gpu.index,
                up_for_s=now - self._up_since[gpu.uuid] if gpu.uuid in up else None,
                error=_error(gpu, readings.get(gpu.uuid), snapshot),
                is_free=_is_free(readings.get(gpu.uuid), uses.get(gpu.uuid), gpu.uuid in with_jobs),
                xid=_newest_critical(self._xids.since(gpu.uuid, self._looked_at)),
            )
            for gpu in self._known.values()
        ]
        return examine(conditions, self._store.quarantines(), self._boot_id, time.time())

    def _apply(self, change: Change) -> None:
        with self._database.transaction():
            for uuid in change.released:
                self._store.release(uuid)
                logger.info("GPU %s is given to jobs again", uuid)
            for entry in change.quarantined:
                self._store.release(entry.gpu_uuid)
                self._store.quarantine(entry)
                logger.warning("GPU %s is not given to jobs: %s", entry.gpu_uuid, entry.reason)
        for uuid in change.forgotten:
            self._inventory.forget(uuid)
            self._known.pop(uuid, None)


def _error(gpu: Gpu, reading: GpuReading | None, snapshot: Snapshot) -> str | None:
    if reading:
        return reading.error
    missing = f"GPU {gpu.index} ({gpu.uuid}) was in this box before, and the driver does not list it"
    why = f" ({snapshot.driver.error.rstrip('.')})" if snapshot.driver.error else ""
    return f"{missing}{why}; if it was taken out for good: spud gpus release {gpu.uuid}"


def _is_free(reading: GpuReading | None, use: Use | None, has_jobs: bool) -> bool:  # noqa: FBT001
    """Return whether nobody is left on the card: where no job is, whoever computes is left over."""
    if use is not None and use.reason is not None:
        return False
    processes = reading.processes or () if reading else ()
    return has_jobs or not any(process.kind == "compute" for process in processes)


def _newest_critical(xids: Collection[Xid]) -> Xid | None:
    return next((xid for xid in reversed(tuple(xids)) if xid.is_critical), None)
