"""The connection on which the engine sends a log.

HTTP/1.0, since the engine sends each line of a log as a chunk of its own to a client that can take chunks:
to read these costs more than all that is done with the lines.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from io import BufferedIOBase
from urllib.parse import quote, urlencode, urlsplit

_CONNECT_TIMEOUT_S = 60
SILENCE_S = 30.0
_PIECE_BYTES = 262_144
_LARGE_PIECE_BYTES = 16_384
_PAUSE_S = 0.0005
"""The engine writes each line by itself: a moment's wait lets many of them be read at once."""


class LogRefused(Exception):
    """The engine does not send the log; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Connection(HTTPConnection):
    """A connection of HTTP/1.0 to an engine at unix://PATH or tcp://HOST:PORT."""

    _http_vsn = 10
    _http_vsn_str = "HTTP/1.0"

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        super().__init__(
            self._address.hostname or "localhost", self._address.port, timeout=_CONNECT_TIMEOUT_S
        )

    def connect(self) -> None:
        if self._address.scheme in ("unix", "http+unix"):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(_CONNECT_TIMEOUT_S)
            self.sock.connect(self._address.path)
        else:
            super().connect()


def log_pieces(address: str, name: str, query: Mapping[str, str | int]) -> Iterator[bytes]:
    """Yield the log of a container in pieces, as soon as they come, and b"" when none has come for long.

    Raises LogRefused, and OSError or HTTPException when the engine cannot be reached.
    """
    with closing(_Connection(address)) as connection:
        connection.request("GET", f"/containers/{quote(name, safe='')}/logs?{urlencode(query)}")
        stream = connection.sock  # the connection lets go of it, since it ends with the response
        response = connection.getresponse()
        if response.status != 200:
            raise LogRefused(response.status, response.read().decode(errors="replace"))
        with closing(response):
            yield from _pieces(stream, response.fp)


def _pieces(stream: socket.socket, buffered: BufferedIOBase) -> Iterator[bytes]:
    """Yield what comes until the engine closes the connection, and b"" for each time of silence."""
    stream.settimeout(0)
    while True:
        if piece := buffered.read1(_PIECE_BYTES):
            yield piece
            if len(piece) < _LARGE_PIECE_BYTES:
                time.sleep(_PAUSE_S)
        elif not select.select([stream], [], [], SILENCE_S)[0]:
            yield b""
        elif not stream.recv(1, socket.MSG_PEEK):
            return
