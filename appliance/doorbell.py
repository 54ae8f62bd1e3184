"""The scheduler's doorbell: whoever has changed the store rings it, so that nobody looks all the time.

It is a datagram socket in the store's folder. A ring that nobody hears is lost, and that is fine: the
scheduler looks at the store by itself as well, only later.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

_NAME = "scheduler.sock"
_MODE = 0o660


class Doorbell:
    """Rings, and hears who rings, at one store."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._listener: socket.socket | None = None

    def ring(self) -> None:
        """Let the scheduler look now, if there is one; never waits."""
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
            self._address() as address,
        ):
            sender.sendto(b"", address)

    def listen(self) -> None:
        """Begin to hear; only the holder of the scheduler's lock may. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with self._address() as address:
            Path(address).unlink(missing_ok=True)
            listener.bind(address)
            Path(address).chmod(_MODE)
        self._listener = listener

    def wait(self, timeout_s: float) -> bool:
        """Return whether somebody has rung, at the latest after the time; rings until then count as one."""
        if self._listener is None:
            raise RuntimeError("listen first")
        heard, _, _ = select.select([self._listener], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while heard:
                self._listener.recv(1)
        return bool(heard)

    @contextlib.contextmanager
    def _address(self) -> Iterator[str]:
        """Yield a short path of the socket: the kernel takes no more than 107 characters (unix(7))."""
        folder = os.open(self._directory, os.O_PATH)
        try:
            yield f"/proc/self/fd/{folder}/{_NAME}"
        finally:
            os.close(folder)
