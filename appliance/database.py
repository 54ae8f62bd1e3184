"""The one SQLite file that holds everything Spud must not lose, and the only import of sqlite3.

The processes meet here: WAL lets them read while one writes, synchronous=FULL means that a committed
row survives a power cut. The SQL of each noun stands in its own store module.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from appliance.errors import SpudError, StorageFull, Unavailable

logger = logging.getLogger(__name__)

Row = sqlite3.Row
Connection = sqlite3.Connection
UniqueViolation = sqlite3.IntegrityError

Values = Sequence[Any] | Mapping[str, Any]

_BUSY_TIMEOUT_S = 10.0


class Database:
    """Connections to one SQLite file, one per thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one write transaction: all of it is kept, or nothing.

        A block inside another one of the same thread is a part of that. Raises StorageFull when the disk is
        full, Unavailable when another process holds the lock for longer than 10 s.
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
            if isinstance(error, sqlite3.OperationalError):
                raise _explain(error, self.path) from error
            raise

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """Return what a query finds."""
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            raise _explain(error, self.path) from error

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """Return the first row that a query finds."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def version(self) -> int:
        """Return a number that changes when another connection has committed a change."""
        return int(self.rows("PRAGMA data_version")[0][0])

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
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.path) from error
        return connection

    def _migrate(self) -> None:
        """Bring the schema to the newest version; each step is one transaction."""
        for number, script in _migrations():
            with self.transaction() as connection:
                current = connection.execute("PRAGMA user_version").fetchone()[0]
                if current >= number:
                    continue
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number:d}")
            logger.info("Migrated %s to schema %d", self.path, number)


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
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _explain(error: sqlite3.DatabaseError, path: Path) -> SpudError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StorageFull(f"The disk that holds {path} is full. Free some space and try again.")
    if name.startswith("SQLITE_BUSY"):
        return Unavailable(f"{path} is locked by another process. Try again in a moment.")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return Unavailable(
            f"Cannot open {path}. Check that its folder exists and that this user may write there."
        )
    return Unavailable(f"The store {path} cannot be used: {error}.")
