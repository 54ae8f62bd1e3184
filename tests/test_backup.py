from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.backup import MANIFEST, Manifest, write_backup
from appliance.config import Settings, StoreSettings
from appliance.database import newest_schema
from appliance.errors import Conflict, NotFound, StorageDamaged, StorageFull, Unavailable
from appliance.jobs.job import Attempt, JobState, Verdict
from appliance.jobs.reason import Outcome, Reason
from appliance.restore import Restored, restore
from appliance.scheduler import lock
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.factories import make_archive, make_spec

pytestmark = pytest.mark.process

JOB_UID, SPUD_UID = 1_900_000_123, 12_345
OK = Verdict(Outcome.SUCCEEDED, Reason.OK, "succeeded", (), 0)
CODE = str(Path(__file__).parent.parent)


def silent(_done: int, _total: int) -> None:
    pass


def open_at(folder: Path) -> Storage:
    return open_storage(Settings(store=StoreSettings(directory=folder)))


def back(store: Path, archive: Path, *, replace: bool = False, highest_id: int = 0) -> Restored:
    return restore(store, archive, replace=replace, highest_id=lambda _id: highest_id, progress=silent)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of an account's own: one job over, one under way, one waiting."""
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o2771)
    os.chown(folder, SPUD_UID, SPUD_UID)
    storage = open_at(folder)
    ada = storage.users.add("ada", Role.ADMIN)
    code = storage.snapshots.add(make_archive({"train.py": "print('ü')"})).sha256
    for _ in range(3):
        storage.jobs.add(make_spec(), ada, code, None)
    over = storage.lifecycle.start(1, (), "boot")
    under_way = storage.lifecycle.start(2, (), "boot")
    assert over is not None
    assert under_way is not None
    for attempt in (over, under_way):
        fill(storage, attempt)
    storage.lifecycle.finish(over, OK, time.time())
    storage.database.close()
    return folder


def fill(storage: Storage, attempt: Attempt) -> None:
    directory = storage.job_directory(attempt)
    inner = directory.output / "inner"
    inner.mkdir(parents=True)
    directory.log.write_text(f"2026-11-21T09:00:00.000000000Z F Hello from job {attempt.job_id}\n")
    (inner / "model.h5").write_bytes(os.urandom(100_000))
    os.link(inner / "model.h5", inner / "same.h5")
    (directory.output / "link").symlink_to("/etc/passwd")
    Path(os.fsdecode(os.fsencode(directory.output) + b"/na\xffme")).write_text("odd")
    os.mkfifo(directory.output / "pipe")
    checkpoints = directory.root.parent / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-1").write_text("weights")
    for path in (directory.output, *directory.output.rglob("*"), checkpoints, *checkpoints.iterdir()):
        os.chown(path, JOB_UID, SPUD_UID, follow_symlinks=False)
    directory.output.chmod(0o2770)
    (inner / "model.h5").chmod(0o600)
    inner.chmod(0o500)


@pytest.fixture
def archive(store: Path, tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar.gz"
    write_backup(store, path, with_outputs=True, progress=silent)
    return path


def contents(folder: Path) -> dict[str, object]:
    """Return all that a store keeps, with owners, modes and contents, but for what no backup has."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_uid,
            path.lstat().st_gid,
            oct(path.lstat().st_mode),
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted((folder / "jobs").rglob("*"))
        if not path.is_fifo()
    }


# Writing


def test_everything_comes_back_as_it_was(store: Path, archive: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, SPUD_UID, SPUD_UID)
    # The group of a store's own files is that of its folder; these were made by the test.
    before = {
        name: values
        for name, values in contents(store).items()
        if "output/" in name or "checkpoints/" in name
    }
    done = back(elsewhere, archive)
    after = contents(elsewhere)
    assert before
    assert {name: after[name] for name in before} == before
    assert done.unowned == 0
    assert done.aside is None
    jobs = open_at(elsewhere).jobs
    assert [job.state for job in jobs.list()] == [JobState.PENDING, JobState.STARTING, JobState.FINISHED]
    assert jobs.get(1).verdict == OK
    assert open_at(elsewhere).snapshots.path(str(jobs.get(1).snapshot)).exists()
    assert (elsewhere / "jobs/2/1/output.log").read_text().endswith("Hello from job 2\n")


def test_a_restored_store_has_the_owner_and_modes_of_a_new_one(archive: Path, tmp_path: Path) -> None:
    fresh, restored = tmp_path / "fresh", tmp_path / "restored"
    for folder in (fresh, restored):
        folder.mkdir()
        os.chown(folder, SPUD_UID, SPUD_UID)
    open_at(fresh)
    back(restored, archive)
    for name in ("jobs", "snapshots", "spud.db", "scheduler.lock"):
        assert oct((restored / name).stat().st_mode) == oct((fresh / name).stat().st_mode)
        assert (restored / name).stat().st_uid == SPUD_UID
    assert oct((restored / "jobs/1/1").stat().st_mode) == oct(0o42751)


def test_without_outputs_only_logs_and_code_are_in_it(store: Path, tmp_path: Path) -> None:
    write_backup(store, tmp_path / "small.tar.gz", with_outputs=False, progress=silent)
    with tarfile.open(tmp_path / "small.tar.gz") as archive:
        names = archive.getnames()
    assert [name.split("/")[-1] for name in names if name.startswith("jobs/")] == ["output.log", "output.log"]
    assert names[0] == "spud.db"
    assert names[-1] == MANIFEST


def test_only_its_owner_can_read_it_and_nothing_else_is_left(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in archive.parent.iterdir()) == ["backup.tar.gz", "store"]


def test_the_manifest_tells_what_is_in_it(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        manifest = Manifest.from_json(opened.extractfile(MANIFEST).read())  # type: ignore[union-attr]
        for part in manifest.parts:
            data = opened.extractfile(part.path).read()  # type: ignore[union-attr]
            assert (len(data), hashlib.sha256(data).hexdigest()) == (part.bytes, part.sha256)
    assert manifest.schema == newest_schema()
    assert manifest.files == len(manifest.parts) == 12


def test_it_is_taken_while_others_write(store: Path, tmp_path: Path) -> None:
    storage = open_at(store)
    ada = storage.users.get("ada")
    with storage.database.transaction():
        storage.jobs.add(make_spec(), ada, None, None)
        write_backup(store, tmp_path / "b.tar.gz", with_outputs=True, progress=silent)
    back(tmp_path / "new", tmp_path / "b.tar.gz")
    assert open_at(tmp_path / "new").jobs.last_id() == 3


def test_a_file_that_shrinks_while_it_is_read_is_told(store: Path, tmp_path: Path) -> None:
    big = store / "jobs/2/1/output/big"
    big.write_bytes(os.urandom(3_000_000))

    def shrink(done: int, _total: int) -> None:
        if done > 1_000_000 and big.stat().st_size > 10:
            os.truncate(big, 10)

    big.rename(store / "jobs/2/1/output/0")
    big = store / "jobs/2/1/output/0"
    manifest = write_backup(store, tmp_path / "b.tar.gz", with_outputs=True, progress=shrink)
    assert manifest.changed == ["jobs/2/1/output/0"]
    back(tmp_path / "new", tmp_path / "b.tar.gz")


def test_progress_reaches_all_bytes(store: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_backup(
        store, tmp_path / "b.tar.gz", with_outputs=True, progress=lambda done, all_: seen.append((done, all_))
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] > 200_000


def test_an_existing_file_is_not_overwritten(store: Path, archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(Conflict, match=r"already\. Choose another name"):
        write_backup(store, archive, with_outputs=False, progress=silent)
    assert archive.read_bytes() == before


def test_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no store in .*nowhere"):
        write_backup(tmp_path / "nowhere", tmp_path / "b.tar.gz", with_outputs=False, progress=silent)


def test_a_full_disk_leaves_nothing_behind(store: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "spud-test", disk], check=True)
    try:
        with pytest.raises(StorageFull, match="is full"):
            write_backup(store, disk / "b.tar.gz", with_outputs=True, progress=silent)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_death_in_the_middle_leaves_no_file_of_that_name(store: Path, tmp_path: Path) -> None:
    (store / "jobs/2/1/output/big").write_bytes(os.urandom(60_000_000))
    target = tmp_path / "b.tar.gz"
    command = [sys.executable, "-m", "appliance.cli", "backup", "--outputs", str(target)]
    environment = {
        **os.environ,
        "PYTHONPATH": CODE,
        "SPUD_STORE_DIRECTORY": str(store),
        "SPUD_CONFIG": os.devnull,
    }
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    partial = tmp_path / "b.tar.gz.partial"
    while not (partial.exists() and partial.stat().st_size > 1_000_000):
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not target.exists()
    write_backup(store, target, with_outputs=False, progress=silent)
    assert not partial.exists()


# Bringing back


def test_a_store_that_is_there_needs_replace_and_is_kept_aside(store: Path, archive: Path) -> None:
    storage = open_at(store)
    later = storage.jobs.add(make_spec(), storage.users.get("ada"), None, None)
    storage.database.close()
    before = contents(store)
    with pytest.raises(Conflict, match="Add --replace to move it aside, which keeps it"):
        back(store, archive)
    assert contents(store) == before
    done = back(store, archive, replace=True)
    assert done.aside is not None
    assert contents(done.aside) == before
    assert open_at(done.aside).jobs.get(later.id).id == later.id
    assert [job.id for job in open_at(store).jobs.list()] == [3, 2, 1]


def test_ids_given_since_the_backup_are_not_given_again(store: Path, archive: Path) -> None:
    storage = open_at(store)
    for _ in range(4):
        storage.jobs.add(make_spec(), storage.users.get("ada"), None, None)
    storage.database.close()
    back(store, archive, replace=True)
    storage = open_at(store)
    assert storage.jobs.add(make_spec(), storage.users.get("ada"), None, None).id == 8


def test_ids_of_folders_and_containers_are_not_given_again(
    store: Path, archive: Path, tmp_path: Path
) -> None:
    (store / "spud.db").write_bytes(b"broken" * 1000)
    (store / "jobs" / "41").mkdir()
    assert back(store, archive, replace=True).last_id == 41
    assert back(tmp_path / "new", archive, highest_id=77).last_id == 77
    storage = open_at(tmp_path / "new")
    assert storage.jobs.add(make_spec(), storage.users.get("ada"), None, None).id == 78


def test_a_damaged_store_is_replaced(store: Path, archive: Path) -> None:
    os.truncate(store / "spud.db", 5000)
    with pytest.raises(StorageDamaged):
        open_at(store).database.check()
    back(store, archive, replace=True)
    open_at(store).database.check()


def test_data_sets_in_the_stores_folder_stay_where_they_are(store: Path, archive: Path) -> None:
    (store / "data" / "mnist").mkdir(parents=True)
    done = back(store, archive, replace=True)
    assert (store / "data" / "mnist").is_dir()
    assert done.aside is not None
    assert not (done.aside / "data").exists()


def test_a_running_scheduler_is_in_the_way(store: Path, archive: Path) -> None:
    with (
        lock.hold(store / lock.FILE_NAME),
        pytest.raises(Conflict, match=r"A scheduler works on .* spud down"),
    ):
        back(store, archive, replace=True)


@pytest.fixture
def user_of_the_store(store: Path) -> Iterator[subprocess.Popen[str]]:
    program = (
        "import sys; from pathlib import Path; from appliance.database import Database;"
        "d = Database(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(store / "spud.db")],
        env={**os.environ, "PYTHONPATH": CODE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()


def test_any_process_with_the_store_open_is_in_the_way(
    store: Path, archive: Path, user_of_the_store: subprocess.Popen[str]
) -> None:
    with pytest.raises(Conflict, match=f"Process {user_of_the_store.pid} uses the store"):
        back(store, archive, replace=True)
    user_of_the_store.kill()
    user_of_the_store.wait()
    back(store, archive, replace=True)


def rewritten(archive: Path, change: dict[str, bytes | tarfile.TarInfo]) -> Path:
    """Write the backup again with other contents for some members, and with further members."""
    target = archive.with_name("changed.tar.gz")
    with tarfile.open(archive) as old, tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            data = old.extractfile(member).read() if member.isreg() else b""  # type: ignore[union-attr]
            other = change.get(member.name)
            if isinstance(other, bytes):
                data, member.size = other, len(other)
            new.addfile(member, io.BytesIO(data))
        for extra in change.values():
            if isinstance(extra, tarfile.TarInfo):
                new.addfile(extra, io.BytesIO(bytes(extra.size)))
    return target


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"jobs/1/1/output.log": b"forged"}, "jobs/1/1/output.log' is not as it was written"),
        ({"x": member("jobs/9/1/output.log")}, "jobs/9/1/output.log' is not as it was written"),
        ({MANIFEST: b"{}"}, "no whole backup"),
        ({"x": member("../evil")}, "which no backup has"),
        ({"x": member("jobs/1/1/output/../../../evil")}, "which no backup has"),
        ({"x": member("/etc/evil")}, "which no backup has"),
        ({"x": member("snapshots/evil", tarfile.SYMTYPE, "/etc")}, "which no backup has"),
        ({"x": member("jobs/1/1/output/dev", tarfile.CHRTYPE)}, "which no backup has"),
    ],
)
def test_a_changed_backup_is_refused_and_the_store_stays(
    store: Path, archive: Path, change: dict[str, bytes | tarfile.TarInfo], sentence: str
) -> None:
    before = contents(store)
    with pytest.raises(StorageDamaged, match=sentence):
        back(store, rewritten(archive, change), replace=True)
    assert contents(store) == before
    assert [path.name for path in store.iterdir() if "restor" in path.name] == []


def test_a_file_below_a_link_goes_nowhere(store: Path, archive: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    link = member("jobs/1/1/output/a", tarfile.SYMTYPE, str(victim))
    changed = rewritten(archive, {"x": link, "y": member("jobs/1/1/output/a/file")})
    with pytest.raises((StorageDamaged, Unavailable)):
        back(store, changed, replace=True)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("left", [0, 10, 5000, -300])
def test_a_cut_off_backup_is_refused(store: Path, archive: Path, left: int) -> None:
    archive.write_bytes(archive.read_bytes()[:left])
    before = contents(store)
    with pytest.raises(StorageDamaged, match="no whole backup of Spud"):
        back(store, archive, replace=True)
    assert contents(store) == before


def test_a_backup_of_a_newer_spud_is_refused(store: Path, archive: Path) -> None:
    with tarfile.open(archive) as opened:
        manifest = json.loads(opened.extractfile(MANIFEST).read())  # type: ignore[union-attr]
    changed = rewritten(archive, {MANIFEST: json.dumps({**manifest, "schema": 99, "spud": "9.9"}).encode()})
    with pytest.raises(Unavailable, match=r"made by a newer Spud \(9\.9\)"):
        back(store, changed, replace=True)


def test_something_else_than_a_backup_is_refused(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar.gz"
    other.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(StorageDamaged, match="no whole backup of Spud"):
        back(store, other, replace=True)
    with pytest.raises(NotFound, match="There is no backup"):
        back(store, tmp_path / "missing.tar.gz", replace=True)


def test_a_restore_that_was_cut_off_keeps_spud_from_starting_and_can_be_done_again(
    store: Path, archive: Path
) -> None:
    (store / ".restoring-20260101-000000").mkdir()
    for path in store.glob("spud.db*"):
        path.unlink()
    with pytest.raises(StorageDamaged, match="spud restore FILE"):
        open_at(store)
    (store / "spud.db").unlink()
    back(store, archive, replace=True)
    assert len(open_at(store).jobs.list()) == 3


def test_a_full_disk_leaves_the_store_as_it_was(archive: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "spud-test", disk], check=True)
    try:
        with pytest.raises(StorageFull, match="the store is as it was"):
            back(disk / "store", archive)
        assert {path.name for path in (disk / "store").iterdir()} == {"scheduler.lock"}
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
