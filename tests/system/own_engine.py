"""A Docker engine of the test's own, beside the machine's, to be killed at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.system.running_box import until


class OwnEngine:
    """dockerd with live-restore, on a socket and in folders of its own, without network."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        # A socket's path has at most 107 bytes.
        self._run = Path(tempfile.mkdtemp(prefix="spud-engine-", dir="/run"))
        self.socket = f"unix://{self._run}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            # In a network of its own: without a bridge, an engine would remove the machine's docker0.
            *("unshare", "--net", "dockerd"),
            f"--host={self.socket}",
            f"--data-root={self._folder}/data",
            f"--exec-root={self._run}/exec",
            f"--pidfile={self._run}/docker.pid",
            "--live-restore",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        log = (self._folder / "dockerd.log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self._docker("version", check=False).returncode == 0, "the engine answers")

    def kill(self) -> None:
        """SIGKILL to the engine; its containers and their shims live on.

        The engine's containerd dies with it, a moment later; an engine that starts in this moment takes
        it for alive and gives up after a minute.
        """
        assert self._process
        pid = self._containerd_pid()
        self._process.kill()
        self._process.wait()
        until(lambda: not Path(f"/proc/{pid}").exists(), "the engine's containerd has ended")

    def cut_power(self) -> None:
        """SIGKILL to the engine, its shims and all that runs in its containers, as when the power fails."""
        shims = _pids_of(f"{self._run}/exec")
        doomed = [pid for shim in shims for pid in _descendants(shim)]
        self.kill()
        for pid in [*shims, *doomed]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in doomed), "the containers have ended")

    def running(self) -> list[str]:
        """Return the names of the containers that run."""
        return self._docker("ps", "--format", "{{.Names}}").stdout.split()

    def run_beside(self, *words: str) -> None:
        """Run a command in the engine's network namespace."""
        assert self._process
        subprocess.run(["nsenter", "--target", str(self._process.pid), "--net", *words], check=True)

    def load(self, image: str) -> None:
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "--host", self.socket, "load"], stdin=saved.stdout, check=True, capture_output=True
            )

    def remove(self) -> None:
        names = self._docker("ps", "--all", "--quiet", check=False).stdout.split()
        if names:
            self._docker("rm", "--force", *names, check=False)
        assert self._process
        self._process.terminate()
        self._process.wait(30)
        # A killed engine leaves its folder mounted on itself, and its network namespace.
        for mounted in (f"{self._folder}/data", f"{self._run}/exec/netns/default"):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True)
        shutil.rmtree(self._run, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _containerd_pid(self) -> int:
        return int((self._run / "exec" / "containerd" / "containerd.pid").read_text())

    def _docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "--host", self.socket, *words], check=check, capture_output=True, text=True
        )


def _pids_of(exec_root: str) -> list[int]:
    """Return the containerd shims that serve the engine of that exec root."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"shim" in words[0] and any(word.startswith(exec_root.encode()) for word in words):
                found.append(int(path.parent.name))
    return found


def _descendants(pid: int) -> list[int]:
    """Return the process's children, their children and so on."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found
