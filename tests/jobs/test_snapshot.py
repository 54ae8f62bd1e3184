from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from appliance.config import JobsSettings
from appliance.errors import InvalidRequest, SpudError, StorageFull, TooLarge
from appliance.jobs.snapshot import SnapshotStore
from tests.factories import make_archive, make_member

pytestmark = pytest.mark.unit


def store(folder: Path, **limits: int) -> SnapshotStore:
    return SnapshotStore(folder, JobsSettings.model_validate(limits))


def test_the_same_code_is_kept_once(tmp_path: Path) -> None:
    first = store(tmp_path).add(make_archive({"train.py": "print()"}))
    assert store(tmp_path).add(make_archive({"train.py": "print()"})) == first
    assert [path.name for path in tmp_path.iterdir()] == [f"{first.sha256}.tar.gz"]


def test_files_folders_and_inner_links_arrive(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (target := tmp_path / "workspace").mkdir()
    link = make_member("a/link", tarfile.SYMTYPE, "../train.py")
    snapshot = store(kept).add(make_archive({"train.py": "x", "a/b.py": "y"}, link))
    store(kept).unpack(snapshot.sha256, target)
    assert (target / "a" / "b.py").read_text() == "y"
    assert (target / "a" / "link").read_text() == "x"


BAD_MEMBERS = {
    "parent": make_member("../evil", tarfile.REGTYPE),
    "absolute": make_member("/etc/evil", tarfile.REGTYPE),
    "link out": make_member("link", tarfile.SYMTYPE, "../../etc/passwd"),
    "absolute link": make_member("link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": make_member("link", tarfile.LNKTYPE, "train.py"),
    "device": make_member("null", tarfile.CHRTYPE),
    "pipe": make_member("pipe", tarfile.FIFOTYPE),
    "twice": make_member("train.py", tarfile.REGTYPE),
    "long path": make_member("/".join(["a" * 200] * 20), tarfile.REGTYPE),
    "empty link": make_member("link", tarfile.SYMTYPE, ""),
    "long link": make_member("link", tarfile.SYMTYPE, "a/" * 2000),
    "long name": make_member("a" * 256, tarfile.REGTYPE),
    "below a file": make_member("train.py/x", tarfile.REGTYPE),
}


@pytest.mark.parametrize("member", BAD_MEMBERS.values(), ids=BAD_MEMBERS.keys())
def test_a_member_that_could_leave_its_folder_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidRequest, match="The code archive holds"):
        store(tmp_path).add(make_archive({"train.py": "x"}, member))
    assert not list(tmp_path.iterdir())


def test_a_file_cannot_take_the_place_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        store(tmp_path).add(make_archive({"a/b": "x", "a": "y"}))


@pytest.mark.parametrize("headers", [{"size": "-10000000000000"}, {"mtime": "inf"}, {"mtime": "nan"}])
def test_an_impossible_size_or_time_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    member = make_member("folder", tarfile.DIRTYPE)
    member.pax_headers = headers
    with pytest.raises(InvalidRequest):
        store(tmp_path).add(make_archive({}, member))


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    member = make_member("sparse", tarfile.REGTYPE)
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": "52428800", "GNU.sparse.map": "0,0"}
    with pytest.raises(InvalidRequest):
        store(tmp_path).add(make_archive({}, member))


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    link = make_member("a", tarfile.SYMTYPE, "b")
    with pytest.raises(InvalidRequest, match="which is no folder"):
        store(tmp_path).add(make_archive({}, link, make_member("a/x", tarfile.REGTYPE)))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="larger than 1 MiB when unpacked"):
        store(tmp_path, workspace_max_bytes=1024**2).add(make_archive({"bomb": b"0" * 3 * 1024**2}))
    assert not list(tmp_path.iterdir())


def test_a_header_that_claims_a_huge_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="oversized header"):
        store(tmp_path).add(make_archive({}, make_member("a" * 3 * 1024**2, tarfile.SYMTYPE, "b")))


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="more than 2 files"):
        store(tmp_path, code_max_files=2).add(make_archive({"a": "", "b": "", "c": ""}))


def test_a_large_upload_is_refused_while_it_arrives(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="--data"):
        store(tmp_path, code_max_bytes=1000).add(io.BytesIO(b"0" * 2_000_000))


@pytest.mark.parametrize("junk", [b"", b"junk" * 100, make_archive({"a": "b" * 9999}).getvalue()[:40]])
def test_a_damaged_archive_is_refused(tmp_path: Path, junk: bytes) -> None:
    with pytest.raises(SpudError, match="not a usable"):
        store(tmp_path).add(io.BytesIO(junk))
    assert not list(tmp_path.iterdir())


def test_an_upload_is_refused_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="iB of disk left"):
        store(tmp_path, min_free_bytes=1 << 60).add(make_archive({"a": "b"}))
