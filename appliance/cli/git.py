"""What git knows of the folder that travels; the folder may have nothing to do with git."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DIRTY = "+dirty"


@dataclass(frozen=True, slots=True)
class GitState:
    """The files git would keep, relative to the folder, and the commit (`…+dirty` when files differ).

    `files` is None where git cannot say, and `trouble` says why.
    """

    files: tuple[str, ...] | None = None
    commit: str | None = None
    trouble: str | None = None


def read_git(folder: Path) -> GitState:
    """Ask git about a folder; a folder outside any work tree costs no process."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return GitState()
    import subprocess  # not needed outside of git

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ("git", "-C", str(folder), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )

    try:  # at the same time: each takes some milliseconds
        listing = start("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        description = start("describe", "--always", "--abbrev=40", "--exclude=*", f"--dirty={_DIRTY}")
    except OSError:
        return GitState(trouble="git is not installed")
    commit, _ = description.communicate()
    names, complaint = listing.communicate()
    if listing.returncode != 0:
        return GitState(trouble=_first_line(complaint))
    return GitState(_names(names), commit.decode().strip() or None)


def _names(listing: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(name) for name in listing.split(b"\0") if name)


def _first_line(complaint: bytes) -> str:
    lines: Sequence[str] = complaint.decode("utf-8", "replace").splitlines()
    return lines[0].removeprefix("fatal: ") if lines else "git failed"
