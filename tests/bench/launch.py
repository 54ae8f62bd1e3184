"""How much later than the engine itself can, Spud starts a container once a slot is free.

Usage: python -m tests.bench.launch [--jobs 20] [--json]

Raw: `create` and `start` of a container with the very arguments that Spud gives it, from the call to the
engine's own StartedAt. Spud: a queue of jobs that each need the whole box, from the engine's FinishedAt
of one to its StartedAt of the next. Both are taken in turns within one run. Needs root, a Docker engine
and the image spud/base.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from appliance.config import Settings, load_settings
from appliance.containers.arguments import container_arguments
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.workspace import prepare
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Job
from appliance.scheduler.survey import memory_bytes
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.factories import make_archive, make_spec

BATCH = 5
PREFIX = "spud-bench"
SPEC = make_spec(command=["true"], image="base")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20, help="launches of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        settings = load_settings(None, {"SPUD_STORE_DIRECTORY": folder, "SPUD_ENGINE_PREFIX": PREFIX})
        raw, through_spud = measure(settings, options.jobs)
    report(raw, through_spud, as_json=options.json)


def measure(settings: Settings, count: int) -> tuple[list[float], list[float]]:
    storage = open_storage(settings)
    storage.users.add("bench", Role.USER)
    snapshot = storage.snapshots.add(make_archive({"train.py": "print()"})).sha256
    raw: list[float] = []
    spud: list[float] = []
    while len(spud) < count:
        spud += queue_through_spud(settings, storage, snapshot)
        raw += [launch_raw(settings, storage, snapshot) for _ in range(BATCH)]
    return raw[:count], spud[:count]


def queue_through_spud(settings: Settings, storage: Storage, snapshot: str) -> list[float]:
    """Return the seconds from the end of each job to the start of the next."""
    owner = storage.users.get("bench")
    jobs = [storage.jobs.add(SPEC, owner, snapshot, None) for _ in range(BATCH + 1)]
    with scheduler(settings):
        ended = [wait(storage, job) for job in jobs]
    return [(after.started_at or 0) - (before.finished_at or 0) for before, after in pairwise(ended)]


def launch_raw(settings: Settings, storage: Storage, snapshot: str) -> float:
    """Return the seconds from `create` to the engine's StartedAt for the same container, prepared before."""
    engine = DockerEngine(settings.engine, settings.gpus)
    owner = storage.users.get("bench")
    job = next(job for job in storage.jobs.list(limit=1) if job.is_finished)
    attempt = replace(storage.jobs.attempts(job.id)[0], number=9)
    directory = JobDirectory.of(storage.directory, job.id, attempt.number)
    prepare(directory, storage.snapshots, snapshot, owner)
    arguments = container_arguments(
        job, attempt, owner, directory, "spud/base:latest", memory_bytes(), settings
    )
    begun = time.time()
    engine.create(arguments)
    engine.start(arguments.name)
    container = engine.inspect(arguments.name)
    engine.stop(arguments.name, 1)
    engine.remove(arguments.name)
    return (container.started_at if container and container.started_at else 0) - begun


@contextmanager
def scheduler(settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "SPUD_STORE_DIRECTORY": str(settings.store.directory),
        "SPUD_ENGINE_PREFIX": PREFIX,
    }
    command = [sys.executable, "-m", "appliance.cli", "scheduler"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        yield
        process.terminate()


def wait(storage: Storage, job: Job) -> Job:
    deadline = time.monotonic() + 60
    while not (now := storage.jobs.get(job.id)).is_finished:
        if time.monotonic() > deadline:
            sys.exit(
                f"Job {job.id} did not end within 60 s; it is {now.state}, waiting for {now.waiting_for}."
            )
        time.sleep(0.05)
    return now


def report(raw: list[float], spud: list[float], *, as_json: bool) -> None:
    figures = {
        "launches": len(spud),
        "raw_median_ms": round(statistics.median(raw) * 1000),
        "spud_median_ms": round(statistics.median(spud) * 1000),
        "more_ms": round((statistics.median(spud) - statistics.median(raw)) * 1000),
    }
    if as_json:
        print(json.dumps(figures))
        return
    print(f"raw create + start       {figures['raw_median_ms']:5d} ms   (median of {len(raw)})")
    print(f"free slot to start, Spud {figures['spud_median_ms']:5d} ms   (median of {len(spud)})")
    print(f"more                     {figures['more_ms']:5d} ms   (bar: at most 100)")


if __name__ == "__main__":
    main()
