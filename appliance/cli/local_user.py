"""`spud user add --local`: the first user of a box, made in its store, before anyone can sign in."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.cli.sign_in import SignIn, read_sign_in, write_sign_in
from appliance.config import Settings, load_settings, split_address
from appliance.errors import ConfigError, Conflict
from appliance.storage import Storage, open_storage
from appliance.users.user import Role, User

_STORE_UMASK = 0o007  # the store is shared by the group of Spud's processes
_HOME_UMASK = 0o077


def ensure_user(name: str, role: str, sign_in_file: Path | None) -> dict[str, object]:
    """Make sure of a user, and of a valid sign-in in the file; tell in `changed` whether anything was done.

    Without a file the answer holds a new token. Raises Conflict when the user has another role.
    """
    settings = load_settings()
    with _as_owner_of(settings.store.directory):
        storage = open_storage(settings)
        found = storage.users.find(name)
        user = found or _add(storage, name, role)
        if user.role != role:
            raise Conflict(f"{name} is there already, with the role {user.role}. Add another name.")
        if sign_in_file is None:
            return {"name": name, "role": role, "token": _issue(storage, user), "changed": True}
    has_signed_in = _ensure_sign_in(storage, settings, user, sign_in_file)
    changed = found is None or has_signed_in
    return {"name": name, "role": role, "sign_in_file": str(sign_in_file), "changed": changed}


def box_url(settings: Settings) -> str:
    """Return the address at which the box reaches its own API."""
    host, port = split_address(settings.web.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _add(storage: Storage, name: str, role: str) -> User:
    with storage.database.transaction():
        user = storage.users.add(name, Role(role))
        storage.audit.record(_actor(), "user.add", name, f"role {role}")
    return user


def _issue(storage: Storage, user: User) -> str:
    with storage.database.transaction():
        token = storage.users.issue_token(user)
        storage.audit.record(_actor(), "token.issue", user.name)
    return token


def _actor() -> str:
    """Return the account of the box that acts, behind sudo the one that called it."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _ensure_sign_in(storage: Storage, settings: Settings, user: User, path: Path) -> bool:
    """Write the file unless it signs the user in already; tell whether it was written."""
    url = box_url(settings)
    with _as_owner_of(path, _HOME_UMASK):
        kept = _kept_token(path)
    with _as_owner_of(storage.directory):
        identity = storage.users.identify(kept.token) if kept else None
        is_valid = identity is not None and identity.user.id == user.id
        if kept and is_valid and kept.url == url:
            return False
        token = kept.token if kept and is_valid else _issue(storage, user)
    with _as_owner_of(path, _HOME_UMASK):
        write_sign_in(path, SignIn(url, token))
    return True


def _kept_token(path: Path) -> SignIn | None:
    try:
        return read_sign_in(path)
    except ConfigError:  # unusable, so it is written anew
        return None


@contextmanager
def _as_owner_of(path: Path, umask: int = _STORE_UMASK) -> Iterator[None]:
    """Let root act as the owner of the path, or of the folder that it will be made in.

    So the store's files belong to Spud, the sign-in to its user, and a link that the user has put in the
    way leads nowhere that the user could not go.
    """
    if os.geteuid() != 0:
        yield
        return
    status = next(place for place in (path, *path.absolute().parents) if place.exists()).stat()
    groups, mask = os.getgroups(), os.umask(umask)
    os.setgroups([])
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(mask)
