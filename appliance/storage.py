"""The store's folder and everything in it, opened from the settings."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.audit import AuditLog
from appliance.config import Settings
from appliance.database import Database
from appliance.doorbell import Doorbell
from appliance.errors import Unavailable
from appliance.jobs.box_store import BoxStore
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Attempt
from appliance.jobs.lifecycle import Lifecycle
from appliance.jobs.snapshot import SnapshotStore
from appliance.jobs.store import JobStore
from appliance.users.secrets import SecretStore
from appliance.users.store import UserStore

RESTORING = ".restoring-"
"""How the folder's name begins that a restore fills in the store, until it puts the files in their place."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What Spud must not lose."""

    directory: Path
    doorbell: Doorbell
    database: Database
    jobs: JobStore
    lifecycle: Lifecycle
    box: BoxStore
    users: UserStore
    snapshots: SnapshotStore
    secrets: SecretStore
    audit: AuditLog

    def job_directory(self, attempt: Attempt) -> JobDirectory:
        """Return the folders of an attempt."""
        return JobDirectory.of(self.directory, attempt.job_id, attempt.number)


def open_storage(settings: Settings) -> Storage:
    """Open the store, creating folder and schema where they are missing; raises Unavailable.

    All of it is writable for the folder's group, since the processes run as different users of one group,
    whatever the umask of the one that comes first.
    """
    directory = settings.store.directory
    snapshots = directory / "snapshots"
    path = directory / "spud.db"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Owners pass through to their outputs and see nothing on the way.
        _make_folder(directory / "jobs", 0o2771)
        _make_file(directory / "scheduler.lock", 0o660)
        _make_folder(snapshots, 0o2770)
        _make_file(path, 0o660)
    except OSError as error:
        raise Unavailable(
            f"Cannot use {directory} as the store: {error.strerror}."
            " Set [store] directory to a folder that this user may write to."
        ) from None
    doorbell = Doorbell(directory)
    database = Database(path, was_filled=_has_jobs(directory), on_commit=doorbell.ring)
    return Storage(
        directory,
        doorbell,
        database,
        JobStore(database),
        Lifecycle(database),
        BoxStore(database),
        UserStore(database),
        SnapshotStore(snapshots, settings.jobs),
        SecretStore(database),
        AuditLog(database),
    )


def _has_jobs(directory: Path) -> bool:
    """Return whether jobs have left folders, or a restore was cut off: then there must be a database."""
    names = (path.name for path in (directory / "jobs").iterdir())
    return any(name.isdecimal() for name in names) or any(directory.glob(f"{RESTORING}*"))


def _make_folder(path: Path, mode: int) -> None:
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(mode)


def _make_file(path: Path, mode: int) -> None:
    with suppress(FileExistsError):
        path.touch(exist_ok=False)
        path.chmod(mode)
