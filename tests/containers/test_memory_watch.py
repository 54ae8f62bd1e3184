"""The kernel's counters of real containers, which are gone with them."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.containers.cgroup import MemoryPoller
from appliance.containers.kernel_log import seen_by_kernel

pytestmark = pytest.mark.docker

FILLS_MEMORY = "import time; time.sleep(0.5); block = bytearray(1 << 28)"
CHILD_FILLS_MEMORY = (
    "import subprocess, sys, time; time.sleep(0.5);"
    " sys.exit(bool(subprocess.run([sys.executable, '-c', 'bytearray(1 << 28)']).returncode))"
)


@pytest.fixture
def container() -> Iterator[Callable[..., tuple[str, int]]]:
    """Return a function that runs Python in a container and gives its name and first process."""
    names = []

    def run(script: str, *options: str) -> tuple[str, int]:
        names.append(f"spud-test-{secrets.token_hex(4)}")
        docker(
            "run", "--detach", "--init", "--name", names[-1], *options, "spud/base", "python3", "-c", script
        )
        return names[-1], int(docker("inspect", "--format", "{{.State.Pid}}", names[-1]))

    yield run
    subprocess.run(["docker", "rm", "--force", *names], capture_output=True)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("script", "exit_code"), [(FILLS_MEMORY, "137"), (CHILD_FILLS_MEMORY, "1")], ids=["main", "child"]
)
def test_the_kernels_kill_is_counted_though_the_container_is_gone(
    container: Callable[..., tuple[str, int]], script: str, exit_code: str
) -> None:
    name, pid = container(script, "--memory", "64m", "--memory-swap", "64m")
    with MemoryPoller().watch(pid) as watch:
        assert docker("wait", name) == exit_code
    assert watch.use is not None
    assert (watch.use.oom_kills, watch.use.limit_bytes) == (1, 64 * 1024**2)
    assert watch.use.peak_bytes == 64 * 1024**2


def test_an_unprivileged_process_counts_the_kill_too(container: Callable[..., tuple[str, int]]) -> None:
    _, pid = container(FILLS_MEMORY, "--memory", "64m", "--memory-swap", "64m")
    script = (
        "import sys, time; from appliance.containers.cgroup import MemoryPoller\n"
        "with MemoryPoller().watch(int(sys.argv[1])) as watch:\n"
        "    while not watch.is_over: time.sleep(0.05)\n"
        "print(watch.use.oom_kills)"
    )
    unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]
    done = subprocess.run(
        [*unprivileged, sys.executable, "-c", script, str(pid)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_job_that_fills_its_memory_with_files_is_not_killed(
    container: Callable[..., tuple[str, int]],
) -> None:
    script = "f = open('/tmp/x', 'wb'); [f.write(bytes(1 << 20)) for _ in range(200)]"
    name, pid = container(
        f"import time; time.sleep(0.5); {script}", "--memory", "64m", "--memory-swap", "64m"
    )
    with MemoryPoller().watch(pid) as watch:
        assert docker("wait", name) == "0"
    assert watch.use is not None
    assert watch.use.oom_kills == 0


def test_the_kernels_log_knows_of_a_kill_that_nobody_watched(
    container: Callable[..., tuple[str, int]],
) -> None:
    name, _ = container("bytearray(1 << 28)", "--memory", "64m", "--memory-swap", "64m")
    assert docker("wait", name) == "137"
    container_id = docker("inspect", "--format", "{{.Id}}", name)
    docker("rm", name)
    counted = seen_by_kernel(None, container_id)
    assert counted is not None
    assert (counted.oom_kills, counted.limit_bytes) == (1, 64 * 1024**2)
    assert seen_by_kernel(None, "0" * 64) is None
