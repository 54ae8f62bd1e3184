"""How an error is answered: one sentence, as JSON for programs and as a page for people."""

from __future__ import annotations

import errno
import logging

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from appliance.errors import InvalidRequest, NotFound, SpudError, StorageFull, TooLarge
from appliance.web.access import wants_json

logger = logging.getLogger(__name__)

_MIB = 1024**2


class MethodRefused(SpudError):
    """The path exists and cannot be used this way."""

    status = 405
    code = "method_not_allowed"


class InternalError(SpudError):
    """A mistake of Spud's own."""

    code = "internal_error"


def install(app: Flask) -> None:
    """Answer every error of the app."""
    app.register_error_handler(SpudError, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(OSError, _answer_os)
    app.register_error_handler(RecursionError, _answer_recursion)
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: SpudError) -> Response:
    """Return the response that tells an error."""
    if wants_json(request):
        body = jsonify(error={"code": error.code, "message": error.message})
        response = make_response(body, error.status)
    else:
        page = render_template("error.html", error=error, identity=getattr(g, "identity", None))
        response = make_response(page, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="spud"'
    if error.status in (429, 503):
        response.headers["Retry-After"] = "10"
    return response


def _answer_http(error: HTTPException) -> Response:
    response = answer(_explain(error))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _explain(error: HTTPException) -> SpudError:
    if error.code == 404:
        return NotFound(f"There is nothing at {request.path[:200]}. The API is told at /api/v1/openapi.json.")
    if error.code == 405:
        return MethodRefused(f"{request.method} is not possible at {request.path[:200]}.")
    if error.code == 413:
        limit = (request.max_content_length or _MIB) // _MIB
        return TooLarge(
            f"The request is too large: {max(1, limit)} MiB in all and 1 MiB beside the files are allowed."
            " Mount data with --data instead."
        )
    if error.code and error.code >= 500:
        return InternalError("Something went wrong inside Spud. The log of spud web has the details.")
    return InvalidRequest(f"The request cannot be read: {(error.description or error.name).rstrip('.')}.")


def _answer_os(error: OSError) -> Response:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return answer(StorageFull("The box's disk is full. Free some space, then try again."))
    return _answer_unexpected(error)


def _answer_recursion(_error: RecursionError) -> Response:
    return answer(InvalidRequest("The JSON of the request is nested too deeply to be read."))


def _answer_unexpected(error: Exception) -> Response:
    logger.error("Failed to answer %s %s", request.method, request.path, exc_info=error)
    return answer(InternalError("Something went wrong inside Spud. The log of spud web has the details."))
