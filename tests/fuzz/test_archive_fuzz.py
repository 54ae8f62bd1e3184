"""Whatever is uploaded as code is refused with one sentence, or unpacks below its folder and nowhere else."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from appliance.config import JobsSettings
from appliance.errors import InvalidRequest, TooLarge
from appliance.jobs.requirements import read_requirements
from appliance.jobs.snapshot import SnapshotStore
from tests.fuzz.effort import cases
from tests.fuzz.sentences import assert_is_one_sentence

pytestmark = pytest.mark.unit

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where nothing waits for a disk."""
LIMITS = JobsSettings(
    code_max_bytes=200_000, workspace_max_bytes=100_000, code_max_files=30, min_free_bytes=0
)
# Few names, so that members meet: the same twice, below a file, below a link, and through it.
PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "requirements.txt"])
PATHS = (
    st.lists(PARTS, min_size=1, max_size=4).map("/".join)
    | st.sampled_from(
        ["/etc/cron.d/evil", "../beside/evil", "../beside", "a/../../beside/evil", "C:\\evil", "~"]
    )
    | st.sampled_from(
        ["x" * 256, "d/" * 1600 + "x", "a\nb", "\x1b[31m", "ü", "\udcff\udcfe", "a\\..\\b", "-rf"]
    )
    | st.text(max_size=12)
)
KINDS = st.sampled_from(
    [
        *(
            tarfile.REGTYPE,
            tarfile.REGTYPE,
            tarfile.REGTYPE,
            tarfile.AREGTYPE,
            tarfile.DIRTYPE,
            tarfile.SYMTYPE,
        ),
        *(
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
            tarfile.CONTTYPE,
        ),
        *(tarfile.GNUTYPE_SPARSE, tarfile.XGLTYPE, b"Z"),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("path", "linkpath", "size", "mtime", "mode", "uid", "SCHILY.xattr.user.x", "hdrcharset"),
            *(
                "GNU.sparse.major",
                "GNU.sparse.size",
                "GNU.sparse.map",
                "GNU.sparse.name",
                "GNU.sparse.realsize",
            ),
        ]
    ),
    PATHS | st.sampled_from(["0", "-1", "nan", "inf", "1e400", "9" * 30, "0,1", "1", "BINARY"]),
    max_size=2,
)


@st.composite
def usual_members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    """Draw a plain member, which may not agree with the others or may be a link that leads out."""
    name, target = (draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3)) for _ in range(2))
    member = tarfile.TarInfo("/".join(name))
    member.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE]))
    content = draw(st.binary(max_size=40)) if member.isreg() else b""
    member.size = len(content)
    member.linkname = "/".join([".."] * draw(st.integers(0, len(name))) + target)
    member.mode = draw(st.integers(0, 0o7777))
    return member, content


@st.composite
def odd_members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    """Draw any member and what stands behind its header."""
    member = tarfile.TarInfo(draw(PATHS))
    member.type = draw(KINDS)
    content = draw(st.binary(max_size=40) | st.just(b"x" * 1000)) if member.isreg() else b""
    member.size = draw(st.sampled_from([len(content)] * 9 + [10**12]))
    member.linkname = draw(PATHS)
    member.mode = draw(st.integers(0, 0o7777) | st.just(0o6755))
    member.mtime = draw(st.integers(0, 2**33) | st.just(-1))
    member.pax_headers = draw(HEADERS | st.just({}))
    member.uid = draw(st.sampled_from([0, 1000, 2**40]))
    return member, content


def packed(entries: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    """Return a tar of the members, as far as tarfile can write them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for member, content in entries:
            with contextlib.suppress(ValueError, OverflowError, UnicodeError):  # more than this form can say
                archive.addfile(member)
                padding = -len(content) % tarfile.BLOCKSIZE
                buffer.write(content + bytes(padding))
                archive.offset += len(content) + padding
    return buffer.getvalue()


ARCHIVES = st.builds(
    packed,
    st.lists(usual_members(), max_size=3)
    | st.builds(
        lambda usual, odd: [*usual, odd],
        st.lists(usual_members(), max_size=3),
        odd_members(),
    )
    | st.lists(odd_members(), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an archive in which some bytes are others, with checksums that fit all the same."""
    data = bytearray(draw(ARCHIVES))
    for _ in range(draw(st.integers(1, 6))):
        block = draw(st.integers(0, max(0, len(data) // tarfile.BLOCKSIZE - 1))) * tarfile.BLOCKSIZE
        # The fields in which a header says something; see tar(5).
        start, end = draw(
            st.sampled_from(
                [(0, 100), (100, 108), (124, 136), (136, 148), (156, 157), (157, 257), (345, 500)]
            )
        )
        field = draw(
            st.binary(max_size=end - start)
            | st.sampled_from([b"\x80" + b"\xff" * 11, b"\xff" * 12, b"../x\0"])
        )
        data[block + start : block + start + len(field)] = field
        header = bytes(data[block : block + tarfile.BLOCKSIZE])
        if len(header) == tarfile.BLOCKSIZE:
            data[block + 148 : block + 156] = b"%06o\0 " % (
                sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
            )
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


@cases(100)
@given(ARCHIVES)
def test_members_stay_in_the_folder(archive: bytes) -> None:
    try_to_unpack(gzip.compress(archive, 1))


@cases(100)
@given(damaged())
def test_damaged_headers_stay_in_the_folder(archive: bytes) -> None:
    try_to_unpack(gzip.compress(archive, 1))


@cases(50)
@given(ARCHIVES, st.data())
def test_damaged_compression_is_refused_or_harmless(archive: bytes, data: st.DataObject) -> None:
    upload = bytearray(gzip.compress(archive, 1))
    for _ in range(data.draw(st.integers(1, 4))):
        upload[data.draw(st.integers(0, len(upload) - 1))] = data.draw(st.integers(0, 255))
    try_to_unpack(bytes(upload) + data.draw(st.sampled_from([b"", b"\0", gzip.compress(archive), b"junk"])))


@cases(40)
@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_or_harmless(upload: bytes) -> None:
    try_to_unpack(upload)
    try_to_unpack(gzip.compress(upload))


def try_to_unpack(upload: bytes) -> None:
    """Treat an upload as Spud does; assert that all of it lies below the workspace."""
    with TemporaryDirectory(dir=FOLDER) as name:
        root = Path(name)
        kept, target, beside = (root / part for part in ("kept", "workspace", "beside"))
        for folder in (kept, target, beside):
            folder.mkdir()
        (beside / "sentinel").write_text("untouched")
        store = SnapshotStore(kept, LIMITS)
        try:
            snapshot = store.add(io.BytesIO(upload))
        except (InvalidRequest, TooLarge) as error:
            event("refused")
            assert_is_one_sentence(error)
            assert not list(kept.iterdir())
            return
        before = described(root)
        store.unpack(snapshot.sha256, target)
        with contextlib.suppress(InvalidRequest):
            read_requirements(store.path(snapshot.sha256), None)
        event("unpacked")
        assert before == {path: what for path, what in described(root).items() if target not in path.parents}
        assert snapshot.unpacked_bytes <= LIMITS.workspace_max_bytes
        for path in entries(target):
            assert_is_harmless(path, target)


def assert_is_harmless(path: Path, target: Path) -> None:
    status = path.lstat()
    assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        assert Path(os.path.realpath(path)).is_relative_to(target), f"{path} leads to {path.readlink()}"
        return
    assert status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWOTH) == 0
    assert status.st_mode & 0o400
    assert status.st_nlink == 1 or path.is_dir()


def described(root: Path) -> dict[Path, Any]:
    """Return every path with what tells whether it was touched; the time of the target itself may change."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_size if path.is_file() else 0, path.lstat().st_nlink)
        if not path.is_dir()
        else path.lstat().st_mode
        for path in entries(root)
    }


def entries(folder: Path) -> Iterator[Path]:
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(top) / name
