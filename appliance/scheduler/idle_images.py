"""IdleImages: images made of requirements, or pulled for a job, that no job has used for long.

An image is never removed under a job that is about to start in it: first it is marked as retiring, so that
no further job is given it; then its last use is looked up again; only then it goes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from appliance.config import Settings
from appliance.containers.images import ImageRecord
from appliance.jobs.retention import Limits, unused_images
from appliance.jobs.retention_store import RetentionStore
from appliance.storage import Storage

logger = logging.getLogger(__name__)

LAYER_LABEL = "spud.layer"
_SETTLED_S = 2.0
"""Longer than a tick: what was decided before an image began to retire is in the store by then."""
_REMOVAL_S = 30.0
_DAY_S = 86_400.0


class RemovableImages(Protocol):
    """What it takes of the engine. Every call raises Unavailable when it does not answer."""

    def find(self, reference: str) -> ImageRecord | None:
        """Return the local image of this name or id, or None."""

    def list(self, label: str) -> list[ImageRecord]:
        """Return the local images that bear the label."""

    def own_bytes(self) -> Mapping[str, int]:
        """Return how much of the disk each image takes that it shares with no other, by its id."""

    def remove(self, reference: str) -> bool:
        """Remove a name, or the image with its last name; False when something still needs it."""


@dataclass(frozen=True, slots=True)
class IdleImage:
    """An image that can go, by a name of its own."""

    name: str
    id: str
    bytes: int
    why: str
    used_at: float
    is_pulled: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    record: ImageRecord
    used_at: float
    is_pulled: bool


class IdleImages:
    """The images of one Spud that can go."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        connect: Callable[[], RemovableImages],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._box = storage.box
        self._uses = RetentionStore(storage.database)
        self._default = settings.images.default
        self._connect = connect
        self._sleep = sleep
        self._reconcile_s = settings.scheduler.reconcile_seconds
        self._retiring: dict[str, float] = {}

    @property
    def retiring(self) -> frozenset[str]:
        """Ids of the images that are being removed, or were a moment ago: no further job may be given one."""
        now = time.monotonic()
        return frozenset(image_id for image_id, until in list(self._retiring.items()) if until > now)

    def idle(self, limits: Limits, now: float) -> tuple[IdleImage, ...]:
        """Return the images that nobody has used for too long; raises Unavailable."""
        if limits.image_s is None:
            return ()
        engine = self._connect()
        candidates = {candidate.name: candidate for candidate in self._candidates(engine, now)}
        names = unused_images({name: found.used_at for name, found in candidates.items()}, limits, now)
        own_bytes = engine.own_bytes() if names else {}
        return tuple(_idle(candidates[name], own_bytes, now) for name in names)

    def remove(self, image: IdleImage, freed: Callable[[int], None]) -> None:
        """Remove the image unless a job has come to use it meanwhile; raises Unavailable."""
        until = time.monotonic() + _SETTLED_S + _REMOVAL_S + self._reconcile_s
        self._retiring = {key: end for key, end in self._retiring.items() if end > time.monotonic()}
        self._retiring[image.id] = until
        self._sleep(_SETTLED_S)
        engine = self._connect()
        found = {candidate.name: candidate for candidate in self._candidates(engine, time.time())}
        is_idle = image.name in found and found[image.name].used_at <= image.used_at
        if not is_idle or not engine.remove(image.name):
            return
        if image.is_pulled:
            self._box.forget_pulled(image.name)
        freed(image.bytes)
        logger.info("Removed the image %s: %s", image.name, image.why)

    def _candidates(self, engine: RemovableImages, now: float) -> list[_Candidate]:
        return [*self._layers(engine, now), *self._pulled(engine, now)]

    def _layers(self, engine: RemovableImages, now: float) -> list[_Candidate]:
        """Return the layers that this store's jobs have used; others may be another Spud's."""
        uses = self._uses.image_uses(now)
        return [
            _Candidate(record.tags[0], record, uses[record.id], is_pulled=False)
            for record in engine.list(LAYER_LABEL)
            if record.id in uses and record.tags
        ]

    def _pulled(self, engine: RemovableImages, now: float) -> list[_Candidate]:
        uses = {_full(name): used_at for name, used_at in self._uses.name_uses(now).items()}
        by_id = self._uses.image_uses(now)
        found = []
        for name, pulled_at in self._box.pulled_images().items():
            record = engine.find(name)
            if record is None or _full(name) == _full(self._default):
                continue
            used_at = max(pulled_at, uses.get(_full(name), 0.0), by_id.get(record.id, 0.0))
            found.append(_Candidate(name, record, used_at, is_pulled=True))
        return found


def _idle(found: _Candidate, own_bytes: Mapping[str, int], now: float) -> IdleImage:
    days = (now - found.used_at) / _DAY_S
    size = own_bytes.get(found.record.id, found.record.size_bytes)
    return IdleImage(found.name, found.record.id, size, _why(days), found.used_at, found.is_pulled)


def _why(days: float) -> str:
    return f"not used for {days:.0f} days" if days >= 2 else f"not used for {days * 24:.0f} hours"


def _full(name: str) -> str:
    """Return the name with its tag, so that two ways to write it are one."""
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"
