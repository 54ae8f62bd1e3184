"""The Python packages that a job's code asks for: found in its archive, named by a hash of their content.

`requirements.txt` at the root, else the dependencies of `pyproject.toml`; files that are included with -r
and -c belong to it. Where a line asks for something out of the code itself (`-e .`, `./wheels/x.whl`), all of
the code does.
"""

from __future__ import annotations

import codecs
import hashlib
import posixpath
import re
import tarfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import InvalidRequest

FOUND_BY_ITSELF = ("requirements.txt", "pyproject.toml")

_FORM = "1"
"""Changes when the same content must be installed anew."""
_FILE_BYTES = 1024**2
_FILES = 100
_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(
    r"^(?:-r|-c|--requirements?|--constraints?)\s*=?\s*(?P<quote>['\"]?)(?P<path>.+?)(?P=quote)$"
)
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_EDITABLE = re.compile(r"^(?:-e|--editable)\s*=?\s*(?P<what>.+)$")
_LINKS = re.compile(r"^(?:-f|--find-links)\s*=?\s*(?P<what>.+)$")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PROJECT = "pyproject.toml"
# As pip reads a requirements file: by its byte order mark, else as UTF-8 (pip/_internal/req/req_file.py).
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Reader = Callable[[str], bytes | None]
"""Returns the content of a file of the code, None where there is none."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is to be installed: `file` among `files`, which hold the text by their path in the code."""

    file: str
    files: Mapping[str, str]
    needs_code: bool
    """Whether a line names something in the code, so that all of it must be there."""

    def hash(self, snapshot: str) -> str:
        """Return what names the content; with the code's own hash where that decides what is installed."""
        digest = hashlib.sha256()
        for part in (_FORM, snapshot if self.needs_code else "", self.file):
            _add(digest, part)
        for path in sorted(self.files):
            _add(digest, path)
            _add(digest, "\n".join(lines_of(self.files[path])))
        return digest.hexdigest()


def read_requirements(archive: Path, named: str | None) -> Requirements | None:
    """Return what the code in a kept archive asks for; None when that is nothing.

    `named` is the file that the job names, None to look for one, "" for nothing. Raises InvalidRequest.
    """
    if named == "":
        return None
    with tarfile.open(archive, "r:gz") as code:
        members = {str(PurePosixPath(member.name)): member for member in code}

        def read(path: str) -> bytes | None:
            member = members.get(path)
            try:
                file = code.extractfile(member) if member else None
            except KeyError:  # a link to nowhere
                return None
            content = file.read(_FILE_BYTES + 1) if file else None
            if content and len(content) > _FILE_BYTES:
                raise InvalidRequest(f"{path} is larger than 1 MiB, too large for a list of packages.")
            return content

        return find_requirements(read, named)


def find_requirements(read: Reader, named: str | None) -> Requirements | None:
    """Return what the code asks for, reading its files with `read`; see `read_requirements`."""
    if named:
        path = posixpath.normpath(named)
        content = read(path)
        if content is None:
            raise InvalidRequest(
                f"requirements: the code has no file {named}. Name one that travels with it,"
                " or install nothing with --no-requirements."
            )
        return _from_file(read, path, content)
    for path in FOUND_BY_ITSELF:
        if (content := read(path)) is not None and (found := _from_file(read, path, content)):
            return found
    return None


def lines_of(text: str) -> list[str]:
    """Return the lines that say something: continued ones joined, without comments and blanks."""
    joined = re.sub(r"[ \t]*\\\r?\n[ \t]*", " ", text)
    lines = (_COMMENT.sub("", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _from_file(read: Reader, path: str, content: bytes) -> Requirements | None:
    if PurePosixPath(path).suffix == ".toml":
        text = _dependencies(path, content)
        path = str(PurePosixPath(path).with_name(f"{PurePosixPath(path).stem}.dependencies.txt"))
    else:
        text = _decode(path, content)
    if not any(lines_of(text)):
        return None
    files = {path: text}
    _add_includes(read, path, files)
    lines = [line for included in files.values() for line in lines_of(included)]
    return Requirements(path, files, any(_is_of_code(line) for line in lines))


def _dependencies(path: str, content: bytes) -> str:
    """Return the dependencies of a pyproject.toml, a line each; its own package is not installed."""
    try:
        project = tomllib.loads(_decode(path, content)).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(
            f"{path} is not valid TOML: {error}. Correct it, or install nothing with --no-requirements."
        ) from None
    dependencies = project.get("dependencies", []) if isinstance(project, dict) else []
    if not isinstance(dependencies, list) or not all(isinstance(entry, str) for entry in dependencies):
        raise InvalidRequest(f"{path}: dependencies of [project] must be a list of texts.")
    if any("\n" in entry for entry in dependencies):
        raise InvalidRequest(f"{path}: a dependency of [project] has more than one line.")
    return "\n".join(dependencies)


def _decode(path: str, content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8. Save it so, or install nothing.") from None


def _add_includes(read: Reader, path: str, files: dict[str, str]) -> None:
    """Add what a file includes, and what that includes; web addresses are pip's affair."""
    for target in _includes(files[path]):
        inner = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if inner in files:
            continue
        if inner.startswith(("../", "/")):
            raise InvalidRequest(f"{path} includes {target}, which is outside the code. Copy it into it.")
        content = read(inner)
        if content is None:
            raise InvalidRequest(f"{path} includes {target}, which is not in the code. Add it.")
        if len(files) == _FILES:
            raise InvalidRequest(f"The requirements include more than {_FILES} files. Merge some of them.")
        files[inner] = _decode(inner, content)
        _add_includes(read, inner, files)


def _includes(text: str) -> Iterator[str]:
    for line in lines_of(text):
        match = _INCLUDE.match(line)
        if match and not _URL.match(match["path"]):
            yield match["path"]


def _is_of_code(line: str) -> bool:
    """Return whether a line names a file or folder of the code; pip takes what looks like a path for one."""
    if match := _EDITABLE.match(line) or _LINKS.match(line):
        return _is_relative(match["what"])
    if line.startswith("-"):
        return False
    name, separator, address = line.partition("@")
    if separator and re.fullmatch(r"[A-Za-z0-9._-]+\s*(\[[^\]]*\])?\s*", name):
        return address.strip().startswith("file:") and not address.strip().startswith("file:///")
    bare = re.split(r"[\[;\s]", line, maxsplit=1)[0]
    looks_local = bare.startswith(".") or "/" in bare or bare.endswith(_ARCHIVES)
    return looks_local and _is_relative(bare)


def _is_relative(what: str) -> bool:
    what = what.strip("'\" ")
    return not what.startswith("/") and (not _URL.match(what) or what.startswith("file:."))


def _add(digest: hashlib._Hash, part: str) -> None:
    data = part.encode()
    digest.update(b"%d:%s" % (len(data), data))
