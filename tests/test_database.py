from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.config import Settings, StoreSettings
from appliance.database import Database, copy_database, newest_schema, schema_of
from appliance.errors import StorageDamaged, StorageFull, Unavailable
from appliance.jobs.job import JobState
from appliance.jobs.reason import Outcome, Reason
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.factories import make_spec

pytestmark = pytest.mark.unit

FIXTURES = Path(__file__).parent / "migrations"
EARLIER = range(1, newest_schema())
SCRIPTS = Path(__file__).parent.parent / "appliance" / "migrations"


def earlier(folder: Path, schema: int) -> Path:
    """Make the store of an earlier Spud from its dump."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "spud.db")) as connection:
        connection.executescript((FIXTURES / f"schema_{schema}.sql").read_text())
    return folder / "spud.db"


def rows_of(path: Path) -> dict[str, list[sqlite3.Row]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}


def schema_text(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(text for (text,) in connection.execute("SELECT sql FROM sqlite_master") if text)


def store_at(folder: Path) -> Storage:
    return open_storage(Settings(store=StoreSettings(directory=folder)))


def with_jobs(folder: Path, count: int = 200) -> Path:
    """Make a store of several pages and close it."""
    storage = store_at(folder)
    ada = storage.users.add("ada", Role.ADMIN)
    for number in range(count):
        storage.jobs.add(make_spec(name=f"job-{number}"), ada, None, None)
    storage.database.close()
    return folder / "spud.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "spud-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


# From earlier schemas


@pytest.mark.parametrize("schema", EARLIER)
def test_the_dump_of_an_earlier_schema_is_what_its_scripts_make(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        for script in sorted(SCRIPTS.glob("*.sql"))[:schema]:
            connection.executescript(script.read_text())
    assert schema_text(earlier(tmp_path / "old", schema)) == schema_text(path)


@pytest.mark.parametrize("schema", EARLIER)
def test_every_row_of_an_earlier_schema_is_there_after_the_migration(tmp_path: Path, schema: int) -> None:
    path = earlier(tmp_path / "old", schema)
    before = rows_of(path)
    Database(path).check()
    after = rows_of(path)
    assert all(before[table] for table in before), "the dump must have rows in every table"
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        for old, new in zip(rows, after[table], strict=True):
            assert {key: new[key] for key in old.keys()} == dict(old)  # noqa: SIM118  a Row is no mapping
    assert schema_of(path) == newest_schema()


@pytest.mark.parametrize("schema", EARLIER)
def test_a_migrated_store_has_the_schema_of_a_new_one(tmp_path: Path, schema: int) -> None:
    path = earlier(tmp_path / "old", schema)
    Database(path)
    Database(tmp_path / "new.db")
    assert schema_text(path) == schema_text(tmp_path / "new.db")


def test_the_jobs_of_schema_1_go_on(tmp_path: Path) -> None:
    earlier(tmp_path / "store", 1)
    jobs = store_at(tmp_path / "store").jobs
    assert [(job.id, job.state) for job, _ in jobs.active()] == [
        (3, JobState.RUNNING),
        (4, JobState.STARTING),
        (6, JobState.STOPPING),
    ]
    assert {(held.gpu_uuid, held.job_id) for held in jobs.reservations()} == {
        ("GPU-a", 3),
        ("GPU-b", 3),
        ("GPU-c", 6),
    }
    assert [request.job_id for request in jobs.queue(gpus=True, limit=10)] == [5]
    ended = jobs.attempts(2)[0].verdict
    assert ended is not None
    assert (ended.outcome, ended.reason, ended.evidence) == (Outcome.CANCELLED, Reason.CANCELLED, ("line",))


def test_what_a_job_of_schema_1_named_twice_keeps_no_job_from_being_read(tmp_path: Path) -> None:
    path = earlier(tmp_path / "store", 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            """UPDATE job SET spec = json_set(spec, '$.data', json('["b", "a", "b"]')) WHERE id = 3"""
        )
        connection.commit()
    jobs = store_at(tmp_path / "store").jobs
    assert jobs.get(3).spec.data == ("b", "a")
    assert len(jobs.list()) > 1


def test_ids_of_an_earlier_schema_are_not_given_again(tmp_path: Path) -> None:
    earlier(tmp_path / "store", 1)  # whose last job had the id 9
    storage = store_at(tmp_path / "store")
    assert storage.jobs.add(make_spec(), storage.users.get("ada"), None, None).id == 10


@pytest.mark.parametrize("schema", EARLIER)
def test_the_database_of_before_stays_beside_the_migrated_one(tmp_path: Path, schema: int) -> None:
    path = earlier(tmp_path / "old", schema)
    (path.parent / "spud.db.before-0").touch()
    before = rows_of(path)
    Database(path)
    kept = path.with_name(f"spud.db.before-{schema}")
    assert rows_of(kept) == before
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.glob("*before-*")] == [kept.name]


def test_a_new_database_needs_no_copy_of_an_empty_one(tmp_path: Path) -> None:
    Database(tmp_path / "spud.db")
    assert not list(tmp_path.glob("*before-*"))


def test_a_migration_without_room_for_the_copy_changes_nothing(small_disk: Path) -> None:
    path = earlier(small_disk / "store", 1)
    with (small_disk / "ballast").open("wb") as ballast:
        ballast.write(bytes(512 * 1024 - 2 * path.stat().st_size))
    with pytest.raises(StorageFull, match="is full"):
        Database(path)
    assert schema_of(path) == 1
    assert not list(path.parent.glob("*before-*"))


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store", 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Unavailable, match=r"newer Spud \(schema 99; .* Install that Spud again, or restore"):
        store_at(tmp_path / "store")
    assert schema_of(path) == 99


# Damage


def test_a_whole_store_passes_the_check(tmp_path: Path) -> None:
    with_jobs(tmp_path / "store")
    store_at(tmp_path / "store").database.check()


@pytest.mark.parametrize("page", [0, 1, 5, 20])
def test_a_corrupt_page_is_one_sentence_with_the_next_step(tmp_path: Path, page: int) -> None:
    path = with_jobs(tmp_path / "store")
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(os.urandom(4096))
    with pytest.raises(StorageDamaged, match=r"spud\.db is damaged: [^\n]*spud restore FILE --replace$"):
        store_at(tmp_path / "store").database.check()


@pytest.mark.parametrize("left", [100, 4096, 3 * 4096, 9 * 4096 + 17])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, left: int) -> None:
    path = with_jobs(tmp_path / "store")
    os.truncate(path, left)
    with pytest.raises(StorageDamaged, match=r"^[^\n]* is damaged: [^\n]*spud restore FILE"):
        store_at(tmp_path / "store").database.check()


def test_a_row_without_its_owner_is_found(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store", 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM user")
    with pytest.raises(StorageDamaged, match="a row of job belongs to a row of user that is missing"):
        store_at(tmp_path / "store").database.check()


def test_an_empty_store_with_folders_of_jobs_is_not_begun_anew(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store")
    (tmp_path / "store" / "jobs" / "17").mkdir()
    path.unlink()
    with pytest.raises(StorageDamaged, match=r"it is empty, but its jobs are on the disk.*spud restore FILE"):
        store_at(tmp_path / "store")


def test_an_empty_write_ahead_log_is_no_harm(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store", 3)
    path.with_name("spud.db-wal").touch()
    storage = store_at(tmp_path / "store")
    storage.database.check()
    assert len(storage.jobs.list()) == 3


def test_a_disk_that_became_read_only_is_one_sentence(small_disk: Path) -> None:
    with_jobs(small_disk / "store", 1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(Unavailable, match=r"Cannot write to .* the disk is not read-only"):
        store_at(small_disk / "store")


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    with_jobs(small_disk / "store", 1)
    storage = store_at(small_disk / "store")
    ada = storage.users.get("ada")
    acknowledged: list[int] = []

    def submit_for_ever() -> None:
        while True:
            acknowledged.append(storage.jobs.add(make_spec(name="x" * 60), ada, None, None).id)

    with pytest.raises(StorageFull, match="Free some space"):
        submit_for_ever()
    storage.database.check()
    assert storage.jobs.list(limit=1)[0].id == acknowledged[-1]


# Copies


def test_a_copy_is_whole_while_others_write(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store")
    storage = store_at(tmp_path / "store")
    ada = storage.users.get("ada")
    with storage.database.transaction() as connection:
        storage.jobs.add(make_spec(), ada, None, None)
        connection.execute("SELECT 1")
        copy_database(path, tmp_path / "copy.db")
    Database(tmp_path / "copy.db").check()
    assert len(rows_of(tmp_path / "copy.db")["job"]) == 200


def test_a_copy_waits_for_nobody(tmp_path: Path) -> None:
    path = with_jobs(tmp_path / "store")
    storage = store_at(tmp_path / "store")
    begin = time.monotonic()
    with storage.database.transaction():
        copy_database(path, tmp_path / "copy.db")
    assert time.monotonic() - begin < 5
