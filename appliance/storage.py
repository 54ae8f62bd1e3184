"""The store's folder and everything in it, opened from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings
from appliance.database import Database
from appliance.errors import Unavailable
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Attempt
from appliance.jobs.snapshot import SnapshotStore
from appliance.jobs.store import JobStore
from appliance.users.store import UserStore


@dataclass(frozen=True, slots=True)
class Storage:
    """What Spud must not lose."""

    directory: Path
    jobs: JobStore
    users: UserStore
    snapshots: SnapshotStore

    def job_directory(self, attempt: Attempt) -> JobDirectory:
        """Return the folders of an attempt."""
        return JobDirectory.of(self.directory, attempt.job_id, attempt.number)


def open_storage(settings: Settings) -> Storage:
    """Open the store, creating folder and schema where they are missing; raises Unavailable."""
    directory = settings.store.directory
    snapshots = directory / "snapshots"
    try:
        (directory / "jobs").mkdir(parents=True, exist_ok=True)
        snapshots.mkdir(exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"Cannot use {directory} as the store: {error.strerror}."
            " Set [store] directory to a folder that this user may write to."
        ) from None
    database = Database(directory / "spud.db")
    return Storage(
        directory, JobStore(database), UserStore(database), SnapshotStore(snapshots, settings.jobs)
    )
