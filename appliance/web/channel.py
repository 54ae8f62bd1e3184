"""What waitress refuses by itself, before the application is called, in the form of our own refusals."""

from __future__ import annotations

import errno
import json

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from appliance.errors import StorageFull

_FULL = "The box's disk is full. Free some space, then submit again."


class Refusal(Error):  # type: ignore[misc]  # waitress has no types
    """A SpudError as waitress answers it."""

    def __init__(self, error: StorageFull) -> None:
        super().__init__(error.message)
        self._error = error

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:  # noqa: ARG002
        """Return status, headers and body, as the API's errors are."""
        body = {"error": {"code": self._error.code, "message": self._error.message}}
        return (
            f"{self._error.status} Insufficient Storage",
            [("Content-Type", "application/json")],
            json.dumps(body).encode(),
        )


class Sink:
    """A buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        """Drop the data."""

    def close(self) -> None:
        """Do nothing; there is nothing to close."""


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Takes in a request; one that the disk has no room for is read to its end and answered with 507.

    Read to its end, since a sender who is cut off in the middle may never see the answer.
    """

    def received(self, data: bytes) -> int:
        """Take in the next bytes; return how many belong to this request."""
        try:
            return int(super().received(data))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.error = Refusal(StorageFull(_FULL))
            self.body_rcv.buf = Sink()
            return int(super().received(data))


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection whose requests are taken in by RequestParser."""

    parser_class = RequestParser
