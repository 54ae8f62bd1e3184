"""Layers: a job's requirements, installed once on top of an image and kept as an image of their own.

pip runs what packages bring along, such as their setup.py, so it runs as a job does: without root,
without capabilities, with limits. What comes out is one folder; that alone is copied into a fresh
container of the image, which never runs, and becomes the layer. Nothing else of the installation is kept:
neither its variables, which may hold an index's password, nor anything that a package wrote elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from appliance.containers import build_files
from appliance.containers.build_output import BuildOutput, Event, Line
from appliance.containers.pip_failure import pip_failure
from appliance.errors import SpudError
from appliance.jobs.requirements import Requirements

logger = logging.getLogger(__name__)

REPOSITORY = "spud/layer"
KEY_LABEL = "spud.layer"
REQUIREMENTS_LABEL = "spud.requirements"
PARENT_LABEL = "spud.parent"
BUILD_LABEL = "spud.build"

ENVIRONMENT = "/opt/spud-venv"
"""Where the installed packages lie in a layer."""

_FORM = "1"
"""Changes when the same requirements must be installed anew, since Spud installs them differently."""
_MEMORY_SHARE = 0.5
_WATCH_S = 0.2
_MOST_OUTPUT_LINES = 20_000
_MOST_KEPT_LINES = 5000
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Those of pip's own variables that say where packages come from, not where this process finds its files.
_PASSED_ON = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_NO_INDEX", "PIP_PRE"),
    *("PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_PREFER_BINARY", "PIP_ONLY_BINARY"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)
_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_PRE", "PIP_NO_INDEX")
"""Those that decide what is installed."""


class LayerFailed(SpudError):
    """The requirements could not be installed; the message is a clause, `evidence` are pip's own lines."""

    def __init__(self, message: str, evidence: Sequence[str] = (), advice: str = "") -> None:
        super().__init__(message)
        self.evidence = tuple(evidence)
        self.advice = advice


class LayerAborted(Exception):
    """Nobody waits for the layer any more."""


@dataclass(frozen=True, slots=True)
class LayerImage:
    """What a layer must know of an image."""

    id: str
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BuildContainer:
    """The container in which pip runs; as confined as a job's."""

    name: str
    image: str
    command: Sequence[str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    network: str
    pids: int
    memory_bytes: int
    uid: int = build_files.UID
    working_folder: str = build_files.CODE
    volumes: Sequence[str] = (build_files.TOOLS, build_files.CODE)
    """Folders that lie outside of the container's own files and vanish with it."""


class LayerEngine(Protocol):
    """What it takes of the engine; every call raises EngineUnavailable, and SpudError when refused."""

    def find(self, reference: str) -> LayerImage | None:
        """Return the local image of this name or id."""

    def create(self, container: BuildContainer) -> None:
        """Create a container to run in."""

    def create_bare(self, name: str, image: str) -> None:
        """Create a container that never runs."""

    def put(self, name: str, folder: str, archive: BinaryIO | Iterable[bytes]) -> None:
        """Unpack a tar archive into a container's folder."""

    def take(self, name: str, path: str) -> Iterator[bytes]:
        """Yield what is at a path of a container as a tar archive."""

    def run(self, name: str) -> Iterator[bytes]:
        """Start a container and yield what it writes until it ends."""

    def exit_code(self, name: str) -> int:
        """Return the exit code of an ended container."""

    def commit(self, name: str, repository: str, tag: str, changes: Sequence[str]) -> str:
        """Make an image of a container; return its id."""

    def remove(self, name: str) -> None:
        """Kill and remove a container with its volumes."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of all containers that begin so."""

    def memory_bytes(self) -> int:
        """Return the memory of the engine's machine."""


@dataclass(frozen=True, slots=True)
class LayerOrder:
    """What a layer is made of; `code` is the archive of the job's code where the requirements need it."""

    key: str
    image_id: str
    requirements: Requirements
    requirements_hash: str
    code: Path | None


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """What of the settings a layer depends on. `prefix` begins the names of its containers."""

    prefix: str
    network: str
    pids: int
    timeout_s: int
    environ: Mapping[str, str] = field(default_factory=dict)


def layer_key(image_id: str, requirements_hash: str, environ: Mapping[str, str]) -> str:
    """Return what names a layer: the same image, requirements and sources give the same."""
    digest = hashlib.sha256()
    for part in (_FORM, image_id, requirements_hash, *(environ.get(name, "") for name in _SOURCES)):
        data = part.encode()
        digest.update(b"%d:%s" % (len(data), data))
    return digest.hexdigest()


def layer_tag(key: str) -> str:
    """Return the name of a layer's image."""
    return f"{REPOSITORY}:{key[:16]}"


class Layers:
    """Makes the layers of one Spud. Threads may make several at once, each its own."""

    def __init__(self, engine: LayerEngine, settings: LayerSettings) -> None:
        self._engine = engine
        self._settings = settings

    def key(self, image_id: str, requirements_hash: str) -> str:
        """Return the name of the layer of an image and requirements on this box."""
        return layer_key(image_id, requirements_hash, self._settings.environ)

    def find(self, key: str) -> str | None:
        """Return the id of a layer that is there."""
        found = self._engine.find(layer_tag(key))
        return found.id if found and found.labels.get(KEY_LABEL) == key else None

    def sweep(self) -> None:
        """Remove what a dead scheduler's installations left."""
        for name in self._engine.names(f"{self._settings.prefix}-layer-"):
            self._engine.remove(name)
            logger.info("Removed %s, left by an earlier scheduler", name)

    def make(self, order: LayerOrder, report: Callable[[Event], None], aborted: threading.Event) -> str:
        """Install the requirements and return the layer's id.

        Raises LayerFailed with pip's reason, LayerAborted once the event is set.
        """
        name = f"{self._settings.prefix}-layer-{order.key[:16]}"
        try:
            image = self._engine.find(order.image_id)
            if image is None:
                raise LayerFailed("its image was removed while its requirements were to be installed")
            self._install(name, order, report, aborted)
            report(Line("Keeping what was installed"))
            return self._keep(name, order, image)
        except SpudError as error:
            if aborted.is_set():
                raise LayerAborted from None
            if type(error) is not SpudError:
                raise  # with a reason of its own; or the engine is away, and it is tried again
            raise LayerFailed(f"its requirements could not be installed: {error.message}") from None
        finally:
            self._remove(name)

    def _remove(self, name: str) -> None:
        for left in (name, f"{name}-new"):
            with suppress(SpudError):  # an engine that is away keeps it until the next sweep
                self._engine.remove(left)

    def _install(
        self, name: str, order: LayerOrder, report: Callable[[Event], None], aborted: threading.Event
    ) -> None:
        self._remove(name)
        self._engine.create(self._container(name, order))
        with build_files.pack(order.requirements, order.code, ENVIRONMENT) as archive:
            self._engine.put(name, "/", archive)
        last: deque[str] = deque(maxlen=_MOST_KEPT_LINES)
        count = 0
        with _Limit(self._engine, name, self._settings.timeout_s, aborted) as limit:
            for event in _events(self._engine.run(name), BuildOutput()):
                if isinstance(event, Line):
                    last.append(event.text)
                    count += 1
                if count < _MOST_OUTPUT_LINES:
                    report(event)
        lines = tuple(last)
        if aborted.is_set():
            raise LayerAborted
        if limit.is_over:
            raise _too_slow(self._settings.timeout_s, lines)
        if exit_code := self._engine.exit_code(name):
            failure = pip_failure(lines, exit_code, order.requirements.file)
            raise LayerFailed(failure.message, failure.evidence, failure.advice)

    def _container(self, name: str, order: LayerOrder) -> BuildContainer:
        script = f"{build_files.TOOLS}/{build_files.SCRIPT.name}"
        return BuildContainer(
            name=name,
            image=order.image_id,
            command=("python3", "-u", script, ENVIRONMENT, order.requirements.file),
            environment=build_environment(self._settings.environ),
            labels={BUILD_LABEL: order.key},
            network=self._settings.network,
            pids=self._settings.pids,
            memory_bytes=int(self._engine.memory_bytes() * _MEMORY_SHARE),
        )

    def _keep(self, name: str, order: LayerOrder, image: LayerImage) -> str:
        fresh = f"{name}-new"
        self._engine.create_bare(fresh, image.id)
        self._engine.put(fresh, "/", build_files.folder_archive(ENVIRONMENT))
        parent, _, _ = ENVIRONMENT.rpartition("/")
        self._engine.put(fresh, parent, self._engine.take(name, ENVIRONMENT))
        path = image.environment.get("PATH", _DEFAULT_PATH)
        changes = [
            f"ENV PATH={ENVIRONMENT}/bin:{path}",
            f"LABEL {KEY_LABEL}={order.key}",
            f"LABEL {REQUIREMENTS_LABEL}={order.requirements_hash}",
            f"LABEL {PARENT_LABEL}={image.id}",
        ]
        repository, _, tag = layer_tag(order.key).partition(":")
        return self._engine.commit(fresh, repository, tag, changes)


class _Limit:
    """Removes a container when its time is over or nobody wants it any more."""

    def __init__(self, engine: LayerEngine, name: str, timeout_s: int, aborted: threading.Event) -> None:
        self._engine = engine
        self._name = name
        self._deadline = time.monotonic() + timeout_s
        self._aborted = aborted
        self._ended = threading.Event()
        self.is_over = False

    def __enter__(self) -> _Limit:
        threading.Thread(target=self._watch, name=f"{self._name} limit", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_S):
            self.is_over = time.monotonic() > self._deadline
            if self.is_over or self._aborted.is_set():
                with suppress(SpudError):  # tried again
                    self._engine.remove(self._name)


def _too_slow(timeout_s: int, lines: Sequence[str]) -> LayerFailed:
    return LayerFailed(
        f"its requirements were not installed within {timeout_s} s",
        lines[-3:],
        "Ask for fewer, or have an administrator raise [images] build_timeout_seconds.",
    )


def build_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an installation: where packages come from, and folders it may write to."""
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    links = [link for link in environ.get("PIP_FIND_LINKS", "").split() if "://" in link]
    return {
        **passed,
        **({"PIP_FIND_LINKS": " ".join(links)} if links else {}),
        **build_files.certificate_variables(),
        "HOME": build_files.HOME,
        "TMPDIR": build_files.TEMPORARY,
        "LANG": "C.UTF-8",
    }


def _events(pieces: Iterable[bytes], output: BuildOutput) -> Iterator[Event]:
    for piece in pieces:
        yield from output.feed(piece.decode(errors="replace"))
    yield from output.feed("\n")
