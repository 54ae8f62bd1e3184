"""The library: one folder per data set, each complete or not there at all.

A data set is gathered in a hidden folder beside its place, checked, described in manifest.json, and only
then renamed into place. Jobs mount it read-only.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from appliance.datasets.dataset import KNOWN, DataFile, DataSet, StoredDataSet, StoredFile
from appliance.errors import AccessDenied, Conflict, InvalidRequest, NotFound, StorageFull, Unavailable

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
TIMEOUT_S = 10.0
"""How long a mirror may be silent, when it is called and between two parts of a file."""

_CHUNK = 1 << 20
_INCOMING = ".incoming-"
_LOCK = ".lock"

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, its bytes so far, and its bytes in all where that is known."""


class MirrorsUnreachable(Unavailable):
    """No mirror delivered the published files."""

    code = "mirrors_unreachable"


@dataclass(frozen=True, slots=True)
class Addition:
    """A data set that was asked for; `is_new` is False when the library held it already."""

    dataset: StoredDataSet
    is_new: bool


class DatasetLibrary:
    """The data sets in one directory."""

    def __init__(self, directory: Path, known: Mapping[str, DataSet] = KNOWN) -> None:
        self.directory = directory
        self._known = known

    def list(self) -> tuple[StoredDataSet, ...]:
        """Return the complete data sets, by name; a folder with a damaged manifest is logged and left out."""
        found = []
        for manifest in sorted(self.directory.glob(f"[!.]*/{MANIFEST}")):
            try:
                found.append(_read_manifest(manifest))
            except Unavailable as error:
                logger.warning("%s", error.message)
        return tuple(found)

    def get(self, name: str) -> StoredDataSet:
        """Return one data set; raises NotFound, or Unavailable when its manifest is damaged."""
        manifest = self.directory / name / MANIFEST
        if not name or name.startswith(".") or Path(name).name != name or not manifest.exists():
            raise NotFound(f"No data set {name!r} on this box. List data sets with: spud data list")
        return _read_manifest(manifest)

    def folder(self, name: str, roots: Iterable[Path]) -> Path:
        """Return where a data set really is, all links followed.

        Raises AccessDenied unless that is inside one of the roots: the engine mounts it as root.
        """
        place = (self.directory / name).resolve()
        for root in (root.resolve() for root in roots):
            if place.is_relative_to(root) and place != root:
                return place
        raise AccessDenied(
            f"The data set {name} is a link to {place}, which jobs may not mount."
            " Add its folder to [data] link_targets if they may."
        )

    def import_folder(self, name: str, source: Path, progress: Progress) -> Addition:
        """Copy a known data set from a folder that holds its files, plain or .gz.

        Raises InvalidRequest when the name is not known, a file is missing or not the published one;
        Conflict when something else is in its place; StorageFull and Unavailable as the disk has it.
        """
        dataset = self._known_dataset(name)
        paths = [_find(source, file, dataset) for file in dataset.files]

        def gather(folder: Path) -> str:
            for file, path in zip(dataset.files, paths, strict=True):
                _copy(path, folder / path.name, progress)
                _check(folder / path.name, file, dataset, origin=str(path))
            return str(source.resolve())

        return self._add(dataset, gather)

    def fetch(self, name: str, progress: Progress) -> Addition:
        """Download a known data set from its mirrors, through the proxies that the environment names.

        Raises MirrorsUnreachable when no mirror delivers the published files, else as import_folder.
        """
        dataset = self._known_dataset(name)

        def gather(folder: Path) -> str:
            reasons = []
            for mirror in dataset.mirrors:
                try:
                    _download_all(mirror, dataset, folder, progress)
                except (MirrorsUnreachable, InvalidRequest) as error:
                    reasons.append(error.message)
                    continue
                return mirror
            raise MirrorsUnreachable(
                f"Cannot fetch {dataset.title}: {' '.join(reasons)} Check the network or the proxy variables,"
                f" or copy the files here and run: spud data import {dataset.name} FOLDER"
            )

        return self._add(dataset, gather)

    def _known_dataset(self, name: str) -> DataSet:
        if name not in self._known:
            raise InvalidRequest(f"Unknown data set {name!r}. Known are: {', '.join(self._known)}.")
        return self._known[name]

    def _add(self, dataset: DataSet, gather: Callable[[Path], str]) -> Addition:
        """Put the data set in place; `gather` fills a folder with its files and returns their source."""
        with _storage_errors(self.directory), self._locked():
            place = self.directory / dataset.name
            if (place / MANIFEST).exists():
                return Addition(_read_manifest(place / MANIFEST), is_new=False)
            if place.exists():
                raise Conflict(f"{place} exists and has no {MANIFEST}. Move it away and try again.")
            with self._incoming(dataset.name) as folder:
                source = gather(folder)
                _describe(folder, dataset, source)
                _publish(folder, place)
            return Addition(_read_manifest(place / MANIFEST), is_new=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time add data sets."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _incoming(self, name: str) -> Iterator[Path]:
        """Give a hidden folder, removed in the end; also removes what a killed process left."""
        for leftover in self.directory.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{_INCOMING}{name}-", dir=self.directory))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _storage_errors(directory: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"No room left in {directory}. Free some space and try again.") from None
        where = error.filename or directory
        raise Unavailable(f"Cannot use {where}: {error.strerror}. Run this as root, with sudo.") from None


def _read_manifest(path: Path) -> StoredDataSet:
    try:
        return StoredDataSet.from_json(json.loads(path.read_text()), path.parent)
    except OSError as error:
        raise Unavailable(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"{path} is damaged. Remove {path.parent} and import it again.") from None


def _find(folder: Path, file: DataFile, dataset: DataSet) -> Path:
    for name in (f"{file.name}.gz", file.name):
        if (folder / name).is_file():
            return folder / name
    raise InvalidRequest(f"{folder} holds no {file.name}.gz, which belongs to {dataset.title}.")


def _copy(source: Path, target: Path, progress: Progress) -> None:
    total = source.stat().st_size
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            progress(source.name, writer.tell(), total)


def _check(path: Path, file: DataFile, dataset: DataSet, origin: str) -> None:
    """Raise InvalidRequest unless the unpacked content is the published one; reads no more than that."""
    try:
        found = _sha256_unpacked(path, file.bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        found = None
    if found != file.sha256:
        raise InvalidRequest(f"{origin} is damaged or not the published file of {dataset.title}.")


def _sha256_unpacked(path: Path, limit: int) -> str | None:
    """Return the hash of the unpacked content, None when it is longer than `limit` bytes."""
    digest, seen = hashlib.sha256(), 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as reader:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            seen += len(chunk)
            if seen > limit:
                return None
    return digest.hexdigest()


def _download_all(mirror: str, dataset: DataSet, folder: Path, progress: Progress) -> None:
    for file in dataset.files:
        url = f"{mirror}{file.name}.gz"
        _download(url, folder / f"{file.name}.gz", file.bytes, progress)
        _check(folder / f"{file.name}.gz", file, dataset, origin=url)


def _download(url: str, target: Path, limit: int, progress: Progress) -> None:
    """Save a file, no more than `limit` bytes of it."""
    seen = 0
    with _call(url) as response, target.open("wb") as writer:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        while seen <= limit and (chunk := _receive(response, url)):
            seen += writer.write(chunk)
            progress(target.name, seen, total)


def _call(url: str) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "spud"})  # noqa: S310  a mirror is a constant
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except (OSError, HTTPException) as error:
        raise _unreachable(url, error) from None
    return response


def _receive(response: HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> MirrorsUnreachable:
    reason = getattr(error, "reason", None) or error
    return MirrorsUnreachable(f"{url} cannot be reached ({reason}).")


def _describe(folder: Path, dataset: DataSet, source: str) -> None:
    """Write manifest.json about the files of the folder; the library never leaves it out or half written."""
    files = tuple(
        StoredFile(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    )
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    stored = StoredDataSet(dataset.name, dataset.title, files, source, now, folder)
    (folder / MANIFEST).write_text(json.dumps(stored.to_json(), indent=2) + "\n")


def _publish(folder: Path, place: Path) -> None:
    """Make the folder readable for every job's user, write it through to the disk, and rename it."""
    for path in (*folder.iterdir(), folder):
        path.chmod(0o755 if path.is_dir() else 0o644)
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    folder.rename(place)
