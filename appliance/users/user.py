"""Who uses the box: users, roles and the tokens that prove them."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from appliance.errors import InvalidRequest

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_TOKEN_PREFIX = "spud_"  # noqa: S105  a prefix, so that scanners for leaked secrets can find tokens


class Role(StrEnum):
    """What a user may do: `user` sees and stops only own jobs, `admin` everything."""

    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True, slots=True)
class User:
    """A user of the box; `uid` and `gid` are those that the user's jobs run under and own files with."""

    id: int
    name: str
    role: Role
    uid: int
    gid: int
    created_at: float

    @property
    def is_admin(self) -> bool:
        """Whether the user may see and change what belongs to others."""
        return self.role is Role.ADMIN


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as proven by one token, which may be revoked while others stay valid."""

    user: User
    token_id: int


def check_name(name: str) -> str:
    """Return the name; raise InvalidRequest unless it could be a Unix account's."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be a user name. Use up to 32 of a-z, 0-9, dot, dash and underscore,"
            " beginning with a letter."
        )
    return name


def new_token() -> str:
    """Return a fresh token with 256 random bits."""
    return _TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return what is stored of a token. A plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
