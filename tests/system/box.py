"""A whole machine as a container: a bare Debian with git, make and python3, with or without systemd."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.images.base_script import load_base_script

ROOT = Path(__file__).parents[2]
CERTIFICATES = Path("/usr/local/share/ca-certificates")
PACKAGES = ("ca-certificates", "git", "make", "python3")
SYSTEMD_PACKAGES = ("dbus", "systemd", "systemd-sysv")
# What systemd and a nested engine need; `--privileged` would ask for more than some hosts have.
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "MKNOD", "SYSLOG")
# Where systemd-resolved keeps the real ones.
NAME_SERVERS = Path("/run/systemd/resolve/resolv.conf")
OPTIONS = (
    *(f"--cap-add={name}" for name in CAPABILITIES),
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=host",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--volume=/var/lib/docker",
    # The network's own name server is on a loopback address, which a nested engine cannot hand on.
    f"--volume={NAME_SERVERS if NAME_SERVERS.exists() else '/etc/resolv.conf'}:/etc/resolv.conf:ro",
)


def docker(*arguments: str, timeout_s: float = 600) -> str:
    """Run a docker command and return its output; raises AssertionError with its words when it fails."""
    done = subprocess.run(["docker", *arguments], text=True, capture_output=True, timeout=timeout_s)
    assert done.returncode == 0, f"docker {' '.join(arguments[:3])}: {done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Box:
    """A running machine."""

    name: str

    def run(self, command: str, timeout_s: float = 1200) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root in the checkout; the output holds both streams."""
        return subprocess.run(
            ["docker", "exec", "--workdir", "/root/spud", self.name, "bash", "-c", command],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
        )

    def succeed(self, command: str, timeout_s: float = 1200) -> str:
        """Run a command that must succeed and return its output."""
        done = self.run(command, timeout_s)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@contextmanager
def running_box(*, systemd: bool, image: str | None = None) -> Iterator[Box]:
    """Boot a machine with a fresh clone of HEAD in /root/spud; it and its volumes are gone afterwards.

    An image of a machine that a test has kept takes the place of the bare one.
    """
    image = image or _image(systemd=systemd)
    network = docker("network", "create", f"spud-box-{uuid.uuid4().hex[:8]}")
    try:
        box = Box(docker("run", "--detach", f"--network={network}", *OPTIONS, *_init(systemd, image)))
        try:
            _copy_clone(box.name)
            yield box
        finally:
            docker("rm", "--force", "--volumes", box.name)
    finally:
        docker("network", "rm", network)


def _init(systemd: bool, image: str) -> list[str]:
    if systemd:
        return ["--env=container=docker", image, "/sbin/init"]
    return ["--init", image, "sleep", "infinity"]


def _copy_clone(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), f"{folder}/spud"], check=True)
        docker("cp", f"{folder}/spud", f"{name}:/root/spud")
    docker("exec", name, "chown", "--recursive", "root:root", "/root/spud")


def _image(*, systemd: bool) -> str:
    """Return the machine's image, made of this machine's distribution; it is kept for the next run."""
    name = f"spud-test/box:{'systemd' if systemd else 'bare'}"
    if docker("images", "--quiet", name):
        return name
    packages = (*PACKAGES, *(SYSTEMD_PACKAGES if systemd else ()))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        archive = f"{folder}/root.tar"
        assert load_base_script().build(Path(archive), packages, hooks=()) == 0
        docker("import", archive, name)
    return name
