"""The key that signs session cookies: one file in the store that only the web process reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from appliance.errors import Unavailable

FILE_NAME = "web.key"

_BYTES = 32


def load_or_create(path: Path) -> bytes:
    """Return the key, making it with mode 0600 on the first start; raises Unavailable."""
    try:
        if not path.exists():
            _create(path)
        key = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            f"Cannot use {path}, the key of the sessions: {error.strerror}."
            " Run spud web as the user that owns it, or remove it to sign everyone out."
        ) from None
    if len(key) < _BYTES:
        raise Unavailable(f"{path} is not a key. Remove it and start again; everyone signs in anew then.")
    return key


def _create(path: Path) -> None:
    """Write the key beside and link it, so that no process ever reads half a key."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first, and its key is the one
    finally:
        draft.unlink()
