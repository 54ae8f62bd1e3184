"""The disk of a whole machine: a bare Debian or Ubuntu on which the shipped playbook has set Spud up.

It is made at this machine's own speed, as a container with systemd, and becomes a file system after that:
under QEMU without KVM the same would take an hour. Kept in .cache, by the content of all that goes in.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.box import ROOT, Box, docker, running_box

CACHE = ROOT / ".cache" / "vm"
BASE_IMAGE = "spud/base:latest"
DISK_SIZE = "4G"
# What is installed on the machine, and what makes the disk of it.
SOURCES = ("appliance", "playbooks", "requirements", "images", "pyproject.toml", "README.md", "LICENSE")
# What changes rarely, and takes longest.
MACHINE_SOURCES = ("playbooks", "requirements")
KEPT = "spud-test/machine"
RECIPE = ("tests/system/vm_image.py", "tests/system/box.py", "images/base/build.py")
KERNELS = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
# A machine has these, a container does not; the last one lets a test run commands without a network.
MACHINE_PACKAGES = ("initramfs-tools", "kmod", "udev", "zstd", "qemu-guest-agent")
APT_INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
PLAYBOOK = "ANSIBLE_CONFIG=playbooks/ansible.cfg /opt/spud/controller/bin/ansible-playbook playbooks/demo.yml"
# The page is for a command outside of the machine; the images are loaded, since building them takes minutes.
OPTIONS = (
    """--tags docker,appliance --extra-vars '{"appliance_settings": {"web": {"listen": "0.0.0.0:8600"}}}'"""
)
# QEMU's user network, its addresses fixed so that a boot waits for no lease.
NETWORK = "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
# Nothing is written to disk in passing: what no one flushes is lost, however long ago it was written.
WRITEBACK = "vm.dirty_writeback_centisecs = 0\nvm.dirty_expire_centisecs = 8640000\n"
# Left out: the checkout and its tools, and what is another file system in the container.
LEFT_OUT = ("./root/spud", "./opt/spud/controller", "./var/lib/docker", "./.dockerenv", "./var/cache/apt")


@dataclass(frozen=True, slots=True)
class VmImage:
    """A bootable disk with the kernel that QEMU loads for it."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"


def vm_image() -> VmImage:
    """Return the image for what the checkout holds now, which takes a few minutes when it must be made."""
    base = docker("images", "--quiet", "--no-trunc", BASE_IMAGE)
    folder = CACHE / _key(base, *SOURCES, *RECIPE)
    if not folder.exists():
        shutil.rmtree(CACHE, ignore_errors=True)  # an older checkout's
        CACHE.mkdir(parents=True)
        partial = Path(tempfile.mkdtemp(dir=CACHE))
        with _provisioned() as box:
            _export(box, partial)
        partial.rename(folder)
    return VmImage(folder)


def _key(start: str, *places: str) -> str:
    """Return a name for the content of the files in these places of the checkout."""
    digest = hashlib.sha256(start.encode())
    for name in _files(*places):
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def _files(*places: str) -> list[str]:
    """Return the files of the checkout as they are now, committed or not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *places]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


@contextmanager
def _provisioned() -> Iterator[Box]:
    """Yield a machine, still as a container, that the playbook has set up; its services are stopped.

    It is kept without what the engine stores, so that a change of Spud's package alone takes a minute.
    """
    kept = f"{KEPT}:{_key('', *MACHINE_SOURCES, *RECIPE)}"
    is_kept = bool(docker("images", "--quiet", kept))
    with running_box(systemd=True, image=kept if is_kept else None) as box:
        box.succeed("until systemctl is-system-running --quiet; do sleep 0.5; done", timeout_s=60)
        _copy_checkout(box)
        if not is_kept:
            box.succeed(f"apt-get update && {APT_INSTALL} {' '.join((*MACHINE_PACKAGES, _kernel()))}")
        box.succeed(f"make controller && {PLAYBOOK} {OPTIONS}")
        saved = subprocess.Popen(["docker", "save", BASE_IMAGE], stdout=subprocess.PIPE)
        load = ["docker", "exec", "--interactive", box.name, "docker", "load"]
        subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
        assert saved.wait() == 0
        box.succeed("systemctl stop 'spud-*' docker.socket docker.service containerd.service")
        if not is_kept:
            older = docker("images", "--format", "{{.Repository}}:{{.Tag}}", KEPT).split()
            docker("commit", box.name, kept)
            if older:
                docker("rmi", *older)
        yield box


def _copy_checkout(box: Box) -> None:
    """Put the checkout's files as they are now in the place of the clone."""
    tar = ["tar", "--create", "--null", "--files-from=-"]
    packed = subprocess.run(
        tar, cwd=ROOT, input="\0".join(_files("Makefile", *SOURCES)).encode(), check=True, capture_output=True
    ).stdout
    unpack = "rm -rf /root/spud/* && tar --extract --no-same-owner --directory /root/spud"
    command = ["docker", "exec", "--interactive", box.name, "bash", "-c", unpack]
    subprocess.run(command, input=packed, check=True)


def _kernel() -> str:
    return KERNELS[platform.freedesktop_os_release()["ID"]]


def _export(box: Box, folder: Path) -> None:
    """Write the machine's files into a file system, the kernel beside it."""
    tree = folder / "tree"
    (tree / "var/lib/docker").mkdir(parents=True)
    _copy_out(box, "/", tree, *(f"--exclude={name}" for name in LEFT_OUT))
    # A volume of the container, and so a file system of its own.
    _copy_out(box, "/var/lib/docker", tree / "var/lib/docker")
    _make_bootable(tree)
    for name in ("vmlinuz", "initrd"):
        (newest,) = (tree / "boot").glob(f"{name}*-*")
        shutil.copy(newest, folder / name)
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(folder / "disk.raw"), DISK_SIZE]
    subprocess.run(mke2fs, check=True, capture_output=True)
    shutil.rmtree(tree)


def _copy_out(box: Box, source: str, target: Path, *options: str) -> None:
    """Copy a folder, with owners and extended attributes: the layers of images need them."""
    attributes = ("--xattrs", "--xattrs-include=*", "--numeric-owner")
    pack = ["tar", "--create", "--one-file-system", *attributes, *options, f"--directory={source}", "."]
    packed = subprocess.Popen(["docker", "exec", box.name, *pack], stdout=subprocess.PIPE)
    unpack = ["tar", "--extract", *attributes, f"--directory={target}"]
    subprocess.run(unpack, stdin=packed.stdout, check=True)
    assert packed.wait() == 0


def _make_bootable(tree: Path) -> None:
    (tree / "etc/fstab").write_text("/dev/vda / ext4 errors=remount-ro 0 1\n")
    (tree / "etc/hostname").write_text("vm\n")
    (tree / "etc/systemd/network/10-vm.network").write_text(NETWORK)
    (tree / "etc/sysctl.d/99-vm.conf").write_text(WRITEBACK)
    networkd = tree / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    networkd.symlink_to("/lib/systemd/system/systemd-networkd.service")
