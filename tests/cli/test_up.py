"""`spud up` and `spud down` with the real processes; there is no container engine."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.cli.instance import running_pid
from appliance.cli.processes import Process, processes
from appliance.cli.supervisor import restart_delay_s
from appliance.cli.up import is_ready
from appliance.config import split_address
from tests.web.box import WebBox

pytestmark = pytest.mark.process

Spud = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def box(tmp_path: Path) -> WebBox:
    return WebBox(tmp_path, SPUD_ENGINE_SOCKET=f"unix://{tmp_path}/absent.sock")


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def spud(box: WebBox, run_directory: Path, tmp_path: Path) -> Iterator[Spud]:
    def run(command: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "appliance.cli", command, f"--run-directory={run_directory}", *options],
            env={**os.environ, **box.environ, **variables},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    yield run
    run("down")


def start(spud: Spud, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return spud("up", "--detach", f"--log-directory={tmp_path / 'log'}", **variables)


def children(pid: int) -> dict[str, int]:
    """Return the living processes of a `spud up` by name."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    words = {int(child): Path(f"/proc/{child}/cmdline").read_text().split("\0") for child in found}
    return {line[-2]: child for child, line in words.items() if "appliance.cli" in line}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_spud_goes_up_and_down(box: WebBox, spud: Spud, run_directory: Path, tmp_path: Path) -> None:
    assert start(spud, tmp_path).stdout == f"Spud is running at {box.url}\n"
    assert is_ready(box.settings)
    assert spud("up").stdout == f"Spud is already running at {box.url}\n"
    assert spud("down").stdout == "Spud has stopped.\n"
    assert running_pid(run_directory) is None
    assert not is_ready(box.settings)
    assert spud("down").stdout == "Spud is not running.\n"


@pytest.fixture
def pid(spud: Spud, run_directory: Path, tmp_path: Path) -> int:
    """The process id of a `spud up`."""
    start(spud, tmp_path)
    return running_pid(run_directory) or 0


def test_killed_process_is_started_again(box: WebBox, pid: int) -> None:
    old = children(pid)
    os.kill(old["web"], signal.SIGKILL)
    wait_until(lambda: children(pid).get("web", old["web"]) != old["web"] and is_ready(box.settings))
    assert children(pid)["scheduler"] == old["scheduler"]


def test_processes_end_with_their_supervisor(pid: int) -> None:
    left = children(pid).values()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_running(child) for child in left))


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_taken_port_ends_all_with_one_sentence(
    box: WebBox, spud: Spud, run_directory: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with socket.socket() as listener:
        listener.bind(split_address(box.settings.web.listen))
        listener.listen()
        result = spud("up", f"--log-directory={tmp_path / 'log'}", *options)
    assert result.stderr.splitlines()[-1].startswith("Error: Port ")
    assert result.returncode == 1
    assert running_pid(run_directory) is None


def test_wrong_setting_is_misuse(spud: Spud, tmp_path: Path) -> None:
    result = start(spud, tmp_path, SPUD_WEB_THREADS="many")
    assert "SPUD_WEB_THREADS is 'many'" in result.stderr
    assert result.returncode == 2


def test_process_that_dies_again_and_again_is_started_ever_more_slowly() -> None:
    assert [restart_delay_s(failures) for failures in (0, 1, 2, 3, 4, 50)] == [0, 0, 1, 2, 4, 30]


def test_processes_on_a_store_of_ones_own_are_ones_own(box: WebBox) -> None:
    assert {process.account for process in processes(box.settings)} == {None}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes others")
@pytest.mark.parametrize(("may_chown", "capabilities"), [(True, 1), (False, 0)])
def test_process_has_its_account_and_no_more_rights(may_chown: bool, capabilities: int) -> None:
    process = Process("cat", "nobody", may_chown=may_chown)
    privileges = process.command_line()[: -len([sys.executable, "-m", "appliance.cli", "cat"])]
    status = subprocess.check_output([*privileges, "cat", "/proc/self/status"], text=True)
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert facts["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
    assert {int(facts[name], 16) for name in ("CapEff", "CapBnd", "CapAmb")} == {capabilities}
    assert (facts["Groups"].strip(), facts["NoNewPrivs"].strip()) == ("", "1")
