"""What a long queue costs: one look at it by the scheduler, a submit and a list at the API.

Usage: python -m tests.bench.queue [--runs 15] [--json]

Jobs of 20 users wait for two GPUs and for cores that are all taken, with different priorities, sizes and
time limits. The look is the scheduler's own `Queue.next` on the real store; submit and list go to a real
web process by one kept connection, so that a new process's start is not in the figure. No engine is needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.jobs.box import Box, Image
from appliance.jobs.job import Request, Share
from appliance.scheduler.queue import Queue
from appliance.storage import Storage
from appliance.users.user import Role, User
from tests.factories import make_gpu, make_spec
from tests.system.running_box import RunningBox

USERS = 20
SIZES = (1_000, 10_000, 100_000)
SIZE_OF_THE_API = 10_000
BATCH = 5_000
BARS_MS = {"tick": 100, "submit": 50, "list": 100}
BOX = Box(
    gpus=(make_gpu(0), make_gpu(1)),
    cpus=2.0,
    memory_bytes=16 * 1024**3,
    images=(Image("spud/base:latest", "sha256:1", 1),),
)


class ImagesThere:
    """Stands for the preparer: every image is on the box."""

    def resolve(self, request: Request, local: Mapping[str, Image]) -> str:
        return "sha256:1"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15, help="runs of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        figures = measure(Path(folder), options.runs)
    if options.json:
        print(json.dumps(figures))
        return
    for name, milliseconds in figures.items():
        bar = BARS_MS[name.split()[0]]
        print(f"{name:40} {milliseconds:8.1f} ms   (median of {options.runs}; bar: under {bar})")


def measure(folder: Path, runs: int) -> dict[str, float]:
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    box = RunningBox(folder, SPUD_JOBS_MIN_FREE_BYTES="0")
    owners = [box.storage.users.add(f"user{number}", Role.USER) for number in range(USERS)]
    box.storage.box.set_box(BOX)
    take_all(box.storage, owners[0])
    figures: dict[str, float] = {}
    waiting = 0
    for size in SIZES:
        add(box.storage, owners, size - waiting)
        waiting = size
        figures[f"tick with {size:,} jobs waiting"] = tick_ms(box.storage, runs)
        if size == SIZE_OF_THE_API:
            figures |= api_ms(box, size, runs)
    return figures


def take_all(storage: Storage, owner: User) -> None:
    """Let running jobs hold both GPUs and all cores."""
    for gpus in (2, 0):
        job = storage.jobs.add(make_spec(gpus=gpus, time="8h"), owner, None, None)
        shares = [Share(gpu.uuid) for gpu in BOX.gpus] if gpus else []
        attempt = storage.lifecycle.start(job.id, shares, "boot", "sha256:1")
        assert attempt
        storage.lifecycle.record_running(attempt, time.time(), "sha256:1")


def add(storage: Storage, owners: list[User], count: int) -> None:
    chance = random.Random(count)
    for begin in range(0, count, BATCH):
        with storage.database.transaction():
            for _ in range(min(BATCH, count - begin)):
                spec = make_spec(
                    image="base",
                    gpus=chance.choice((0, 1, 1, 1, 2)),
                    time=chance.choice((None, "1h", "10h")),
                    priority=chance.choice((0, 0, 0, 5, -5)),
                )
                storage.jobs.add(spec, chance.choice(owners), None, None)


def tick_ms(storage: Storage, runs: int) -> float:
    queue = Queue(storage, ImagesThere(), depth=1000)
    active = storage.jobs.active()
    queue.next(active, BOX)  # the first look writes why each job waits
    return median_ms(runs, lambda: queue.next(active, BOX))


def api_ms(box: RunningBox, size: int, runs: int) -> dict[str, float]:
    box.start("web")
    try:
        box.wait_until_ready()
        api = Api(box)
        return {
            f"submit with {size:,} jobs waiting": median_ms(runs, api.submit),
            f"list of 50 of {size:,} jobs waiting": median_ms(runs, api.list),
        }
    finally:
        box.kill("web")


class Api:
    """A client with one kept connection."""

    def __init__(self, box: RunningBox) -> None:
        self._connection = http.client.HTTPConnection(box.url.removeprefix("http://"))
        self._headers = {"Authorization": f"Bearer {box.token}", "Content-Type": "application/json"}

    def submit(self) -> None:
        body = json.dumps({"command": ["true"], "image": "base"})
        assert self._ask("POST", "/api/v1/jobs", body)["id"]

    def list(self) -> None:
        assert len(self._ask("GET", "/api/v1/jobs?owner=all&limit=50")["jobs"]) == 50

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)


def median_ms(runs: int, call: Callable[[], object]) -> float:
    durations = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        durations.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(durations), 1)


if __name__ == "__main__":
    main()
