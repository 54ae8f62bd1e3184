"""Removing what a job has left, whatever that is: files of another uid, closed folders, endless nesting.

A job is over when its files are removed, so nobody moves them meanwhile; but it chose names, modes and depth,
so no link is ever followed, no path is ever built, and no more than two folders are open at a time. The
process may give files away (CAP_CHOWN) and has no other right over them: it makes each folder its own before
it enters it.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

logger = logging.getLogger(__name__)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_BATCH = 10_000
_BLOCK_BYTES = 512
"""The unit of st_blocks, see stat(2)."""


class Trash:
    """A folder that things are moved into, which takes an instant, and then emptied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def throw(self, path: Path) -> bool:
        """Move a file or folder into the trash; False when there is none. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        with _opened(path.parent, _FOLDER) as parent, _opened(self._folder, _FOLDER) as trash:
            if stat.S_ISDIR(status.st_mode):
                _make_own(path.name, parent, status)
            os.rename(path.name, _new_name(), src_dir_fd=parent, dst_dir_fd=trash)
        return True

    def empty(self, on_freed: Callable[[int], None] = lambda _bytes: None) -> tuple[str, ...]:
        """Remove all that is in the trash; returns a sentence for each thing that could not be removed.

        `on_freed` is called with bytes as they become free.
        """
        failures: list[str] = []
        with suppress(FileNotFoundError), _opened(self._folder, _FOLDER) as trash:
            while names := [name for name in _names(trash) if name not in failures]:
                for name in names:
                    try:
                        _remove(name, trash, on_freed)
                    except OSError as error:
                        failures.append(name)
                        logger.warning("Could not remove %s of %s: %s", name, self._folder, error)
        return tuple(
            f"{self._folder / name} could not be removed; see the scheduler's log" for name in failures
        )


def disk_bytes(path: Path) -> int:
    """Return how much of the disk a file or folder takes, links not followed; 0 when there is none.

    A folder that its owner has closed is opened for the moment of the look.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    total = status.st_blocks * _BLOCK_BYTES
    if stat.S_ISDIR(status.st_mode):
        with _opened(path.parent, _FOLDER) as parent:
            total += _bytes_below(path.name, parent)
    return total


def _remove(name: str, trash: int, on_freed: Callable[[int], None]) -> None:
    """Remove what is in the trash under a name; folders in it are moved up, so that depth does not matter."""
    status = os.stat(name, dir_fd=trash, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=trash)
        on_freed(_freed(status))
        return
    _make_own(name, trash, status)
    with _opened(name, _FOLDER, trash) as folder:
        while names := _names(folder):
            for inner in names:
                _take_out(inner, folder, trash, on_freed)
    os.rmdir(name, dir_fd=trash)
    on_freed(_freed(status))


def _take_out(name: str, folder: int, trash: int, on_freed: Callable[[int], None]) -> None:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        _make_own(name, folder, status)
        os.rename(name, _new_name(), src_dir_fd=folder, dst_dir_fd=trash)
    else:
        os.unlink(name, dir_fd=folder)
        on_freed(_freed(status))


def _freed(status: os.stat_result) -> int:
    is_last = stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
    return status.st_blocks * _BLOCK_BYTES if is_last else 0


def _make_own(name: str, parent: int, status: os.stat_result) -> None:
    """Make a folder this process's own, and one that it may change."""
    if status.st_uid != os.geteuid():
        os.chown(name, os.geteuid(), -1, dir_fd=parent, follow_symlinks=False)
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with _opened(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, parent) as folder:
            _chmod(folder, stat.S_IRWXU)


def _chmod(descriptor: int, mode: int) -> None:
    # fchmod takes no O_PATH descriptor; the way through /proc does, and follows no link of the job's.
    os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101  no path


def _bytes_below(name: str, parent: int) -> int:
    """Return the size of all that is in a folder, going down and up again with one folder open at a time."""
    total = 0
    with closing(_Walk(name, parent)) as walk:
        while (status := walk.next()) is not None:
            total += _share(status)
    return total


def _share(status: os.stat_result) -> int:
    is_shared = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
    return status.st_blocks * _BLOCK_BYTES // (status.st_nlink if is_shared else 1)


class _Walk:
    """A walk over a tree that yields the status of each entry; closed folders are closed again behind it."""

    def __init__(self, name: str, parent: int) -> None:
        self._here = os.dup(parent)
        self._levels: list[tuple[list[str], os.stat_result | None]] = []
        self._entries: Iterator[os.stat_result] = iter(())
        self._down(name)

    def next(self) -> os.stat_result | None:
        """Return the next entry's status; None at the end."""
        while (status := next(self._entries, None)) is None:
            if not self._levels:
                return None
            folders, _ = self._levels[-1]
            if not folders:
                self._up()
                continue
            with suppress(PermissionError):  # without CAP_CHOWN it stays closed to us
                self._down(folders.pop())
        return status

    def close(self) -> None:
        """Close again what was opened, also when the walk ends early."""
        while self._levels:
            self._up()
        os.close(self._here)

    def _down(self, name: str) -> None:
        closed: os.stat_result | None = None
        if not os.access(name, os.R_OK | os.X_OK, dir_fd=self._here, effective_ids=True):
            closed = os.stat(name, dir_fd=self._here, follow_symlinks=False)
            _make_own(name, self._here, closed)
        inner = os.open(name, _FOLDER, dir_fd=self._here)
        os.close(self._here)
        self._here = inner
        folders: list[str] = []
        self._levels.append((folders, closed))
        self._entries = _look(inner, folders)

    def _up(self) -> None:
        _, closed = self._levels.pop()
        outer = os.open("..", _FOLDER, dir_fd=self._here)
        if closed is not None:
            _chmod(self._here, stat.S_IMODE(closed.st_mode))
            os.chown(self._here, closed.st_uid, -1)
        os.close(self._here)
        self._here = outer


def _look(folder: int, folders: list[str]) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                folders.append(entry.name)
            yield status


def _names(folder: int) -> list[str]:
    """Return some names of what is in a folder: a job can make more than fit into memory."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, _BATCH)]


def _new_name() -> str:
    return secrets.token_hex(8)


@contextmanager
def _opened(path: Path | str, flags: int, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
