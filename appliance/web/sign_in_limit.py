"""How often an address may try tokens. A token has 256 random bits; the limit spares the log and the CPU."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from appliance.errors import SpudError

_WINDOW_S = 60.0
_FAILURES = 10
_ADDRESSES = 10_000


class TooManySignIns(SpudError):
    """An address has tried too many wrong tokens."""

    status = 429
    code = "too_many_sign_ins"


class SignInLimit:
    """Counts failed sign-ins: ten a minute from one address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raise TooManySignIns when the address has to wait."""
        with self._lock:
            if len(self._recent(address)) >= _FAILURES:
                raise TooManySignIns("Too many wrong tokens from this address. Wait a minute and try again.")

    def is_over(self, address: str) -> bool:
        """Return whether the address has reached its limit."""
        with self._lock:
            return len(self._recent(address)) >= _FAILURES

    def record_failure(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            if len(self._failures) >= _ADDRESSES:
                self._failures.clear()
            self._failures.setdefault(address, deque(maxlen=_FAILURES)).append(self._clock())

    def _recent(self, address: str) -> list[float]:
        return [at for at in self._failures.get(address, ()) if self._clock() - at < _WINDOW_S]
