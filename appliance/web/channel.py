"""What waitress refuses by itself, before the application is called, in the form of our own refusals."""

from __future__ import annotations

import errno
import json

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import Error

from appliance.errors import InvalidRequest, SpudError, StorageFull, TooLarge
from appliance.web.refusals import InternalError

_FULL = "The box's disk is full. Free some space, then submit again."
_TOO_LARGE = "The request is too large. Leave data out with a .spudignore file, or mount it with --data."
_LONG_HEADERS = "The headers of the request are too large. Send a shorter address and fewer cookies."
_WRONG = "Something went wrong inside Spud. The log of spud web has the details."


class Refusal(Error):  # type: ignore[misc]  # waitress has no types
    """A SpudError as waitress answers it."""

    def __init__(self, error: SpudError, status: str) -> None:
        super().__init__(error.message)
        self._error = error
        self._status = status

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:  # noqa: ARG002
        """Return status, headers and body, as the API's errors are."""
        body = {"error": {"code": self._error.code, "message": self._error.message}}
        return self._status, [("Content-Type", "application/json")], json.dumps(body).encode()


class RefusalTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers what waitress refuses, in our words instead of its own."""

    def execute(self) -> None:
        """Send the refusal; the connection is closed then."""
        self.request.error = _in_our_words(self.request.error)
        super().execute()


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
            self.error = Refusal(StorageFull(_FULL), "507 Insufficient Storage")
            self.body_rcv.buf = Sink()
            return int(super().received(data))


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection whose requests are taken in by RequestParser."""

    parser_class = RequestParser
    error_task_class = RefusalTask


def _in_our_words(error: Error) -> Refusal:
    if isinstance(error, Refusal):
        return error
    status = f"{error.code} {error.reason}"
    if error.code == TooLarge.status:
        return Refusal(TooLarge(_TOO_LARGE), status)
    if error.code == 431:
        return Refusal(InvalidRequest(_LONG_HEADERS), status)
    if error.code == InternalError.status:
        return Refusal(InternalError(_WRONG), status)
    return Refusal(
        InvalidRequest(f"The request cannot be read: {str(error.body)[:200].rstrip('.')}."), status
    )
