"""What every view works with: the settings, the store and the little state of the web process itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

from flask import current_app

from appliance.config import Settings
from appliance.storage import Storage
from appliance.web.sign_in_limit import SignInLimit

_EXTENSION = "spud"
_THREADS_FOR_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, store, and the web process's own limits."""

    settings: Settings
    storage: Storage
    streams: threading.BoundedSemaphore
    """One permit for each log that may be followed at once; each of them holds a thread."""
    sign_ins: SignInLimit
    unknown_tokens: SignInLimit
    """How many wrong bearer tokens of one address get a line in the audit trail; all of them are refused."""
    stopping: threading.Event
    """Set when the process is about to end; followed logs end then."""

    @classmethod
    def of(cls, settings: Settings, storage: Storage) -> Services:
        """Return the services for these settings, with as many streams as leave threads for requests."""
        streams = max(1, settings.web.threads - _THREADS_FOR_REQUESTS)
        return cls(
            settings,
            storage,
            threading.BoundedSemaphore(streams),
            SignInLimit(),
            SignInLimit(),
            threading.Event(),
        )


def install(services: Services) -> None:
    """Make the services known to the current app."""
    current_app.extensions[_EXTENSION] = services


def services() -> Services:
    """Return the services of the current app."""
    return cast(Services, current_app.extensions[_EXTENSION])
