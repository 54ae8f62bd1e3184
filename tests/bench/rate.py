"""How many containers a second Spud starts, against the engine's own rate.

Usage: python -m tests.bench.rate [--jobs 40] [--parallel 4] [--rounds 3] [--json]

Both sides run the same number of containers that end at once, so many at a time, and are measured alike:
by the engine's StartedAt of the first and the last. Bare: as many threads as slots, each of which creates,
starts, awaits and removes one container after another with the docker SDK, with the very arguments that
Spud gives and folders prepared before. Spud: a queue of submitted jobs with as many slots. In turns within
one run. Needs root, a Docker engine and the image spud/base.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence

from appliance.config import Settings, load_settings
from appliance.containers.arguments import ContainerArguments
from appliance.containers.docker_engine import DockerEngine
from appliance.storage import Storage, open_storage
from appliance.users.user import Role
from tests.bench.launch import PREFIX, prepare_raw, scheduler, wait
from tests.factories import make_archive, make_spec

SPEC = make_spec(command=["true"], image="base", cpus=1)
BAR = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=40, help="containers of each side (default: %(default)s)")
    parser.add_argument("--parallel", type=int, default=4, help="slots (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in turn (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        settings = load_settings(
            None,
            {
                "SPUD_STORE_DIRECTORY": folder,
                "SPUD_ENGINE_PREFIX": PREFIX,
                "SPUD_SCHEDULER_CPUS": str(options.parallel),
                "SPUD_NETWORK_MODE": "bridge",
            },
        )
        rates = measure(settings, options.jobs, options.parallel, options.rounds)
    report(rates, options.parallel, as_json=options.json)


def measure(settings: Settings, jobs: int, parallel: int, rounds: int) -> dict[str, list[float]]:
    """Return starts per second of each side and round."""
    storage = open_storage(settings)
    storage.users.add("bench", Role.USER)
    snapshot = storage.snapshots.add(make_archive({"train.py": "print()"})).sha256
    rates: dict[str, list[float]] = {"bare": [], "spud": []}
    for _ in range(rounds):
        rates["spud"].append(through_spud(settings, storage, snapshot, jobs))
        rates["bare"].append(bare(settings, storage, snapshot, jobs, parallel))
    return rates


def through_spud(settings: Settings, storage: Storage, snapshot: str, count: int) -> float:
    owner = storage.users.get("bench")
    jobs = [storage.jobs.add(SPEC, owner, snapshot, None) for _ in range(count)]
    with scheduler(settings):
        ended = [wait(storage, job) for job in jobs]
    return rate([job.started_at or 0 for job in ended])


def bare(settings: Settings, storage: Storage, snapshot: str, count: int, parallel: int) -> float:
    prepared = [prepare_raw(settings, storage, snapshot, number) for number in range(count)]
    queue, started = iter(prepared), list[float]()
    lock = threading.Lock()
    threads = [
        threading.Thread(target=work, args=(settings, storage, queue, lock, started)) for _ in range(parallel)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rate(started)


def work(
    settings: Settings,
    storage: Storage,
    queue: Iterator[ContainerArguments],
    lock: threading.Lock,
    started: list[float],
) -> None:
    """Run one container after another until there are none left."""
    engine = DockerEngine(settings.engine, settings.gpus, storage.box.store_id())
    while True:
        with lock:
            arguments = next(queue, None)
        if arguments is None:
            return
        engine.create(arguments)
        engine.start(arguments.name)
        list(engine.logs(arguments.name, follow=True))  # ends with the container
        container = engine.inspect(arguments.name)
        started.append((container.started_at if container else None) or 0)
        engine.remove(arguments.name)


def rate(started: Sequence[float]) -> float:
    assert all(started), "a container did not start"
    return (len(started) - 1) / (max(started) - min(started))


def report(rates: dict[str, list[float]], parallel: int, *, as_json: bool) -> None:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(spud / bare for spud, bare in zip(rates["spud"], rates["bare"], strict=True))
    if as_json:
        print(json.dumps({**rates, "ratio": round(ratio, 3)}))
        return
    print(f"starts per second, {parallel} at a time, bare calls {medians['bare']:6.2f}")
    print(f"starts per second, {parallel} at a time, Spud       {medians['spud']:6.2f}")
    print(f"Spud reaches                              {ratio:6.0%}   (bar: at least {BAR:.0%})")
    print("rounds:", ", ".join(f"{s:.2f}/{b:.2f}" for s, b in zip(rates["spud"], rates["bare"], strict=True)))


if __name__ == "__main__":
    main()
