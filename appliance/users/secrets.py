"""Secrets: values of a user's own that jobs get as environment variables, and the SQL of them."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from appliance.database import Database
from appliance.errors import InvalidRequest, NotFound

LARGEST_VALUE_BYTES = 32 * 1024
_MOST_SECRETS = 200
_MOST_BYTES = 64 * 1024
"""Of all secrets of a user: more of them would make the masking of a log slow."""
_MOST_LINES = 200

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_NOT_TO_BE_SET = re.compile(r"(?:SPUD_|NVIDIA_).*|CUDA_VISIBLE_DEVICES|HOME|USER|LOGNAME|PATH|LD_.*")
"""Variables that Spud sets itself, or that decide which program runs."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret without its value; `created_at` is when it was last set, in Unix seconds."""

    name: str
    created_at: float


class SecretStore:
    """The secrets of all users in the database. Their values leave it for job containers alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, owner_id: int, name: str, value: str) -> None:
        """Keep a value under a name, in the place of an earlier one; raises InvalidRequest."""
        check_name(name)
        check_value(value)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO secret (owner_id, name, value, created_at) VALUES (?, ?, ?, ?)",
                (owner_id, name, value, time.time()),
            )
            count, size_bytes = connection.execute(
                "SELECT COUNT(*), SUM(LENGTH(CAST(value AS BLOB))) FROM secret WHERE owner_id = ?",
                (owner_id,),
            ).fetchone()
            if count > _MOST_SECRETS or size_bytes > _MOST_BYTES:
                raise InvalidRequest(
                    f"Your secrets would be more than {_MOST_SECRETS},"
                    f" or more than {_MOST_BYTES // 1024} KiB in all."
                    " Remove one with: spud secret remove NAME"
                )
        self._database.empty_log()

    def list(self, owner_id: int) -> tuple[Secret, ...]:
        """Return the secrets of a user by name, without their values."""
        rows = self._database.rows(
            "SELECT name, created_at FROM secret WHERE owner_id = ? ORDER BY name", (owner_id,)
        )
        return tuple(Secret(row["name"], row["created_at"]) for row in rows)

    def remove(self, owner_id: int, name: str) -> None:
        """Remove a secret, its value from the file on the disk too; raises NotFound."""
        with self._database.transaction() as connection:
            removed = connection.execute(
                "DELETE FROM secret WHERE owner_id = ? AND name = ?", (owner_id, name)
            ).rowcount
        if removed == 0:
            raise _missing(name)
        self._database.empty_log()

    def check(self, owner_id: int, names: Collection[str]) -> None:
        """Raise NotFound for the first of the names that is not a secret of the user's."""
        known = {secret.name for secret in self.list(owner_id)}
        for name in names:
            if name not in known:
                raise _missing(name)

    def values(self, owner_id: int, names: Collection[str]) -> dict[str, str]:
        """Return the values of the named secrets; raises NotFound for the first that is missing."""
        self.check(owner_id, names)
        rows = self._database.rows("SELECT name, value FROM secret WHERE owner_id = ?", (owner_id,))
        found = {row["name"]: str(row["value"]) for row in rows}
        return {name: found[name] for name in names}


def check_name(name: str) -> str:
    """Return the name; raises InvalidRequest unless it can be the name of a job's variable."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:100]!r} cannot be the name of a secret. Use up to 100 letters, digits and underscores,"
            " no digit first, such as WANDB_API_KEY."
        )
    if _NOT_TO_BE_SET.fullmatch(name):
        raise InvalidRequest(f"{name} is a variable that is not a job's to set. Choose another name.")
    return name


def check_value(value: str) -> str:
    """Return the value; raises InvalidRequest, which does not tell it, for one that no variable can have."""
    if not value:
        raise InvalidRequest("The secret is empty. Give a value, or remove it with: spud secret remove NAME")
    if value.count("\n") >= _MOST_LINES:
        raise InvalidRequest(
            f"The secret has more than {_MOST_LINES} lines, which cannot all be masked in logs."
            " Encode it into one line, as with: base64 --wrap=0 FILE"
        )
    if "\0" in value:
        raise InvalidRequest("The secret has a NUL character, which no variable can have.")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("The secret holds a half of a character, which is no UTF-8 text.") from None
    if size_bytes > LARGEST_VALUE_BYTES:
        raise InvalidRequest(
            f"The secret is larger than {LARGEST_VALUE_BYTES // 1024} KiB. Mount large files with --data."
        )
    return value


def _missing(name: str) -> NotFound:
    return NotFound(f"You have no secret {name[:100]}. Set it with: spud secret set {name[:100]}")
