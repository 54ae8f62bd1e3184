"""What git knows of the folder that travels; the folder may have nothing to do with git."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIRTY = "+dirty"
_DIFF_LIMIT_BYTES = 1024**2
"""What the box keeps."""


@dataclass(frozen=True, slots=True)
class GitState:
    """The files git would keep, relative to the folder, and the commit (`…+dirty` when files differ).

    `files` is None where git cannot say, and `trouble` says why.
    """

    files: tuple[str, ...] | None = None
    commit: str | None = None
    trouble: str | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether a tracked file differs from the commit."""
        return bool(self.commit and self.commit.endswith(_DIRTY))


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


def read_diff(folder: Path, travels: Callable[[str], bool]) -> bytes:
    """Return what git diff says of the folder's uncommitted changes, of deleted files and those that travel.

    What stays behind must not travel in a diff. A diff that is too large is replaced by a line that says so.
    """
    changed = _names(_git(folder, "diff", "--name-only", "-z", "--relative", "HEAD", "--", "."))
    names = [name for name in changed if travels(name) or not os.path.lexists(folder / name)]
    if not names:
        return b""
    options = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    diff = _git(folder, "--literal-pathspecs", "diff", *options, "HEAD", "--", *names)
    if len(diff) <= _DIFF_LIMIT_BYTES:
        return diff
    return f"The diff is too large to be kept: {len(diff) / 1024**2:.1f} MiB, over 1 MiB.\n".encode()


def _git(folder: Path, *arguments: str) -> bytes:
    """Return what git prints; nothing when it fails, since a job does not depend on its diff."""
    import subprocess

    try:
        done = subprocess.run(
            ("git", "-C", str(folder), *arguments),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except OSError:
        return b""
    return done.stdout if done.returncode == 0 else b""


def _names(listing: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(name) for name in listing.split(b"\0") if name)


def _first_line(complaint: bytes) -> str:
    lines: Sequence[str] = complaint.decode("utf-8", "replace").splitlines()
    return lines[0].removeprefix("fatal: ") if lines else "git failed"
