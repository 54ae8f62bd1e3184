"""ApiClient: the only way from the commands to Spud."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from appliance import __version__
from appliance.cli.connection import route
from appliance.cli.events import Event, EventParser
from appliance.cli.sign_in import SignIn, load_sign_in
from appliance.errors import SpudError, TooLarge, Unavailable

_TIMEOUT_S = 60.0
_UPLOAD_TIMEOUT_S = 600.0  # the box unpacks and checks a large upload before it answers
_STREAM_TIMEOUT_S = 30.0  # the stream has a heartbeat every 10 s
_RECONNECT_FOR_S = 180.0
_RECONNECT_EVERY_S = 1.0
_CHUNK_BYTES = 262_144

Job = dict[str, Any]
Query = Mapping[str, str | int | Sequence[str] | None]
Progress = Callable[[int], None]
"""Called with the number of bytes that have just been moved."""

_ERRORS = {error.status: error for error in SpudError.__subclasses__() if error.status != SpudError.status}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where code comes from: the commit, and what git diff says of changes that are not in it."""

    commit: str | None = None
    diff: bytes = b""


class ApiClient:
    """Spud's API as one user sees it.

    Every method raises SpudError with the API's own sentence; Unavailable when nobody answers.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self.url = sign_in.url
        self._token = sign_in.token

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON at a path of /api/v1."""
        return self._json("GET", _with_query(path, query))

    def post(self, path: str, values: Mapping[str, object] | None = None) -> Any:
        """Send JSON and return the answer's."""
        body = json.dumps(values or {}).encode()
        return self._json("POST", path, body, {"Content-Type": "application/json"})

    def put(self, path: str, values: Mapping[str, object]) -> Any:
        """Put JSON at the path and return the answer's."""
        return self._json("PUT", path, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def patch(self, path: str, values: Mapping[str, object]) -> Any:
        """Change what is at the path and return the answer's JSON."""
        return self._json("PATCH", path, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def delete(self, path: str) -> Any:
        """Delete what is at the path and return the answer's JSON."""
        return self._json("DELETE", path)

    def submit(self, spec: Mapping[str, object], code: BinaryIO, origin: Origin, progress: Progress) -> Job:
        """Send a job with its code, a .tar.gz file open for reading; return the job as recorded."""
        fields = {"spec": json.dumps(spec)} | ({"git_commit": origin.commit} if origin.commit else {})
        boundary = f"spud-{os.urandom(16).hex()}"
        head, tail = _multipart(fields, origin.diff, boundary)
        length = len(head) + _length(code) + len(tail)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length),
        }
        body = _pieces(head, code, tail, progress)
        job: Job = self._json("POST", "/jobs", body, headers, _UPLOAD_TIMEOUT_S)
        return job

    def read(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """Yield the bytes at a path, as they come."""
        with self._open("GET", _with_query(path, query)) as response:
            while piece := response.read1(_CHUNK_BYTES):
                yield piece

    def stream(self, path: str, query: Query, on_trouble: Callable[[str], None]) -> Iterator[Event]:
        """Yield the events at a path up to and including `end`.

        A lost connection is taken up again where it broke off, for three minutes; `on_trouble` gets a
        sentence when it is lost and when it is back. Raises Unavailable after that.
        """
        position = ""
        lost_at: float | None = None
        while True:
            try:
                for event in self._events(path, query, position):
                    if lost_at is not None:
                        on_trouble("Spud answers again.")
                    lost_at = None
                    position = event.id or position
                    yield event
                    if event.kind == "end":
                        return
                reason = f"The connection to {self.url} broke off."
            except Unavailable as error:
                reason = error.message
            if lost_at is None:
                lost_at = time.monotonic()
                on_trouble(f"{reason} Trying again.")
            if time.monotonic() - lost_at > _RECONNECT_FOR_S:
                raise Unavailable(reason)
            time.sleep(_RECONNECT_EVERY_S)

    def _events(self, path: str, query: Query, position: str) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": position} if position else {})
        parser = EventParser()
        with self._open("GET", _with_query(path, query), None, headers, _STREAM_TIMEOUT_S) as response:
            while piece := response.read1(_CHUNK_BYTES):
                yield from parser.feed(piece)

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Any:
        with self._open(method, path, body, headers, timeout_s) as response:
            return self._decode(response.read())

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Iterator[HTTPResponse]:
        """Send a request and yield the answer, once its head has come and tells of success."""
        way = route(self.url, timeout_s)
        sent = {
            "Authorization": f"Bearer {self._token}",
            "User-Agent": f"spud/{__version__}",
            **way.headers,
            **(headers or {}),
        }
        try:
            _send(way.connection, method, f"{way.prefix}/api/v1{path}", body, sent)
            response = way.connection.getresponse()
            if response.status >= 300:
                raise self._error(response)
            yield response
        except ConnectionRefusedError:
            raise Unavailable(f"Spud does not answer at {self.url}. Start it with: spud up") from None
        except TimeoutError:
            raise Unavailable(f"Spud at {self.url} took too long to answer. Try again.") from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"Cannot talk to Spud at {self.url}: {_reason(error)}.") from None
        finally:
            way.connection.close()

    def _error(self, response: HTTPResponse) -> SpudError:
        """Return the API's error, or one that tells what else has answered."""
        kind = _ERRORS.get(response.status, Unavailable if response.status >= 502 else SpudError)
        try:
            return kind(json.loads(response.read())["error"]["message"])
        except (ValueError, KeyError, TypeError):
            if kind is TooLarge:  # the server's, which reads no more of what is far too large
                return kind(
                    f"The code is larger than {self.url} takes."
                    " Leave data out with a .spudignore file, or mount it with --data."
                )
            return kind(
                f"{self.url} answered {response.status} {response.reason}, which is not Spud's own answer."
                " Check SPUD_URL and the proxy."
            )

    def _decode(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise SpudError(f"{self.url} is not Spud's API. Check SPUD_URL.") from None


def connect() -> ApiClient:
    """Return the API as the signed-in user sees it; raises SignInRequired, ConfigError."""
    return ApiClient(load_sign_in())


def path_of(*parts: str | int) -> str:
    """Return an API path of parts that may hold any character; slashes within a part stay."""
    return "".join(f"/{quote(str(part))}" for part in parts)


def _with_query(path: str, query: Query | None) -> str:
    values = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(values, doseq=True)}" if values else path


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None,
    headers: Mapping[str, str],
) -> None:
    try:
        connection.request(method, path, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        # The box refuses an upload before its end, such as one too large; its answer can be read still.
        if connection.sock is None:
            raise ConnectionResetError("the connection was closed") from None


def _multipart(fields: Mapping[str, str], diff: bytes, boundary: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the code in a multipart/form-data body (RFC 7578)."""
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ).encode()
    if diff:
        head += _file_head(boundary, "git_diff", "git.diff", "text/x-diff") + diff + b"\r\n"
    head += _file_head(boundary, "code", "code.tar.gz", "application/gzip")
    return head, f"\r\n--{boundary}--\r\n".encode()


def _file_head(boundary: str, name: str, file: str, kind: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{file}"'
    return f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n".encode()


def _length(file: BinaryIO) -> int:
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length


def _pieces(head: bytes, code: BinaryIO, tail: bytes, progress: Progress) -> Iterator[bytes]:
    yield head
    while piece := code.read(_CHUNK_BYTES):
        yield piece
        progress(len(piece))
    yield tail


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
