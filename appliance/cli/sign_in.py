"""Where Spud is and who the user is: SPUD_URL and SPUD_TOKEN, else ~/.config/spud/client.toml."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigError, SignInRequired

DEFAULT_URL = "http://127.0.0.1:8600"


@dataclass(frozen=True, slots=True)
class SignIn:
    """The address of a Spud and the token of a user there."""

    url: str
    token: str


def sign_in_path() -> Path:
    """Return where the user's sign-in is kept."""
    return Path("~/.config/spud/client.toml").expanduser()


def load_sign_in(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> SignIn:
    """Return the sign-in from the variables or the file; raises SignInRequired, ConfigError.

    The file's token goes to the file's address only: SPUD_URL alone must not carry it elsewhere.
    """
    source = path or sign_in_path()
    saved = read_sign_in(source)
    url = environ.get("SPUD_URL", "").rstrip("/") or (saved.url if saved else DEFAULT_URL)
    token = environ.get("SPUD_TOKEN", "").strip()
    if not token and saved and saved.url == url:
        token = saved.token
    if not token:
        raise SignInRequired(
            f"You are not signed in to {url}. Ask an administrator for a token (spud user token NAME),"
            f" then set SPUD_TOKEN or write it to {source}."
        )
    return SignIn(url, _check_token(token))


def read_sign_in(path: Path) -> SignIn | None:
    """Return the sign-in in a file, None when there is no file; raises ConfigError."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}. Correct it or remove it.") from None
    url, token = values.get("url", DEFAULT_URL), values.get("token", "")
    if not isinstance(url, str) or not isinstance(token, str):
        raise ConfigError(f"{path} must hold url and token as text in quotes.")
    return SignIn(url.rstrip("/"), token)


def write_sign_in(path: Path, sign_in: SignIn) -> None:
    """Write the file for its owner's eyes only; it is there in full or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f'url = "{sign_in.url}"\ntoken = "{sign_in.token}"\n')
    beside.replace(path)


def _check_token(token: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SignInRequired("The token holds characters that no token has. Copy it again.")
    return token
