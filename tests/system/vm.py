"""A whole machine under QEMU whose power can be cut, with a disk that then forgets what was not flushed.

The disk is nbdkit with its cache filter: what the machine writes stays in the cache, like the one in a real
drive, until the machine asks for a flush. Cutting the power kills the cache with it. Nothing of the machine's
is told: no signal, no sync, no unmount.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.system.box import ROOT
from tests.system.running_box import SPUD, free_port, until
from tests.system.vm_image import VmImage

# A boot under TCG takes a minute on two idle processors, and has been seen to take four on busy ones.
BOOT_S = 600
PATIENCE_S = 300
KERNEL_LINE = "root=/dev/vda rw console=ttyS0 panic=-1 quiet mitigations=off"


class VirtualMachine:
    """A machine with its own copy of the image's disk; `spud` is called from outside, as from a laptop."""

    def __init__(self, image: VmImage, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.token = ""
        self._image = image
        self._disk = folder / "disk.raw"
        self._processes: list[subprocess.Popen[bytes]] = []
        copy = ["cp", "--sparse=always", "--reflink=auto", str(image.disk), str(self._disk)]
        subprocess.run(copy, check=True)

    def boot(self) -> float:
        """Switch the power on, wait until Spud's page answers, and return how many seconds that took."""
        begin = time.monotonic()
        for stale in self.folder.glob("*.socket"):
            stale.unlink()
        disk = self._start("disk", *_disk_command(self._disk, self.folder / "disk.socket"))
        until((self.folder / "disk.socket").exists, "the disk answers")
        machine = self._start("machine", *self._machine_command())
        self._processes = [machine, disk]
        until(self._answers, "the booted machine's page answers", BOOT_S)
        self.token = self.run("sed -n 's/^token = \"\\(.*\\)\"/\\1/p' /root/.config/spud/client.toml").strip()
        return time.monotonic() - begin

    def cut_power(self) -> None:
        """End the machine between two instructions, and its disk's cache with it."""
        if not self._processes:
            return
        machine, disk = self._processes
        # First of all it stands still, so that nothing is answered which the disk has not taken.
        machine.send_signal(signal.SIGSTOP)
        for process in (disk, machine):
            process.kill()
        for process in (disk, machine):
            process.wait()
        self._processes = []

    def remove(self) -> None:
        self.cut_power()
        self._disk.unlink()

    def console(self) -> str:
        """Return what the machine has written on its console since its first boot."""
        return (self.folder / "console.log").read_text(errors="replace")

    def run(self, command: str, timeout_s: float = 120) -> str:
        """Run a shell command as root in the machine and return its output; it must succeed."""
        with GuestAgent(self.folder / "agent.socket") as agent:
            return agent.run(command, timeout_s)

    def spud(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SPUD_")},
            "PYTHONPATH": str(ROOT),
            "SPUD_CONFIG": os.devnull,
            "SPUD_URL": self.url,
            "SPUD_TOKEN": self.token,
        }
        return subprocess.run(
            [*SPUD, *words],
            env=environment,
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def submit(self, *words: str, cwd: Path | None = None) -> int:
        """Submit a job and return its id, which is the box's word that it will not be lost."""
        done = self.spud("submit", "--json", *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["id"])

    def job(self, job_id: int) -> dict[str, Any]:
        done = self.spud("show", str(job_id), "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def log(self, job_id: int, *words: str) -> str:
        done = self.spud("logs", str(job_id), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, job_id: int, is_so: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait until something is so of a job, and return the job."""
        job: dict[str, Any] = {}

        def is_so_now() -> bool:
            nonlocal job
            job = self.job(job_id)
            return is_so(job)

        try:
            until(is_so_now, f"job {job_id} {what}", PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(job, indent=1)}") from None
        return job

    def _answers(self) -> bool:
        for process in self._processes:
            assert process.poll() is None, (self.folder / "machine.log").read_text()
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def _machine_command(self) -> list[str]:
        disk = f"driver=nbd,server.type=unix,server.path={self.folder}/disk.socket,node-name=disk"
        port = self.url.rpartition(":")[2]
        return [
            "qemu-system-x86_64",
            *("-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", KERNEL_LINE),
            # The machine's flushes reach the disk, and nothing else does it.
            *("-blockdev", f"{disk},cache.direct=off,cache.no-flush=off"),
            *("-device", "virtio-blk-pci,drive=disk,write-cache=on"),
            *("-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:8600"),
            *("-chardev", f"socket,path={self.folder}/agent.socket,server=on,wait=off,id=agent"),
            *("-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"file,path={self.folder}/console.log,append=on,id=console"),
            *("-serial", "chardev:console"),
        ]


def _disk_command(disk: Path, unix_socket: Path) -> list[str]:
    """Return the command of a drive with a volatile cache: a write is kept at the next flush, or never."""
    options = ["--foreground", f"--unix={unix_socket}", "--filter=cache"]
    return ["nbdkit", *options, "file", str(disk), "cache=writeback"]


class GuestAgent:
    """A conversation with QEMU's guest agent, which runs commands in the machine without any network.

    Protocol: docs/interop/qemu-ga-ref, one JSON object a line.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rwb")

    def __enter__(self) -> GuestAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def run(self, command: str, timeout_s: float) -> str:
        words = {"path": "/bin/bash", "arg": ["-c", command], "capture-output": True}
        pid = self._ask("guest-exec", words)["pid"]
        status = until(lambda: self._ended(pid), f"the machine has done {command!r}", timeout_s)
        output, errors = (base64.b64decode(status.get(name, "")) for name in ("out-data", "err-data"))
        assert status["exitcode"] == 0, f"{command} ended with {status['exitcode']}:\n{output!r} {errors!r}"
        return output.decode(errors="replace")

    def _ended(self, pid: int) -> dict[str, Any]:
        status = self._ask("guest-exec-status", {"pid": pid})
        return status if status["exited"] else {}

    def _ask(self, execute: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._lines.write(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
        self._lines.flush()
        answer: dict[str, Any] = json.loads(self._lines.readline())
        assert "return" in answer, answer
        found: dict[str, Any] = answer["return"]
        return found
