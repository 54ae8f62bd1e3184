"""The copy of a container's log: begun when it runs, done when it has ended and every line is written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from appliance.containers.engine import ContainerEngine
from appliance.executors.log_pump import LogPump
from appliance.executors.patience import RETRY_S, Patience
from appliance.users.masking import longest_form, masker

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 1.0


class LogCopy:
    """Copies the log of one container on a thread of its own; `on_end` is called when all of it is there."""

    def __init__(
        self,
        engine: ContainerEngine,
        name: str,
        log: Path,
        limit_bytes: int,
        secrets: Collection[str],
        on_end: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._name = name
        self._log = log
        self._limit_bytes = limit_bytes
        self._secrets = secrets
        self._on_end = on_end
        self._patiently = Patience(name)
        self._ended = threading.Event()

    @property
    def is_done(self) -> bool:
        """Whether the container has ended and its log is whole."""
        return self._ended.is_set()

    def begin(self) -> None:
        """Begin to copy."""
        threading.Thread(target=self._run, name=f"{self._name} log", daemon=True).start()

    def wait(self) -> None:
        """Wait until it is done."""
        self._ended.wait()

    def _run(self) -> None:
        while not self._copy_all():
            time.sleep(RETRY_S)
        self._ended.set()
        self._on_end()

    def _copy_all(self) -> bool:
        """Copy until the container has ended and all of it is written; return False when that failed."""
        try:
            pause_s = _FIRST_PAUSE_S
            secrets = self._secret_values()
            pump = LogPump(
                self._engine, self._name, self._log, self._limit_bytes, masker(secrets), longest_form(secrets)
            )
            self._patiently(pump.follow)
            while self._is_running():
                # A log that the engine cannot follow must not become a busy loop.
                time.sleep(pause_s)
                pause_s = min(4 * pause_s, _LONGEST_PAUSE_S)
                self._patiently(pump.follow)
            self._patiently(pump.finish)
        except Exception:
            logger.exception("The log of %s could not be written; trying again", self._name)
            return False
        return True

    def _secret_values(self) -> dict[str, str]:
        """Return the secrets as the container has them: the user may have changed them since."""
        if not self._secrets:
            return {}
        environment = self._patiently(lambda: self._engine.environment(self._name))
        return {name: environment[name] for name in self._secrets if name in environment}

    def _is_running(self) -> bool:
        container = self._patiently(lambda: self._engine.inspect(self._name))
        return container is not None and container.is_running
