"""Supervisor: keeps the processes of `spud up` alive, passes on what they print, ends them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import IO

from appliance.cli.output import note
from appliance.cli.processes import Process
from appliance.errors import SpudError

_POLL_S = 0.1
_SETTLED_AFTER_S = 20.0  # who ends by itself before, at the first start, cannot start at all
_CALM_AFTER_S = 60.0  # who ran this long is restarted without delay
_LONGEST_DELAY_S = 30.0
_STOP_GRACE_S = 15.0
_UMASK = 0o007  # the processes share their files by group; nobody else reads them
_STOP_ORDER = ("web", "scheduler", "exporter")  # first nothing new comes in
_ERROR = b"Error: "

Write = Callable[[str, bytes], None]
"""Takes the name of a process and a line that it has printed."""


class Child:
    """One process, started again as often as need be."""

    def __init__(self, process: Process, write: Write) -> None:
        self.name = process.name
        self._process = process
        self._write = write
        self._error = ""
        self._starts = 0
        self._failures = 0
        self._restart_at: float | None = None
        self._popen, self._reader = self._start()

    def look(self) -> None:
        """Start the process again when it has died; raises SpudError when it could not start at all."""
        if self._popen.poll() is None:
            return
        now = time.monotonic()
        if self._restart_at is None:
            self._note_death(now - self._started_at)
            self._restart_at = now + restart_delay_s(self._failures)
        elif now >= self._restart_at:
            self._restart_at = None
            self._popen, self._reader = self._start()

    def stop(self) -> None:
        """End the process with SIGTERM, or SIGKILL when it does not listen."""
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join(1.0)

    def _start(self) -> tuple[subprocess.Popen[bytes], threading.Thread]:
        try:
            popen = subprocess.Popen(
                self._process.command_line(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._process.environment(os.environ) | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is for us; we end the others in order
                umask=_UMASK,
            )
        except OSError as error:
            raise SpudError(f"Cannot start {self.name}: {error.filename}: {error.strerror}.") from None
        self._started_at = time.monotonic()
        self._starts += 1
        reader = threading.Thread(target=self._pass_on, args=(popen.stdout,), daemon=True)
        reader.start()
        return popen, reader

    def _pass_on(self, output: IO[bytes]) -> None:
        for line in output:
            if line.startswith(_ERROR):
                self._error = line.removeprefix(_ERROR).decode("utf-8", "replace").rstrip()
            # A log disk that is full must not stop the process behind the pipe.
            with suppress(OSError):
                self._write(self.name, line)

    def _note_death(self, ran_s: float) -> None:
        self._reader.join(1.0)
        code = self._popen.returncode
        if self._starts == 1 and code > 0 and ran_s < _SETTLED_AFTER_S:
            raise SpudError(self._error or f"spud {self.name} ended at once with exit code {code}.")
        self._failures = 0 if ran_s > _CALM_AFTER_S else self._failures + 1
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        note(f"spud {self.name} {how}; starting it again in {restart_delay_s(self._failures):g} s")


def restart_delay_s(failures: int) -> float:
    """Return how long to wait before a restart: at first not at all, then 1, 2, 4 … up to 30 s."""
    return min(_LONGEST_DELAY_S, 2.0 ** (failures - 2)) if failures > 1 else 0.0


def supervise(processes: Sequence[Process], write: Write) -> None:
    """Run the processes until SIGTERM or SIGINT; raises SpudError, all ended, when one cannot start."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    children: dict[str, Child] = {}
    try:
        for process in processes:
            children[process.name] = Child(process, write)
        while not stopping.wait(_POLL_S):
            for child in children.values():
                child.look()
    finally:
        for name in _STOP_ORDER:
            if name in children:
                children[name].stop()
