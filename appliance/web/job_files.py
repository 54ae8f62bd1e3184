"""The files that a job keeps, read without ever leaving its folder.

The folders belong to the job and may change while it runs, so a path is opened part by part and no part
may be a link: checking a path first and opening it afterwards would leave a gap for a swapped link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from appliance.errors import AccessDenied, NotFound

FOLDERS = ("output", "workspace")
"""The folders of an attempt that a user may read."""

_FILES = 10_000
_ENTRIES = 50_000
"""How much of a tree is looked at, empty folders included: a job can make more than anyone can wait for."""
_DEPTH = 64


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A regular file, by its path below the attempt's folder."""

    path: str
    bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file opened for reading, with what is known of it."""

    file: BinaryIO
    name: str
    bytes: int
    modified_at: float


def list_files(root: Path) -> tuple[KeptFile, ...]:
    """Return the job's regular files, at most 10,000, in order of path; links are left out."""
    files = (file for folder in FOLDERS for file in _walk(root, PurePosixPath(folder)))
    return tuple(sorted(islice(files, _FILES), key=lambda kept: kept.path))


def open_file(root: Path, path: str) -> OpenFile:
    """Open one of the job's files; raises NotFound or AccessDenied."""
    parts = path.split("/")
    if parts[0] not in FOLDERS or len(parts) < 2 or not all(map(_is_plain, parts)):
        raise NotFound(_missing(path))
    try:
        descriptor = _open(root, parts, os.O_RDONLY)
    except PermissionError:
        raise AccessDenied(
            f"The job made {path} unreadable for others. Change its mode inside the job."
        ) from None
    except OSError:
        raise NotFound(_missing(path)) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotFound(_missing(path))
    return OpenFile(os.fdopen(descriptor, "rb"), parts[-1], status.st_size, status.st_mtime)


def _walk(root: Path, top: PurePosixPath) -> Iterator[KeptFile]:
    waiting, seen = [top], 0
    while waiting and seen < _ENTRIES:
        folder = waiting.pop()
        for name, status in _entries(root, folder):
            seen += 1
            if stat.S_ISDIR(status.st_mode) and len(folder.parts) < _DEPTH:
                waiting.append(folder / name)
            elif stat.S_ISREG(status.st_mode):
                yield KeptFile(str(folder / name), status.st_size, status.st_mtime)


def _entries(root: Path, folder: PurePosixPath) -> list[tuple[str, os.stat_result]]:
    """Return names and status of what is in a folder; nothing when it is unreadable or gone meanwhile."""
    try:
        descriptor = _open(root, folder.parts, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(descriptor) as entries:
            plain = (entry for entry in islice(entries, _ENTRIES) if _is_plain(entry.name))
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in plain]
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _open(root: Path, parts: tuple[str, ...] | list[str], flags: int) -> int:
    """Open a path part by part below `root`; a link anywhere in it is an OSError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for number, part in enumerate(parts, start=1):
        # O_NONBLOCK: a named pipe must not hold the thread until somebody writes to it.
        mode = flags | os.O_NONBLOCK if number == len(parts) else os.O_RDONLY | os.O_DIRECTORY
        try:
            inner = os.open(part, mode | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _is_plain(name: str) -> bool:
    """Return whether a name can stand in a URL and a header: printable UTF-8, and no way upwards."""
    return name.isprintable() and name not in ("", ".", "..")


def _missing(path: str) -> str:
    return f"The job has no file {path[:200]}. List its files with: spud show, or on the job's page."
