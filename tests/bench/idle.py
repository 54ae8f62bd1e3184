"""What the scheduler costs when there is nothing to do, and one comparison of store and engine.

Usage: python -m tests.bench.idle [--seconds 30] [--json]

The share of a core and the memory of a scheduler without jobs, read from its own process; then the time of
one look at the engine with 50 containers of Spud's. Needs root, a Docker engine and the image spud/base.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.config import Settings, load_settings
from appliance.containers.arguments import container_arguments
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.workspace import prepare
from appliance.jobs.job import Attempt, Job
from appliance.scheduler.reconciler import remove_leftovers
from appliance.storage import Storage, open_storage
from appliance.users.user import Role, User
from tests.factories import make_spec

CONTAINERS = 50
LOOKS = 15
SETTLING_S = 5
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="how long to watch (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        settings = load_settings(
            None,
            {"SPUD_STORE_DIRECTORY": folder, "SPUD_ENGINE_PREFIX": "spud-bench", "SPUD_NETWORK_MODE": "none"},
        )
        storage = open_storage(settings)
        cpu_percent, rss_mb = watch(settings, options.seconds)
        look_ms = measure_looks(settings, storage)
    if options.json:
        print(json.dumps({"cpu_percent": cpu_percent, "rss_mb": rss_mb, "look_ms": look_ms}))
        return
    print(
        f"idle scheduler, share of a core          {cpu_percent:6.2f} %   ({options.seconds} s; bar: under 1)"
    )
    print(f"idle scheduler, resident memory           {rss_mb:6.0f} MB  (bar: under 80)")
    print(f"one look at {CONTAINERS} containers               {look_ms:6.1f} ms  (of {LOOKS}; bar: under 50)")


def watch(settings: Settings, seconds: int) -> tuple[float, float]:
    """Return the share of a core in percent and the resident memory in MB of an idle scheduler."""
    environment = {
        **os.environ,
        "SPUD_STORE_DIRECTORY": str(settings.store.directory),
        "SPUD_ENGINE_PREFIX": settings.engine.prefix,
        "SPUD_NETWORK_MODE": settings.network.mode,
    }
    command = [sys.executable, "-m", "appliance.cli", "scheduler"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(SETTLING_S)
            before, began = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            used = cpu_seconds(process.pid) - before
            percent = 100 * used / (time.monotonic() - began)
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        finally:
            process.terminate()
    return round(percent, 2), round(pages * _PAGE_BYTES / 1e6)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process (proc(5) stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def measure_looks(settings: Settings, storage: Storage) -> float:
    """Return the median milliseconds of a look at the containers of open attempts."""
    engine = DockerEngine(settings.engine, settings.gpus, storage.box.store_id())
    owner = storage.users.add("bench", Role.USER)
    names = [create(settings, storage, engine, owner) for _ in range(CONTAINERS)]
    try:
        durations = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            assert remove_leftovers(storage.jobs, engine).strangers == ()
            durations.append(1000 * (time.perf_counter() - began))
        assert len(engine.containers()) == CONTAINERS
    finally:
        for name in names:
            engine.remove(name)
    return round(statistics.median(durations), 1)


def create(settings: Settings, storage: Storage, engine: DockerEngine, owner: User) -> str:
    """Open an attempt of a new job and create its container; return the container's name."""
    job: Job = storage.jobs.add(make_spec(image="base"), owner, None, None)
    attempt: Attempt | None = storage.lifecycle.start(job.id, [], "boot", "sha256:1")
    assert attempt
    directory = storage.job_directory(attempt)
    prepare(directory, storage.snapshots, None, owner)
    arguments = container_arguments(job, attempt, owner, directory, "spud/base:latest", 10**9, settings)
    engine.create(arguments)
    return arguments.name


if __name__ == "__main__":
    main()
