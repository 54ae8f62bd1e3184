"""How much later than the engine alone can, Spud starts a container once a slot is free.

Usage: python -m tests.bench.launch [--jobs 20] [--json]

Both sides run a chain of containers that each need the whole box, and are measured alike: from the
engine's FinishedAt of one to its StartedAt of the next. Raw: wait, create, start, with the very arguments
that Spud gives, folders prepared before. Spud: a queue of submitted jobs. In turns within one run. The
bare create and start, without the wait for the end before it, is told as well. Needs root, a Docker engine
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
from appliance.containers.arguments import ContainerArguments, container_arguments
from appliance.containers.docker_engine import DockerEngine
from appliance.executors.workspace import prepare
from appliance.jobs.directory import JobDirectory
from appliance.jobs.job import Job
from appliance.scheduler.survey import memory_bytes
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.factories import make_archive, make_spec

BATCH = 5
PREFIX = f"spud-bench-{os.getpid()}"
SPEC = make_spec(command=["sleep", "0.2"], image="base")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20, help="launches of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        settings = load_settings(
            None,
            {"SPUD_STORE_DIRECTORY": folder, "SPUD_ENGINE_PREFIX": PREFIX, "SPUD_NETWORK_MODE": "bridge"},
        )
        seconds = measure(settings, options.jobs)
    report(seconds, as_json=options.json)


def measure(settings: Settings, count: int) -> dict[str, list[float]]:
    storage = open_storage(settings)
    storage.users.add("bench", Role.USER)
    snapshot = storage.snapshots.add(make_archive({"train.py": "print()"})).sha256
    seconds: dict[str, list[float]] = {"create_start": [], "raw": [], "spud": []}
    while len(seconds["spud"]) < count:
        seconds["spud"] += chain_through_spud(settings, storage, snapshot)
        gaps, launches = chain_raw(settings, storage, snapshot)
        seconds["raw"] += gaps
        seconds["create_start"] += launches
    return {name: values[:count] for name, values in seconds.items()}


def chain_through_spud(settings: Settings, storage: Storage, snapshot: str) -> list[float]:
    """Return the seconds from the end of each job to the start of the next."""
    owner = storage.users.get("bench")
    jobs = [storage.jobs.add(SPEC, owner, snapshot, None) for _ in range(BATCH + 1)]
    with scheduler(settings):
        ended = [wait(storage, job) for job in jobs]
    return [(after.started_at or 0) - (before.finished_at or 0) for before, after in pairwise(ended)]


def chain_raw(settings: Settings, storage: Storage, snapshot: str) -> tuple[list[float], list[float]]:
    """Return the seconds from the end of each container to the start of the next, and of the launches."""
    engine = DockerEngine(settings.engine, settings.gpus, storage.box.store_id())
    prepared = [prepare_raw(settings, storage, snapshot, number) for number in range(BATCH + 1)]
    launches, ended = [], []
    for arguments in prepared:
        begun = time.time()
        engine.create(arguments)
        engine.start(arguments.name)
        list(engine.logs(arguments.name, follow=True))  # ends with the container
        container = engine.inspect(arguments.name)
        ended.append(container)
        launches.append((container.started_at if container and container.started_at else 0) - begun)
    for arguments in prepared:
        engine.remove(arguments.name)
    gaps = [
        (after.started_at or 0) - (before.finished_at or 0)
        for before, after in pairwise(ended)
        if before and after
    ]
    return gaps, launches[1:]


def prepare_raw(settings: Settings, storage: Storage, snapshot: str, number: int) -> ContainerArguments:
    owner = storage.users.get("bench")
    job = next(job for job in storage.jobs.list(limit=1) if job.is_finished)
    attempt = replace(storage.jobs.attempts(job.id)[0], number=100 + number)
    directory = JobDirectory.of(storage.directory, job.id, attempt.number)
    prepare(directory, storage.snapshots, snapshot, owner)
    return container_arguments(job, attempt, owner, directory, "spud/base:latest", memory_bytes(), settings)


@contextmanager
def scheduler(settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "SPUD_STORE_DIRECTORY": str(settings.store.directory),
        "SPUD_ENGINE_PREFIX": PREFIX,
        "SPUD_SCHEDULER_CPUS": str(settings.scheduler.cpus),
        "SPUD_NETWORK_MODE": settings.network.mode,
    }
    command = [sys.executable, "-m", "appliance.cli", "scheduler"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
    remove_containers()


def remove_containers() -> None:
    """Remove what the scheduler had no time to: its store is gone soon, the engine is not."""
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"name={PREFIX}-"]
    names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    if names:
        subprocess.run(["docker", "rm", "--force", *names], capture_output=True, check=True)


def wait(storage: Storage, job: Job) -> Job:
    deadline = time.monotonic() + 60
    while not (now := storage.jobs.get(job.id)).is_finished:
        if time.monotonic() > deadline:
            sys.exit(
                f"Job {job.id} did not end within 60 s; it is {now.state}, waiting for {now.waiting_for}."
            )
        time.sleep(0.05)
    return now


def report(seconds: dict[str, list[float]], *, as_json: bool) -> None:
    medians = {name: round(statistics.median(values) * 1000) for name, values in seconds.items()}
    more = medians["spud"] - medians["raw"]
    if as_json:
        print(json.dumps({**{f"{name}_ms": value for name, value in medians.items()}, "more_ms": more}))
        return
    print(f"create + start alone                  {medians['create_start']:5d} ms")
    print(f"end of one to start of the next, raw  {medians['raw']:5d} ms")
    print(f"end of one to start of the next, Spud {medians['spud']:5d} ms")
    print(f"Spud takes more                       {more:5d} ms   (bar: at most 50)")
    print(f"medians of {len(seconds['spud'])}")


if __name__ == "__main__":
    main()
