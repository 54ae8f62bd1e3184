"""What of a user's folder travels with a job, and the archive it travels in.

Inside a git work tree: the tracked files and those that are neither tracked nor ignored. Elsewhere:
everything. Never .git, __pycache__ or virtual environments, nor what .spudignore names.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.cli.output import size
from appliance.errors import InvalidRequest, TooLarge

IGNORE_FILE = ".spudignore"

_SKIPPED = frozenset({".git", "__pycache__"})
_VENV_MARK = "pyvenv.cfg"  # PEP 405
_COMPRESSION_LEVEL = 3  # level 6 makes source text 14 % smaller in twice the time
_LARGEST_NAMED = 5

IsIgnored = Callable[[str], bool]
"""Whether .spudignore names the path; folders end with a slash."""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file, link or empty folder that travels; `path` is relative to the code's folder."""

    path: str
    mode: int
    size_bytes: int
    mtime_s: int

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class Code:
    """The folder that travels and what of it does."""

    folder: Path
    files: tuple[CodeFile, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files, unpacked."""
        return sum(file.size_bytes for file in self.files)

    @property
    def file_count(self) -> int:
        """Number of files and links."""
        return sum(not stat.S_ISDIR(file.mode) for file in self.files)

    def has(self, name: str) -> bool:
        """Whether the file of that path travels."""
        return any(file.path == name for file in self.files)


def collect(folder: Path, listed: Sequence[str] | None = None) -> Code:
    """Return what travels of a folder: all of it, or of the paths that git has listed.

    Raises InvalidRequest, naming the file, for what cannot be read and for what no job can have: a link
    that leads out of the folder, a socket, a device.
    """
    is_ignored = _ignore_rules(folder)
    paths = _walk(folder, "", is_ignored) if listed is None else _choose(folder, listed, is_ignored)
    files = [_describe(folder, path) for path in sorted(set(paths))]
    return Code(folder, tuple(file for file in files if file))


def pack(code: Code, target: BinaryIO) -> int:
    """Write the code as .tar.gz; the same files make the same bytes. Return the archive's size in bytes."""
    with (
        gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, target, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in code.files:
            _add(archive, code.folder, file)
    return target.tell()


def check_size(code: Code, size_bytes: int, limit_bytes: int, what: str) -> None:
    """Raise TooLarge, naming the largest files, when the code is over a limit of the box."""
    if size_bytes <= limit_bytes:
        return
    largest = sorted(code.files, key=lambda file: -file.size_bytes)[:_LARGEST_NAMED]
    names = ", ".join(f"{file.path} ({size(file.size_bytes)})" for file in largest)
    raise TooLarge(
        f"The code is {size(size_bytes)} {what}, over the box's limit of {size(limit_bytes)}."
        f" Largest: {names}. Leave data out with a {IGNORE_FILE} file, or mount it with --data."
    )


# What travels


def _ignore_rules(folder: Path) -> IsIgnored:
    try:
        lines = (folder / IGNORE_FILE).read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return lambda _path: False
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Cannot read {folder / IGNORE_FILE}: {error}.") from None
    import pathspec  # slow, and seldom needed

    try:
        return pathspec.GitIgnoreSpec.from_lines(lines).match_file
    except ValueError as error:
        raise InvalidRequest(f"{folder / IGNORE_FILE} is not in gitignore's form: {error}.") from None


def _walk(folder: Path, below: str, is_ignored: IsIgnored) -> Iterator[str]:
    """Yield the files, links and empty folders under `below`, which is "" or ends with a slash."""
    entries = _entries(folder / below)
    if below and any(entry.name == _VENV_MARK for entry in entries):
        return
    if below and not entries:
        yield below
    for entry in entries:
        path = below + entry.name
        if entry.name in _SKIPPED:
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield from () if is_ignored(path) else (path,)
        elif not is_ignored(path + "/"):
            yield from _walk(folder, path + "/", is_ignored)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InvalidRequest(_unreadable(folder, error)) from None


def _choose(folder: Path, listed: Sequence[str], is_ignored: IsIgnored) -> Iterator[str]:
    """Yield of git's paths those that travel; a repository within (`name/`) is walked."""
    venvs = tuple(path.removesuffix(_VENV_MARK) for path in listed if path.endswith("/" + _VENV_MARK))
    for path in listed:
        if path.startswith(venvs) or not _SKIPPED.isdisjoint(path.split("/")) or is_ignored(path):
            continue
        whole = folder / path
        if whole.is_dir() and not whole.is_symlink():
            yield from _walk(folder, path.rstrip("/") + "/", is_ignored)
        else:
            yield path


def _describe(folder: Path, path: str) -> CodeFile | None:
    try:
        status = os.lstat(folder / path)
    except FileNotFoundError:  # tracked by git, but deleted
        return None
    except OSError as error:
        raise InvalidRequest(_unreadable(folder / path, error)) from None
    if stat.S_ISLNK(status.st_mode):
        _check_link(path, str((folder / path).readlink()))
    elif not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise InvalidRequest(
            f"{path} is a socket, pipe or device, which cannot travel. Name it in {IGNORE_FILE}."
        )
    size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return CodeFile(path.rstrip("/"), status.st_mode, size_bytes, int(status.st_mtime))


def _check_link(path: str, target: str) -> None:
    resolved = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
    if target.startswith("/") or resolved == ".." or resolved.startswith("../"):
        raise InvalidRequest(
            f"{path} is a link to {target}, outside the folder that travels."
            f" Name it in {IGNORE_FILE}, or mount data with --data."
        )


# The archive


def _add(archive: tarfile.TarFile, folder: Path, file: CodeFile) -> None:
    member = tarfile.TarInfo(file.path)
    member.mtime = max(0, file.mtime_s)
    if file.is_link:
        member.type, member.linkname, member.mode = (
            tarfile.SYMTYPE,
            str((folder / file.path).readlink()),
            0o777,
        )
        archive.addfile(member)
    elif stat.S_ISDIR(file.mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    else:
        member.mode = 0o755 if file.mode & 0o100 else 0o644
        _add_regular(archive, folder / file.path, member)


def _add_regular(archive: tarfile.TarFile, path: Path, member: tarfile.TarInfo) -> None:
    try:
        # NONBLOCK: a pipe that has taken the file's place must not hang us
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:  # noqa: PTH123
            member.size = os.fstat(source.fileno()).st_size
            archive.addfile(member, source)
    except OSError as error:
        if error.errno is None:  # tarfile's own: the file became shorter meanwhile
            raise InvalidRequest(f"{path} changed while it was read. Submit again.") from None
        raise InvalidRequest(_unreadable(path, error)) from None


def _unreadable(path: Path, error: OSError) -> str:
    return f"Cannot read {path}: {error.strerror}. Change its rights, or name it in {IGNORE_FILE}."
