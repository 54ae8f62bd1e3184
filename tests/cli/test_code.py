from __future__ import annotations

import io
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.code import Code, check_size, collect, pack
from appliance.config import JobsSettings
from appliance.errors import InvalidRequest, TooLarge
from appliance.jobs.snapshot import SnapshotStore

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    return folder


def paths(code: Code) -> list[str]:
    return [file.path for file in code.files]


def archive(folder: Path) -> bytes:
    target = io.BytesIO()
    pack(collect(folder), target)
    return target.getvalue()


def arrived(folder: Path, tmp_path: Path) -> Path:
    """Return the folder as the box unpacks it."""
    store, workspace = tmp_path / "snapshots", tmp_path / "workspace"
    store.mkdir()
    workspace.mkdir()
    snapshots = SnapshotStore(store, JobsSettings(min_free_bytes=0))
    snapshots.unpack(snapshots.add(io.BytesIO(archive(folder))).sha256, workspace)
    return workspace


def test_versions_caches_and_virtual_environments_stay(folder: Path) -> None:
    for name in (".git/config", "__pycache__/a.pyc", "venv/pyvenv.cfg", "venv/lib/a.py", "lib/b.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert paths(collect(folder)) == ["lib/b.py", "train.py"]


def test_spudignore_is_honoured_as_git_would(folder: Path) -> None:
    (folder / "data").mkdir()
    for name in ("data/big.bin", "a.log", "keep.log"):
        (folder / name).touch()
    (folder / ".spudignore").write_text("data/\n*.log\n!keep.log\n")
    assert paths(collect(folder)) == [".spudignore", "keep.log", "train.py"]


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder, and a test that has no right of root."""
    with tempfile.TemporaryDirectory() as name:
        user = os.geteuid()
        if user == 0:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        yield Path(name)
        os.seteuid(user)


def test_unreadable_folder_is_named(folder_of_nobody: Path) -> None:
    (folder_of_nobody / "secret").mkdir(mode=0)
    with pytest.raises(InvalidRequest, match=r"Cannot read .*secret: Permission denied"):
        collect(folder_of_nobody)


def test_unreadable_folder_may_be_left_out(folder_of_nobody: Path) -> None:
    (folder_of_nobody / "secret").mkdir(mode=0)
    (folder_of_nobody / ".spudignore").write_text("secret/\n")
    assert paths(collect(folder_of_nobody)) == [".spudignore"]


def test_unreadable_file_is_named(folder_of_nobody: Path) -> None:
    (folder_of_nobody / "key").touch(mode=0)
    with pytest.raises(InvalidRequest, match=r"Cannot read .*key: Permission denied"):
        archive(folder_of_nobody)


def test_socket_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("ipc")
        with pytest.raises(InvalidRequest, match="ipc is a socket, pipe or device"):
            collect(folder)


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "lib/../../other"])
def test_link_out_of_the_folder_is_refused_by_name(folder: Path, target: str) -> None:
    (folder / "out").symlink_to(target)
    with pytest.raises(InvalidRequest, match=f"out is a link to {target}"):
        collect(folder)


def test_link_within_stays_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").symlink_to("train.py")
    assert (arrived(folder, tmp_path) / "main.py").readlink() == Path("train.py")


def test_hard_links_travel_as_files(folder: Path, tmp_path: Path) -> None:
    os.link(folder / "train.py", folder / "twin.py")
    assert (arrived(folder, tmp_path) / "twin.py").read_text() == "print(1)\n"


def test_contents_modes_and_times_arrive(folder: Path, tmp_path: Path) -> None:
    (folder / "go.sh").write_bytes(b"\0\xff")
    (folder / "go.sh").chmod(0o700)
    os.utime(folder / "go.sh", (1_700_000_000, 1_700_000_000))
    status = (arrived(folder, tmp_path) / "go.sh").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o755, 1_700_000_000)


def test_empty_folder_arrives(folder: Path, tmp_path: Path) -> None:
    (folder / "logs").mkdir()
    assert (arrived(folder, tmp_path) / "logs").is_dir()


def test_names_of_all_kinds_arrive(folder: Path, tmp_path: Path) -> None:
    names = {"ä 学.py", "-rf", "x" * 200, os.fsdecode(b"caf\xe9"), "new\nline"}
    for name in names:
        (folder / name).touch()
    assert {path.name for path in arrived(folder, tmp_path).iterdir()} == names | {"train.py"}


def test_same_files_make_the_same_bytes(folder: Path) -> None:
    first = archive(folder)
    (folder / "new").touch()
    (folder / "new").unlink()
    os.chown(folder / "train.py", 1234 if os.geteuid() == 0 else -1, -1)
    assert archive(folder) == first


def test_file_that_shrinks_meanwhile_is_named(folder: Path) -> None:
    code = collect(folder)
    (folder / "train.py").unlink()
    with pytest.raises(InvalidRequest, match=r"Cannot read .*train.py"):
        pack(code, io.BytesIO())


def test_code_over_the_limit_names_its_largest_files(folder: Path) -> None:
    for number in range(7):
        (folder / f"{number}.bin").write_bytes(bytes(1000 + number))
    code = collect(folder)
    with pytest.raises(TooLarge, match=r"Largest: 6\.bin .*, 2\.bin \(1002 B\)\. Leave data out"):
        check_size(code, code.size_bytes, 100, "when unpacked")
