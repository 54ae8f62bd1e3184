"""The preparer: has the image of a job ready before the job gets its place.

Two things may be missing: the image, which is pulled, and a layer with the job's requirements, which is
made. Each is done once for all who wait for it. Nothing of it is recorded before it is done, so a scheduler
that died begins again; what it left in the engine is swept away first.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from appliance.config import Settings
from appliance.containers.layers import (
    LayerAborted,
    LayerEngine,
    LayerFailed,
    LayerOrder,
    Layers,
    LayerSettings,
    layer_key,
    layer_tag,
)
from appliance.containers.network import job_network
from appliance.containers.pull import PullFailed, PullProgress
from appliance.errors import SpudError, Unavailable
from appliance.executors.preparation import Preparation, Waiter
from appliance.jobs.box import Image
from appliance.jobs.image_name import find_local, local_names, refusal, with_tag
from appliance.jobs.job import Attempt, Job, JobState, Request, Verdict
from appliance.jobs.requirements import read_requirements
from appliance.jobs.retry import again, final
from appliance.jobs.verdict import cancelled_before_start, image_failed, image_gone
from appliance.storage import Storage

logger = logging.getLogger(__name__)

_AT_ONCE = 2
_TURN_S = 0.5
_PAUSE_S = 1.0
_MB = 1e6


class PreparerEngine(LayerEngine, Protocol):
    """What the preparer takes of the engine."""

    def pull(self, reference: str) -> Iterator[Mapping[str, Any]]:
        """Fetch an image; yields the engine's messages."""


class Preparer:
    """Makes and fetches the images of jobs; `on_change` is called, from another thread, when one is ready."""

    def __init__(
        self, storage: Storage, images: PreparerEngine, settings: Settings, on_change: Callable[[], None]
    ) -> None:
        self._storage = storage
        self._engine = images
        self._settings = settings
        self._on_change = on_change
        self._environ = dict(os.environ)
        prefix = f"{settings.engine.prefix}-{storage.box.store_id()[:8]}"
        network = job_network(settings)
        self._layers = Layers(
            images,
            LayerSettings(
                prefix,
                network,
                settings.jobs.pids,
                settings.images.build_timeout_seconds,
                self._environ,
            ),
        )
        self._lock = threading.Lock()
        self._preparations: dict[str, Preparation] = {}
        self._of: dict[int, Preparation] = {}
        self._slots = threading.Semaphore(_AT_ONCE)
        self._sweep_lock = threading.Lock()
        self._is_swept = False

    # What the scheduler asks

    def resolve(self, request: Request, local: Mapping[str, Image]) -> str | None:
        """Return the engine's id of the image to run in when nothing is left to do, else None."""
        if request.image_digest:
            known = any(image.digest == request.image_digest for image in local.values())
            return request.image_digest if known else None
        image = find_local(request.image or self._settings.images.default, local)
        if image is None or request.requirements_hash is None:
            return image.digest if image else None
        layer = local.get(layer_tag(layer_key(image.digest, request.requirements_hash, self._environ)))
        return layer.digest if layer else None

    def prepare(self, job: Job, attempt: Attempt) -> None:
        """See to it that the attempt's image comes to be, unless that is under way; returns at once."""
        with self._lock:
            if attempt.id in self._of:
                return
        if job.state is JobState.STOPPING:
            self.cancel(attempt)
            return
        self._find_image(Waiter(job, attempt, self._storage.job_directory(attempt)))

    def cancel(self, attempt: Attempt) -> None:
        """End an attempt that waits for its image; what is being made goes on if others wait for it."""
        with self._lock:
            preparation = self._of.pop(attempt.id, None)
            if preparation:
                preparation.leave(attempt)
        by = self._storage.jobs.get(attempt.job_id).cancel_requested_by or "the scheduler"
        self._storage.lifecycle.finish_unplaced(attempt, cancelled_before_start(by), time.time())

    # The stages

    def _find_image(self, waiter: Waiter) -> None:
        job = waiter.job
        name = job.image_digest or job.spec.image or self._settings.images.default
        is_exact = job.image_digest is not None
        self._join(
            f"image {name}",
            waiter,
            lambda one: self._exact_image(name) if is_exact else self._named_image(name, one),
            self._record if is_exact else self._find_layer,
        )

    def _find_layer(self, waiter: Waiter, image_id: str) -> None:
        requirements_hash = waiter.job.requirements_hash
        if requirements_hash is None:
            self._record(waiter, image_id)
            return
        key = self._layers.key(image_id, requirements_hash)
        self._join(
            f"layer {key}", waiter, lambda one: self._layer(key, image_id, waiter.job, one), self._record
        )

    def _record(self, waiter: Waiter, image_id: str) -> None:
        self._storage.lifecycle.record_image(waiter.attempt, image_id)
        logger.info("The image of job %d is ready: %s", waiter.job.id, image_id)

    # What is done, each on a thread of its own

    def _exact_image(self, image_id: str) -> str:
        """Return the image in which the job ran before: a further attempt runs in no other."""
        if self._engine.find(image_id):
            return image_id
        gone = image_gone(image_id, ran_before=True)
        raise LayerFailed(gone.message, gone.evidence, gone.advice)

    def _named_image(self, name: str, preparation: Preparation) -> str:
        if image_id := self._local_image(name):
            return image_id
        box = self._storage.box.box()
        images = self._settings.images
        if reason := refusal(name, box.images if box else (), images):
            raise LayerFailed(f"the image {name} is not on this box and is not pulled", (reason,), reason)
        if not images.pull:
            raise LayerFailed(f"there is no image {name} on this box, and [images] pull is off")
        with self._slot(preparation):
            self._pull(name, preparation)
        self._storage.box.record_pulled(with_tag(name), time.time())
        if image_id := self._local_image(name):
            return image_id
        raise PullFailed(name, "the engine has no image of that name afterwards")

    def _local_image(self, name: str) -> str | None:
        found = (self._engine.find(candidate) for candidate in local_names(name))
        return next((image.id for image in found if image), None)

    def _pull(self, name: str, preparation: Preparation) -> None:
        preparation.tell(f"Pulling {name}")
        progress, began = PullProgress(name), time.monotonic()
        for message in self._engine.pull(name):
            self._check(preparation)
            preparation.report(progress.feed(message))
        progress.end()
        size = progress.transfer.total_bytes / _MB
        preparation.tell(f"Pulled {name}: {size:.0f} MB in {time.monotonic() - began:.0f} s")

    def _layer(self, key: str, image_id: str, job: Job, preparation: Preparation) -> str:
        self._sweep()
        if layer := self._layers.find(key):
            return layer
        archive = self._storage.snapshots.path(job.snapshot or "")
        requirements = read_requirements(archive, job.spec.requirements)
        if requirements is None or job.requirements_hash is None:
            raise LayerFailed("its code has no requirements, though it had some when it was submitted")
        code = archive if requirements.needs_code else None
        order = LayerOrder(key, image_id, requirements, job.requirements_hash, code)
        with self._slot(preparation):
            preparation.tell(f"Installing {requirements.file} on top of {job.spec.image}")
            return self._layers.make(order, preparation.report, preparation.aborted)

    def _sweep(self) -> None:
        """Remove what a dead scheduler left, once, before anything new is made."""
        with self._sweep_lock:
            if not self._is_swept:
                self._layers.sweep()
                self._is_swept = True

    def _slot(self, preparation: Preparation) -> _Slot:
        return _Slot(self._slots, preparation)

    def _check(self, preparation: Preparation) -> None:
        if preparation.aborted.is_set():
            raise LayerAborted

    # The machinery: one preparation for all who wait for the same

    def _join(
        self,
        key: str,
        waiter: Waiter,
        work: Callable[[Preparation], str],
        then: Callable[[Waiter, str], None],
    ) -> None:
        with self._lock:
            if waiter.attempt.id in self._of:
                return
            preparation = self._preparations.get(key)
            if preparation and preparation.aborted.is_set():
                return  # what it leaves is being removed; the next tick begins anew
            is_new = preparation is None
            if preparation is None:
                preparation = self._preparations[key] = Preparation(key, self._storage.lifecycle, work, then)
            self._of[waiter.attempt.id] = preparation
            preparation.join(waiter)
        if is_new:
            try:
                threading.Thread(target=self._run, args=(preparation,), name=key[:24], daemon=True).start()
            except RuntimeError:  # the system gives no thread; the next tick asks again
                self._release(preparation, None, None)
                raise

    def _run(self, preparation: Preparation) -> None:
        image_id, verdict = None, None
        try:
            image_id = preparation.work(preparation)
        except (LayerFailed, PullFailed) as error:
            verdict = image_failed(error.message, getattr(error, "evidence", ()), error.advice)
        except LayerAborted:
            logger.info("Nobody waits any more for %s", preparation.key)
        except Unavailable as error:
            logger.warning("%s waits: %s", preparation.key, error.message)
            time.sleep(_PAUSE_S)
        except Exception as error:
            logger.exception("%s failed", preparation.key)
            reason = error.message if isinstance(error, SpudError) else f"{type(error).__name__}: {error}"
            verdict = image_failed(f"its image could not be made: {reason}")
        try:
            self._release(preparation, image_id, verdict)
        except Exception:
            logger.exception("The end of %s could not be recorded; it is looked at again", preparation.key)

    def _release(self, preparation: Preparation, image_id: str | None, verdict: Verdict | None) -> None:
        """Let all who wait go on, with the image or with the verdict; without either they ask again."""
        with self._lock:
            del self._preparations[preparation.key]
            waiters = preparation.end()
            for waiter in waiters:
                self._of.pop(waiter.attempt.id, None)
        for waiter in waiters:
            if image_id:
                preparation.then(waiter, image_id)
            elif verdict:
                self._fail(waiter, verdict)
        self._on_change()

    def _fail(self, waiter: Waiter, verdict: Verdict) -> None:
        jobs, job = self._storage.jobs, waiter.job
        earlier = [one for one in jobs.attempts(job.id) if one.id != waiter.attempt.id]
        attempts = [*earlier, replace(waiter.attempt, verdict=verdict)]
        now = time.time()
        decision = again(job.spec, attempts, verdict, now)
        verdict = verdict if decision else final(job.spec, attempts, verdict)
        # A tick that looked too early may have asked once more for an image that the job runs in by now.
        if self._storage.lifecycle.finish_unplaced(waiter.attempt, verdict, now, decision):
            logger.info("Finished job %d before it started: %s", job.id, verdict.message)


class _Slot:
    """A turn among the few that work at once; whoever waits for one says so."""

    def __init__(self, slots: threading.Semaphore, preparation: Preparation) -> None:
        self._slots = slots
        self._preparation = preparation

    def __enter__(self) -> None:
        while not self._slots.acquire(timeout=_TURN_S):
            if self._preparation.aborted.is_set():
                raise LayerAborted
            self._preparation.say(f"its image, behind {_AT_ONCE} others that are being made")

    def __exit__(self, *_: object) -> None:
        self._slots.release()
