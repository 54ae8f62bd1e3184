"""The processes that `spud up` runs, and as whom. Pure but for the look at the box's accounts."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings

_SCHEDULER_USER, _WEB_USER = "spud", "spud-web"
_CHOWN_ONLY = "-all,+chown"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of Spud. `account` is whom it becomes, None for whoever starts it."""

    name: str
    account: str | None = None
    has_groups: bool = False
    """Whether it keeps its account's groups, among them that of the engine's socket."""
    may_chown: bool = False
    """Whether it may give files away; it has no other right of root."""

    def command_line(self) -> list[str]:
        """Return the command; the process ends when `spud up` dies, however that happens."""
        return [
            "setpriv",
            "--pdeathsig=TERM",
            *self._privileges(),
            sys.executable,
            "-m",
            "appliance.cli",
            self.name,
        ]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables for the process: ours, but the home of its own account."""
        if self.account is None:
            return dict(environ)
        home = pwd.getpwnam(self.account).pw_dir
        return {**environ, "HOME": home, "USER": self.account, "LOGNAME": self.account}

    def _privileges(self) -> list[str]:
        if self.account is None:
            return []
        capabilities = _CHOWN_ONLY if self.may_chown else "-all"
        return [
            f"--reuid={self.account}",
            f"--regid={pwd.getpwnam(self.account).pw_gid}",
            "--init-groups" if self.has_groups else "--clear-groups",
            f"--inh-caps={capabilities}",
            f"--ambient-caps={capabilities}",
            f"--bounding-set={capabilities}",
            "--no-new-privs",
        ]


def processes(settings: Settings) -> tuple[Process, ...]:
    """Return the processes in the order in which they start.

    Started by root on a store that belongs to the account `spud`, each gets the account and the rights that
    its systemd unit would give it; otherwise all run as whoever starts them.
    """
    if not _has_accounts(settings.store.directory):
        return Process("scheduler"), Process("exporter"), Process("web")
    return (
        Process("scheduler", _SCHEDULER_USER, has_groups=True, may_chown=True),
        Process("exporter", _SCHEDULER_USER),
        Process("web", _WEB_USER),
    )


def _has_accounts(store: Path) -> bool:
    try:
        owner = pwd.getpwnam(_SCHEDULER_USER).pw_uid
        pwd.getpwnam(_WEB_USER)
    except KeyError:
        return False
    return os.geteuid() == 0 and store.exists() and store.stat().st_uid == owner
