"""`make demo` on whole machines: a bare Debian, without and with systemd, and a fresh clone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.box import Box, running_box

pytestmark = [pytest.mark.box, pytest.mark.timeout(1800)]

IMAGES = ("spud/base:1", "spud/base:latest", "spud/tensorflow:latest")
PLAYBOOK = "ANSIBLE_CONFIG=playbooks/ansible.cfg /opt/spud/controller/bin/ansible-playbook playbooks/demo.yml"
ENGINE_ANSWERS = "until docker version > /dev/null 2>&1; do sleep 0.2; done"


def load_images(box: Box) -> None:
    """Copy the images from this machine's engine, which built them from the same inputs."""
    version = docker_output("inspect", "--format", '{{index .Config.Labels "spud.version"}}', IMAGES[-1])
    saved = subprocess.Popen(
        ["docker", "save", *IMAGES, f"spud/tensorflow:{version}-cpu"], stdout=subprocess.PIPE
    )
    load = ["docker", "exec", "--interactive", box.name, "docker", "load"]
    subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
    assert saved.wait() == 0


def docker_output(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def process_id(box: Box, name: str) -> str:
    """Return the process id of `spud NAME`; a bare machine has no pgrep."""
    listing = box.succeed(
        r"""for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr '\0' ' ' < $p/cmdline)"; done 2>/dev/null"""
    )
    match = re.search(rf"^(\d+) \S*python3 (?:-m appliance\.cli|\S*/spud) {name} *$", listing, re.MULTILINE)
    assert match, listing
    return match[1]


def changed_tasks(output: str) -> int:
    """Return how many tasks of the playbook changed something."""
    match = re.search(r"changed=(\d+) failed=0, in [\d.]+ s", output)
    assert match, output
    return int(match[1])


@pytest.fixture(scope="module")
def bare() -> Iterator[Box]:
    """A machine without systemd that has seen one `make demo`; everything was built on it."""
    with running_box(systemd=False) as box:
        box.succeed("make demo STEPS=200")
        yield box


@pytest.fixture(scope="module")
def systemd() -> Iterator[Box]:
    """A machine with systemd that has seen one `make demo`; its images came from this machine."""
    with running_box(systemd=True) as box:
        box.succeed("until systemctl is-system-running --quiet; do sleep 0.5; done", timeout_s=60)
        box.succeed(f"make controller && {PLAYBOOK} --tags docker")
        load_images(box)
        box.succeed("make demo STEPS=200")
        yield box


@pytest.fixture(params=["bare", "systemd"])
def box(request: pytest.FixtureRequest) -> Box:
    found: Box = request.getfixturevalue(request.param)
    return found


def test_second_run_changes_nothing(box: Box) -> None:
    output = box.succeed("make demo STEPS=20")
    assert changed_tasks(output) == 0
    assert "Testing Accuracy:" in output
    assert "http://127.0.0.1:8600" in output


def test_user_is_signed_in_and_can_run_a_script(box: Box) -> None:
    box.succeed("mkdir -p /root/work && echo 'print(6 * 7)' > /root/work/train.py")
    assert "42\n" in box.succeed("cd /root/work && spud run train.py")


def test_processes_run_under_their_own_accounts(box: Box) -> None:
    pids = {name: process_id(box, name) for name in ("scheduler", "exporter", "web")}
    users = {name: box.succeed(f"stat --format %U /proc/{pid}").strip() for name, pid in pids.items()}
    assert users == {"scheduler": "spud", "exporter": "spud", "web": "spud-web"}


def test_killed_engine_comes_back(box: Box) -> None:
    before = box.succeed("cat /var/run/docker.pid")
    box.succeed(f"kill -9 {before.strip()}; sleep 1; timeout 60 bash -c '{ENGINE_ANSWERS}'")
    assert box.succeed("cat /var/run/docker.pid") != before


def test_killed_process_comes_back(box: Box) -> None:
    box.succeed(f"kill -9 {process_id(box, 'web')}; sleep 1")
    box.succeed("timeout 60 bash -c 'until spud list > /dev/null 2>&1; do sleep 0.2; done'")


def test_simulated_gpus_come_and_go(bare: Box) -> None:
    bare.succeed(f"{PLAYBOOK} --extra-vars demo_gpus=2")
    gpus = json.loads(bare.succeed("spud gpus --json"))
    assert [gpu["simulated"] for gpu in gpus["gpus"]] == [True, True]
    bare.succeed("spud run --gpus 2 -- true")
    bare.succeed(PLAYBOOK)
    assert json.loads(bare.succeed("spud gpus --json"))["gpus"] == []


def test_changed_package_is_installed_and_restarted(bare: Box) -> None:
    bare.succeed("echo '# changed' >> appliance/errors.py")
    changed = changed_tasks(bare.succeed(PLAYBOOK))
    assert changed > 0
    assert (
        bare.succeed("tail -n 1 /opt/spud/venv/lib/python3*/site-packages/appliance/errors.py")
        == "# changed\n"
    )


def test_failure_is_one_sentence_and_says_what_to_do(bare: Box) -> None:
    done = bare.run("make demo STEPS=20 BASE_IMAGE=localhost:9/none")
    assert done.returncode != 0
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED  ")]
    assert len(failed) == 1
    assert "The image localhost:9/none could not be pulled" in failed[0]
    assert "then run again: sudo make demo" in done.stdout


def test_stopping_and_removing(box: Box) -> None:
    """The last one: afterwards nothing of Spud is there but the distribution's packages."""
    box.succeed("make demo-stop")
    assert "does not answer" in box.run("spud list").stdout
    box.succeed("make demo-stop")
    box.succeed("make clean YES=1")
    left = "ls -d /opt/spud /var/lib/spud /etc/spud /usr/local/bin/spud /root/.config/spud 2>/dev/null"
    assert box.run(left).stdout == ""
    assert box.succeed("docker images --quiet 'spud/*'") == ""
    assert box.run("id spud").returncode != 0
