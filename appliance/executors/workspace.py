"""The folders of an attempt, made before its container.

The owner owns what the job may write, but not the folder around it: who could put a link in the place
of a mount's source would choose what the engine, as root, mounts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from appliance.containers.arguments import passwd
from appliance.failpoints import reach
from appliance.jobs.directory import JobDirectory
from appliance.jobs.snapshot import SnapshotStore
from appliance.users.user import User

# The group is Spud's, by the setgid bit of the store's folder, so that the page can show outputs.
_OWNERS_MODE = 0o2770
_PASSAGE_MODE = 0o2751


def prepare(directory: JobDirectory, snapshots: SnapshotStore, snapshot: str | None, owner: User) -> None:
    """Make the folders of an attempt; what a death in the middle left is done anew.

    Raises OSError. The workspace appears under its name only when it is whole.
    """
    if directory.workspace.exists():
        return
    make_passage(directory)
    directory.passwd.write_text(passwd(owner))
    directory.passwd.chmod(0o644)
    for folder in (directory.output, directory.home, directory.checkpoints):
        _make(folder, owner)
    partial = directory.root / "workspace.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if snapshot:
            snapshots.unpack(snapshot, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk must not stay full of it
        raise
    reach("workspace.partial")
    partial.chmod(_OWNERS_MODE)
    _give(partial, owner)
    partial.rename(directory.workspace)


def make_passage(directory: JobDirectory) -> None:
    """Make the folder of an attempt, through which the owner passes; raises OSError."""
    for passage in (directory.root.parent, directory.root):
        passage.mkdir(parents=True, exist_ok=True)
        passage.chmod(_PASSAGE_MODE)


def _make(folder: Path, owner: User) -> None:
    if folder.exists() and folder.stat().st_uid == owner.uid:
        return
    folder.mkdir(exist_ok=True)
    folder.chmod(_OWNERS_MODE)
    _chown(folder, owner)


def _give(folder: Path, owner: User) -> None:
    """Give the owner all that is in a folder, and the folder last, while it may still be entered."""
    for path in _entries(folder):
        _chown(path, owner)
    _chown(folder, owner)


def _entries(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            yield Path(root) / name


def _chown(path: Path, owner: User) -> None:
    if path.lstat().st_uid != owner.uid:
        os.chown(path, owner.uid, -1, follow_symlinks=False)
