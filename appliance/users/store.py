"""The SQL of users and tokens."""

from __future__ import annotations

import pwd
import time

from appliance.database import Database, Row, UniqueViolation
from appliance.errors import Conflict, NotFound
from appliance.users.user import Identity, Role, User, check_name, new_token, token_hash

FIRST_UID = 1_900_000_000
"""Where the uids of users without a Unix account begin: in the range that nobody hands out, not even as
subordinate uids (systemd, "Users, Groups, UIDs and GIDs": 1879048192 to 2147483647 is unused)."""

_VALID_TOKENS = (
    "SELECT user.*, token.id AS token_id FROM token JOIN user ON user.id = token.user_id"
    " WHERE token.revoked_at IS NULL"
)


class UserStore:
    """Users and tokens in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: Role) -> User:
        """Create a user; raise Conflict when the name is taken."""
        check_name(name)
        account = _account(name)
        try:
            with self._database.transaction() as connection:
                row_id = connection.execute(
                    "INSERT INTO user (name, role, uid, gid, created_at) VALUES (?, ?, 0, 0, ?)",
                    (name, role, time.time()),
                ).lastrowid
                uid, gid = account or (FIRST_UID + int(row_id or 0),) * 2
                connection.execute("UPDATE user SET uid = ?, gid = ? WHERE id = ?", (uid, gid, row_id))
        except UniqueViolation:
            raise Conflict(
                f"There is a user {name} already. Give them a new token with: spud user token {name}"
            ) from None
        return self.get(name)

    def get(self, name: str) -> User:
        """Return the user; raise NotFound."""
        row = self._database.row("SELECT * FROM user WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"No user {name}. List users with: spud user list")
        return _user(row)

    def find(self, name: str) -> User | None:
        """Return the user, or None when there is none of this name."""
        row = self._database.row("SELECT * FROM user WHERE name = ?", (name,))
        return _user(row) if row else None

    def list(self) -> tuple[tuple[User, int], ...]:
        """Return every user with the number of valid tokens, in order of name."""
        rows = self._database.rows(
            "SELECT user.*, COUNT(token.id) AS tokens FROM user"
            " LEFT JOIN token ON token.user_id = user.id AND token.revoked_at IS NULL"
            " GROUP BY user.id ORDER BY user.name"
        )
        return tuple((_user(row), row["tokens"]) for row in rows)

    def issue_token(self, user: User) -> str:
        """Return a new token; only its hash is kept, so this is the one time it can be shown."""
        token = new_token()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO token (user_id, hash, created_at) VALUES (?, ?, ?)",
                (user.id, token_hash(token), time.time()),
            )
        return token

    def revoke_tokens(self, user: User) -> int:
        """Make every token of the user invalid; return how many were valid until now."""
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE token SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL",
                (time.time(), user.id),
            ).rowcount

    def identify(self, token: str) -> Identity | None:
        """Return whose token it is, or None when it is unknown or revoked."""
        return _identity(self._database.row(_VALID_TOKENS + " AND token.hash = ?", (token_hash(token),)))

    def identify_session(self, token_id: int) -> Identity | None:
        """Return who signed in with that token, or None when it was revoked since."""
        return _identity(self._database.row(_VALID_TOKENS + " AND token.id = ?", (token_id,)))


def _identity(row: Row | None) -> Identity | None:
    return Identity(_user(row), row["token_id"]) if row else None


def _account(name: str) -> tuple[int, int] | None:
    """Return uid and gid of the box's own account of that name, unless it is root or a system account."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return (entry.pw_uid, entry.pw_gid) if entry.pw_uid >= 1000 else None


def _user(row: Row) -> User:
    return User(row["id"], row["name"], Role(row["role"]), row["uid"], row["gid"], row["created_at"])
