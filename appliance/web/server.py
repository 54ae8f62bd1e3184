"""`spud web`: the application behind waitress."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import tempfile
from types import FrameType

from flask import Flask
from waitress.server import create_server

from appliance.config import Settings, split_address
from appliance.errors import SpudError
from appliance.storage import open_storage
from appliance.web.app import create_app
from appliance.web.channel import Channel
from appliance.web.services import services

logger = logging.getLogger(__name__)

_IDLE_S = 60
_LARGEST_REQUEST = 2
"""How many times the largest allowed request waitress takes in, so that the sentence of our own refusal
reaches the sender of one that is somewhat too large; beyond that the connection is cut short."""


def run(settings: Settings) -> None:
    """Serve the pages and the API until SIGTERM; raises SpudError when the port is taken."""
    storage = open_storage(settings)
    storage.snapshots.remove_leftovers()
    # Uploads are spooled to nameless files on the disk whose free space is watched; /tmp may be memory.
    tempfile.tempdir = str(storage.directory / "snapshots")
    app = create_app(settings, storage)
    server = create_server(app, **_adjustments(settings, _bind(settings.web.listen)))
    server.channel_class = Channel
    _stop_on_sigterm(app)
    logger.info("Serving http://%s", settings.web.listen)
    server.run()


def _adjustments(settings: Settings, listener: socket.socket) -> dict[str, object]:
    threads = settings.web.threads
    return {
        "sockets": [listener],
        "threads": threads,
        "connection_limit": 8 * threads,
        "channel_timeout": _IDLE_S,
        "max_request_body_size": _LARGEST_REQUEST * settings.jobs.code_max_bytes + 1024**2,
        "max_request_header_size": 64 * 1024,
        # One request ahead is read, so that a listener who leaves is noticed while a log is streamed.
        "channel_request_lookahead": 1,
        # A proxy on the box itself may say that the browser came by https; nobody else is believed.
        "trusted_proxy": "127.0.0.1",
        "trusted_proxy_headers": _believed_headers(settings),
        "clear_untrusted_proxy_headers": True,
        "ident": None,
        "asyncore_use_poll": True,
    }


def _believed_headers(settings: Settings) -> str:
    return "x-forwarded-proto x-forwarded-for" if settings.web.trust_forwarded_for else "x-forwarded-proto"


def _bind(address: str) -> socket.socket:
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SpudError(_explain(error, host, port)) from None
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        why = f"Port {port} is taken by another program"
    else:
        why = f"Cannot listen on {host}:{port} ({error.strerror})"
    return f"{why}. Set another one as listen in [web] of the settings, or SPUD_WEB_LISTEN=HOST:PORT."


def _stop_on_sigterm(app: Flask) -> None:
    """End the followed logs at SIGTERM, so that the process need not wait for their listeners."""
    with app.app_context():
        stopping = services().stopping

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
