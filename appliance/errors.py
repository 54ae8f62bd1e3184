"""The errors of Spud: each message is one sentence for the user, with the next step."""

from __future__ import annotations

_LONGEST = 2000
_KEPT_BEHIND = 500


class SpudError(Exception):
    """An error whose message is meant for the user's eyes as it stands.

    What it quotes may come from strangers: it is made printable, so that no control code reaches a terminal
    and no line end breaks the one line, and what is endless loses its middle.
    """

    status = 500
    """The HTTP status under which the API reports it."""
    code = "error"
    """The stable word for programs in the API's JSON."""

    def __init__(self, message: str) -> None:
        self.message = _readable(message)
        super().__init__(self.message)


def _readable(message: str) -> str:
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST - _KEPT_BEHIND]} … {message[-_KEPT_BEHIND:]}"
    if message.isprintable():
        return message
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)


class ConfigError(SpudError):
    """A settings file or variable that cannot be used."""

    code = "config_error"


class InvalidRequest(SpudError):
    """The request itself is wrong; asking again the same way fails again."""

    status = 400
    code = "invalid_request"


class SignInRequired(SpudError):
    """No token, or one that is unknown or revoked."""

    status = 401
    code = "sign_in_required"


class AccessDenied(SpudError):
    """The user is known and may not do this."""

    status = 403
    code = "access_denied"


class NotFound(SpudError):
    """There is no such thing, or it is another user's."""

    status = 404
    code = "not_found"


class Conflict(SpudError):
    """The thing is in a state that does not allow this."""

    status = 409
    code = "conflict"


class TooLarge(SpudError):
    """An upload is over a limit."""

    status = 413
    code = "too_large"


class Unavailable(SpudError):
    """A part of Spud does not answer now; the same request may succeed later."""

    status = 503
    code = "unavailable"


class Gone(SpudError):
    """It was there, and was removed on purpose."""

    status = 410
    code = "gone"


class StorageDamaged(SpudError):
    """The store cannot be read, or lacks what it must have."""

    code = "storage_damaged"


class StorageFull(SpudError):
    """The disk has no room for what was sent."""

    status = 507
    code = "storage_full"
