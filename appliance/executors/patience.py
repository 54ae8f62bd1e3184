"""Patience with the engine: while it does not answer it is asked again, since its absence ends no job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from appliance.containers.engine import EngineUnavailable

logger = logging.getLogger(__name__)

RETRY_S = 0.5

T = TypeVar("T")


class Patience:
    """Asks the engine for one attempt until it answers."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, ask: Callable[[], T]) -> T:
        """Return what the engine answers, however long that takes."""
        while True:
            try:
                return ask()
            except EngineUnavailable as error:
                logger.warning("%s waits: %s", self._name, error.message)
                time.sleep(RETRY_S)
