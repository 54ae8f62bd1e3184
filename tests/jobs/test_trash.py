from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.jobs.trash import Trash, disk_bytes

pytestmark = pytest.mark.process

JOB_UID = 1_900_000_123
SPUD_UID = 12_345


def run_as(uid: int, what: Callable[[], object], *, may_chown: bool = False) -> str:
    """Run something in a child process under a uid, without root's rights but CAP_CHOWN if it is given."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            _become(uid, may_chown)
            text = str(what())
        except BaseException as error:  # noqa: BLE001  it is told
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


def _become(uid: int, may_chown: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(8, 1, 0, 0, 0) == 0  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(SPUD_UID, SPUD_UID, SPUD_UID)
    os.setresuid(uid, uid, uid)
    rights = 1 if may_chown else 0  # CAP_CHOWN is bit 0, see capability.h
    header = struct.pack("Ii", 0x20080522, 0)
    assert libc.capset(header, struct.pack("6I", rights, rights, 0, 0, 0, 0)) == 0


def as_spud(what: Callable[[], object], *, may_chown: bool = True) -> str:
    return run_as(SPUD_UID, what, may_chown=may_chown)


def as_job(folder: Path, script: str) -> None:
    """Fill a folder as a job would, under its own uid."""

    def fill() -> str:
        os.chdir(folder)
        exec(compile(script, "job", "exec"), {"os": os, "socket": socket})
        return ""

    assert run_as(JOB_UID, fill) == ""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An attempt's folder of the scheduler's, with a workspace of the job's in it."""
    # pytest's own folders are closed to others.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(0o755)
    attempt = tmp_path / "attempt"
    workspace = attempt / "workspace"
    workspace.mkdir(parents=True)
    os.chown(attempt, SPUD_UID, SPUD_UID)
    os.chown(workspace, JOB_UID, SPUD_UID)
    attempt.chmod(0o2751)
    workspace.chmod(0o2770)
    return workspace


def remove(folder: Path) -> tuple[str, ...]:
    trash = Trash(folder.parent / "trash")
    trash.throw(folder)
    return trash.empty()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("os.makedirs('a/b'); os.chmod('a/b', 0); os.chmod('a', 0o500)", id="closed folders"),
        pytest.param(
            "for n in range(3000): os.mkdir('d'); os.chdir('d')\nopen('leaf', 'w')",
            id="deep nesting",
        ),
        pytest.param(
            "for n in range(300): os.mkdir('d'); os.chmod('.', 0o100) if n else 0; os.chdir('d')",
            id="deep and closed",
        ),
        pytest.param("open(b'\\xff\\xfe\\n', 'w'); os.mkdir(b'\\x80'); open(b'\\x80/x', 'w')", id="names"),
        pytest.param("os.mkfifo('pipe'); os.symlink('/', 'root'); os.link('pipe', 'pipe2')", id="kinds"),
        pytest.param("for n in range(30_000): open(str(n), 'w')", id="many files"),
        pytest.param("for n in range(3000): os.makedirs(f'{n}/x')", id="many folders"),
        pytest.param("open('f','w').write('x'); os.chmod('f', 0); os.chmod('.', 0o1500)", id="sticky"),
        pytest.param("socket.socket(socket.AF_UNIX).bind('socket')", id="socket"),
    ],
)
def test_the_scheduler_removes_whatever_a_job_has_made(workspace: Path, script: str) -> None:
    as_job(workspace, script)
    assert as_spud(lambda: remove(workspace)) == "()"
    assert not workspace.exists()
    assert list((workspace.parent / "trash").iterdir()) == []


def test_no_link_is_followed(workspace: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("kept")
    os.chown(treasure, SPUD_UID, SPUD_UID)
    treasure.chmod(0o755)
    as_job(
        workspace,
        f"os.symlink({str(treasure)!r}, 'link'); os.mkdir('d'); os.symlink('..', 'd/up')",
    )
    assert as_spud(lambda: remove(workspace)) == "()"
    assert (treasure / "file").read_text() == "kept"
    assert (treasure.stat().st_uid, treasure.stat().st_mode & 0o777) == (SPUD_UID, 0o755)


def test_a_workspace_that_is_a_link_itself_is_only_unlinked(workspace: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").touch()
    link = workspace.parent / "home"
    link.symlink_to(treasure)
    assert as_spud(lambda: remove(link)) == "()"
    assert (treasure / "file").exists()
    assert not link.is_symlink()


def test_without_the_right_to_chown_it_says_what_stays(workspace: Path) -> None:
    as_job(workspace, "os.mkdir('closed'); open('closed/f', 'w'); os.chmod('closed', 0)")
    told = as_spud(lambda: remove(workspace), may_chown=False)
    assert "not permitted" in told
    assert (workspace / "closed").exists()


def test_a_removal_that_was_cut_off_is_ended_by_the_next(workspace: Path) -> None:
    as_job(workspace, "os.makedirs('a/b/c'); os.chmod('a', 0)")
    as_spud(lambda: Trash(workspace.parent / "trash").throw(workspace))
    assert not workspace.exists()
    assert len(list((workspace.parent / "trash").iterdir())) == 1
    assert as_spud(lambda: Trash(workspace.parent / "trash").empty()) == "()"
    assert list((workspace.parent / "trash").iterdir()) == []


def test_what_was_never_there_is_no_failure(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    assert trash.throw(tmp_path / "nothing") is False
    assert trash.throw(tmp_path / "no folder" / "nothing") is False
    assert Trash(tmp_path / "never made").empty() == ()


def test_bytes_are_told_as_they_become_free(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for number in range(4):
        (folder / "inner" / str(number)).write_bytes(bytes(100_000))
    size = disk_bytes(folder)
    freed: list[int] = []
    trash = Trash(tmp_path / "trash")
    trash.throw(folder)
    trash.empty(freed.append)
    assert 400_000 <= size == sum(freed)


def test_the_size_of_closed_folders_is_known_and_they_stay_closed(workspace: Path) -> None:
    as_job(
        workspace,
        "os.makedirs('a/b/c')\n"
        "for at in ('a', 'a/b', 'a/b/c'): open(at + '/f', 'wb').write(bytes(50_000))\n"
        "os.chmod('a/b/c', 0o400); os.chmod('a/b', 0); os.chmod('a', 0o700)",
    )
    before = {path: (path.lstat().st_uid, path.lstat().st_mode) for path in workspace.rglob("*")}
    assert int(as_spud(lambda: disk_bytes(workspace))) >= 150_000
    assert {path: (path.lstat().st_uid, path.lstat().st_mode) for path in workspace.rglob("*")} == before


def test_a_link_counts_as_itself_and_a_file_with_two_names_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(1_000_000))
    os.link(folder / "file", folder / "again")
    (folder / "link").symlink_to("/usr")
    assert 1_000_000 <= disk_bytes(folder) < 1_100_000
