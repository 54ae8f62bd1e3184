"""The one SQLite file that holds everything Spud must not lose, and the only import of sqlite3.

The processes meet here: WAL lets them read while one writes, synchronous=FULL means that a committed
row survives a power cut. The SQL of each noun stands in its own store module.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeGuard

from appliance.errors import SpudError, StorageDamaged, StorageFull, Unavailable

logger = logging.getLogger(__name__)

Row = sqlite3.Row
Connection = sqlite3.Connection
UniqueViolation = sqlite3.IntegrityError

Values = Sequence[Any] | Mapping[str, Any]

_BUSY_TIMEOUT_S = 10.0
_DEAD_MAN_SWITCH = 128
"""The byte of the -shm file that every connection in WAL mode keeps locked (UNIX_SHM_DMS, os_unix.c)."""
_FLOCK = "hhqqi4x"
"""struct flock on 64-bit Linux, see fcntl(2)."""


class Database:
    """Connections to one SQLite file, one per thread.

    Opening brings the schema to the newest version; the file as it was before stays beside it as
    `<name>.before-<version>`. Raises StorageDamaged for a file that cannot be read, and for an empty one when
    `was_filled` says that there must be more; Unavailable for one that a newer Spud has written. `on_commit`
    is called after every change that this process makes.
    """

    def __init__(
        self, path: Path, *, was_filled: bool = False, on_commit: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self._on_commit = on_commit
        self._local = threading.local()
        self._migrate(was_filled)

    @contextmanager
    def transaction(self, *, is_news: bool = True) -> Iterator[Connection]:
        """Run a block as one write transaction: all of it is kept, or nothing.

        `on_commit` is called afterwards, unless it is no news to anybody. A block inside another one of the
        same thread is a part of that. Raises StorageFull when the disk is full, Unavailable when another
        process holds the lock for longer than 10 s.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if _is_of_the_file(error):
                raise _explain(error, self.path) from error
            raise
        if is_news:
            self._on_commit()
        if getattr(self._local, "empties_log", False):
            self.empty_log()

    def empty_log(self) -> None:
        """Leave nothing in the write-ahead log, which keeps what was overwritten; in a transaction, after it.

        A log that another process reads at this moment stays, and is reused soon.
        """
        connection = self._connection()
        self._local.empties_log = connection.in_transaction
        if not connection.in_transaction:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """Return what a query finds."""
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not _is_of_the_file(error):
                raise
            raise _explain(error, self.path) from error

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """Return the first row that a query finds."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def version(self) -> int:
        """Return a number that changes when another connection has committed a change."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def check(self) -> None:
        """Read all of the file and raise StorageDamaged unless it is whole."""
        found = [row[0] for row in self.rows("PRAGMA quick_check(3)")]
        if found != ["ok"]:
            raise _damaged(self.path, str(found[0]).splitlines()[-1])
        if orphan := self.row("PRAGMA foreign_key_check"):
            raise _damaged(self.path, f"a row of {orphan[0]} belongs to a row of {orphan[2]} that is missing")

    def close(self) -> None:
        """Close this thread's connection; the last one to close leaves the file without side files."""
        if connection := getattr(self._local, "connection", None):
            self._local.connection = None
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")  # a removed secret is gone from the file too
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.path) from error
        return connection

    def _migrate(self, was_filled: bool) -> None:  # noqa: FBT001  from a keyword
        """Bring the schema to the newest version; each step is one transaction."""
        self._check_version(was_filled)
        is_new = self._schema() == 0
        for number, script in _migrations():
            with self.transaction() as connection:
                current = self._schema()
                if current >= number:
                    continue
                if not is_new:
                    self.check()
                    _keep_copy(self.path, current)
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number:d}")
            logger.info("Migrated %s to schema %d", self.path, number)

    def _check_version(self, was_filled: bool) -> None:  # noqa: FBT001  from a keyword
        schema = self._schema()
        if schema > newest_schema():
            raise Unavailable(
                f"{self.path} is of a newer Spud (schema {schema}; this one knows {newest_schema()})."
                " Install that Spud again, or restore a backup that this one has made: spud restore FILE"
            )
        if schema == 0 and was_filled:
            raise _damaged(self.path, "it is empty, but its jobs are on the disk")

    def _schema(self) -> int:
        return int(self.rows("PRAGMA user_version")[0][0])


def newest_schema() -> int:
    """Return the version of the schema that this Spud works with."""
    return _migrations()[-1][0]


def schema_of(path: Path) -> int:
    """Return the version of a database's schema, and leave the file as it is; raises StorageDamaged."""
    try:
        with closing(_open(path, "ro")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise _explain(error, path) from error


def process_using(path: Path) -> int | None:
    """Return the id of a process that has the database open, other than this one; None when none has."""
    try:
        with path.with_name(f"{path.name}-shm").open("r+b") as shared:
            lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _DEAD_MAN_SWITCH, 1, 0)
            found = struct.unpack(_FLOCK, fcntl.fcntl(shared, fcntl.F_GETLK, lock))
    except FileNotFoundError:
        return None
    return None if found[0] == fcntl.F_UNLCK else int(found[-1])


def copy_database(source: Path, target: Path) -> None:
    """Copy a database, as it is at one moment, into a new file of mode 0600, while others may write to it.

    The file appears under its name when it is whole and on the disk. Raises StorageFull, StorageDamaged or
    Unavailable.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy_pages(source, partial)
        _flush(partial)
        partial.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise Unavailable(f"Cannot write {target}: {error.strerror}. Choose another folder.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _copy_pages(source: Path, target: Path) -> None:
    try:
        with closing(_open(source, "rw")) as old, closing(_open(target, "rw")) as new:
            old.backup(new)
            # A copy is one file; in WAL it would leave two more beside it.
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        is_full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        raise _explain(error, target if is_full else source) from error


def _open(path: Path, mode: str) -> Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)


def _keep_copy(path: Path, schema: int) -> None:
    """Keep the database as it is before a migration, in place of the copy of the migration before."""
    kept = path.with_name(f"{path.name}.before-{schema}")
    copy_database(path, kept)
    for older in path.parent.glob(f"{path.name}.before-*"):
        if older != kept:
            older.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _migrations() -> list[tuple[int, str]]:
    folder = files("appliance") / "migrations"
    scripts = sorted(entry for entry in folder.iterdir() if entry.name.endswith(".sql"))  # type: ignore[type-var]
    return [(int(script.name[:4]), script.read_text()) for script in scripts]


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; executescript would commit the surrounding transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _switch_to_wal(connection: Connection) -> None:
    """Make it WAL; while another process does so for the first time, SQLite refuses without waiting."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _is_of_the_file(error: BaseException) -> TypeGuard[sqlite3.DatabaseError]:
    """Return whether the error tells of the file; its other kinds tell of a statement."""
    return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)


def _explain(error: sqlite3.DatabaseError, path: Path) -> SpudError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")):
        return _damaged(path, str(error))
    if name.startswith("SQLITE_FULL"):
        return StorageFull(f"The disk that holds {path} is full. Free some space and try again.")
    if name.startswith("SQLITE_BUSY"):
        return Unavailable(f"{path} is locked by another process. Try again in a moment.")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return Unavailable(
            f"Cannot write to {path}. Check that its folder exists, that the disk is not read-only and that"
            " this user may write there."
        )
    return Unavailable(f"The store {path} cannot be used: {error}.")


def _damaged(path: Path, what: str) -> StorageDamaged:
    return StorageDamaged(
        f"The store {path} is damaged: {what}."
        " Stop Spud and bring back a backup with: spud restore FILE --replace"
    )
