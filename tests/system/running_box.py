"""A whole Spud, its three real processes on a store of its own, for tests to use as a user would."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appliance import failpoints as points
from appliance.config import load_settings
from appliance.storage import open_storage
from appliance.users.user import Role
from tests.system.guarded_network import forget

T = TypeVar("T")

SPUD = [sys.executable, "-m", "appliance.cli"]
ENGINE = "unix:///var/run/docker.sock"
PROCESSES = ("scheduler", "exporter", "web")


class RunningBox:
    """Spud on free ports. `environment` holds further SPUD_* settings."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.prefix = f"spud-test-{secrets.token_hex(4)}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SPUD_")},
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "SPUD_CONFIG": os.devnull,
            "SPUD_STORE_DIRECTORY": str(folder / "store"),
            "SPUD_DATA_DIRECTORY": str(folder / "data"),
            "SPUD_ENGINE_PREFIX": self.prefix,
            "SPUD_IMAGES_DEFAULT": "base",
            "SPUD_WEB_LISTEN": self.url.removeprefix("http://"),
            "SPUD_EXPORTER_LISTEN": f"127.0.0.1:{free_port()}",
            **environment,
        }
        self.storage = open_storage(load_settings(None, self._environment))
        self.token = self.add_user("ada", Role.ADMIN)

    def add_user(self, name: str, role: Role = Role.USER) -> str:
        return self.storage.users.issue_token(self.storage.users.add(name, role))

    def start(self, *names: str, failpoints: str = "", boot_id: Path | None = None) -> None:
        """Start processes; `failpoints` as in appliance.failpoints, `boot_id` a file that names the boot."""
        environment = {**self._environment, points.VARIABLE: failpoints}
        for name in names or PROCESSES:
            log = (self.folder / f"{name}.log").open("ab")
            self._processes[name] = subprocess.Popen(
                [*_in_boot(boot_id), *SPUD, name],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self.wait_until_ready()

    def wait_for_death(self, name: str, timeout_s: float = 30) -> None:
        """Wait until a process has died at its failpoint."""
        process = self._processes.pop(name)
        try:
            process.wait(timeout_s)
        finally:
            process.kill()

    def is_dead(self, name: str) -> bool:
        """Return whether a process has died by itself."""
        return self._processes[name].poll() is not None

    def kill(self, name: str) -> None:
        """End a process as a power cut would: with SIGKILL."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(15)
        self._remove_containers()

    def _remove_containers(self) -> None:
        forget(self.prefix, "docker", "--host", self._environment.get("SPUD_ENGINE_SOCKET", ENGINE))

    def wait_until_ready(self) -> None:
        if "web" in self._processes:
            until(lambda: self.spud("list", check=False).returncode == 0, "the page answers")
        if "scheduler" in self._processes:
            until(self.storage.box.box, "the scheduler has looked at the box")

    def spud(self, *words: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a signed-in user."""
        environment = {**self._environment, "SPUD_URL": self.url, "SPUD_TOKEN": self.token, **variables}
        done = subprocess.run(
            [*SPUD, *words], env=environment, cwd=self.home, capture_output=True, text=True, timeout=120
        )
        if check and done.returncode:
            raise AssertionError(f"spud {' '.join(words)} exited {done.returncode}: {done.stderr}")
        return done

    def submit(self, *words: str) -> int:
        """Submit and return the id of the job."""
        return int(json.loads(self.spud("submit", "--json", *words).stdout)["id"])

    def job(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.spud("show", str(job_id), "--json").stdout)
        return found

    def wait(self, job_id: int, state: str = "finished") -> dict[str, Any]:
        """Wait until the job is in that state and return it."""
        until(lambda: self.storage.jobs.get(job_id).state == state, f"job {job_id} is {state}")
        return self.job(job_id)

    def script(self, text: str, name: str = "train.py") -> str:
        """Write a script into a folder of its own and return its path."""
        folder = self.home / f"code-{len(list(self.home.glob('code-*')))}"
        folder.mkdir()
        (folder / name).write_text(text)
        return str(folder / name)


def _in_boot(boot_id: Path | None) -> list[str]:
    """Return the words before a command that let it see another boot id than the machine's."""
    if boot_id is None:
        return []
    bind = f'mount --bind {boot_id} /proc/sys/kernel/random/boot_id && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, "sh"]


def until(condition: Callable[[], T], what: str, timeout_s: float = 60) -> T:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(0.05)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
