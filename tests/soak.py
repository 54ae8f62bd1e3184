"""Hundreds of rounds in which processes, engine and power fail in random order: `make soak`.

Each round submits some jobs and lets one disaster happen, then waits until everything is over and checks that
no job is lost, none ran twice at once, no GPU is held and every outcome, exit code and log is right. It stops
at the first round that fails, and says with which seed it can be repeated.
"""

from __future__ import annotations

import argparse
import collections
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from appliance.failpoints import FAILPOINTS
from tests.nvml.simulation import GTX_1070_TI, SimulatedGpus, build
from tests.system.ordeal import Ordeal
from tests.system.own_engine import OwnEngine
from tests.system.running_box import RunningBox

_OF_THE_SCHEDULER = [point for point in FAILPOINTS if point != "submit.recorded"]
_LONGEST_PAUSE_S = 2.0


class Soak:
    """One box that goes through round after round."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._boot = 0
        library = build(folder / "nvml")
        gpus = SimulatedGpus(library.parent)
        gpus.write([GTX_1070_TI, GTX_1070_TI])
        self._engine = OwnEngine(folder / "engine")
        self._engine.start()
        self._engine.load("spud/base:latest")
        (folder / "box").mkdir()
        self._box = RunningBox(
            folder / "box",
            SPUD_ENGINE_SOCKET=self._engine.socket,
            SPUD_NETWORK_MODE="none",
            SPUD_SCHEDULER_RECONCILE_SECONDS="0.5",
            SPUD_GPUS_LIBRARY=str(library),
            SPUD_SIMULATED_GPUS=str(gpus.path),
            SPUD_GPUS_INJECTION="environment",
        )
        self._box.start()
        self._box.wait_until_ready()
        self._ordeal = Ordeal(self._box, self._engine)
        self.disasters: list[Callable[[], None]] = [
            self.scheduler_dies,
            self.scheduler_dies_at_a_step,
            self.scheduler_dies_twice,
            self.engine_dies,
            self.engine_dies_at_a_step,
            self.engine_and_scheduler_die,
            self.web_dies,
            self.everything_dies,
            self.power_fails,
        ]

    def round(self) -> tuple[str, list[str]]:
        """Run one round; return the disaster's name and what went wrong."""
        disaster = self._random.choice(self.disasters)
        submitting = threading.Thread(target=self._submit_some)
        submitting.start()
        disaster()
        submitting.join()
        self._ordeal.wait_until_over(240)
        return disaster.__name__, self._ordeal.faults()

    def jobs(self) -> int:
        """Return how many jobs there were."""
        return len(self._box.storage.jobs.list(limit=1_000_000))

    def end(self) -> None:
        """Stop and remove everything."""
        self._box.stop()
        self._engine.remove()

    def _submit_some(self) -> None:
        for _ in range(self._random.randint(1, 4)):
            code = self._random.choice((0, 0, 1, 3, 77))
            gpus = self._random.choice(("0", "1", "1", "2"))
            job_id = self._ordeal.submit(
                self._random.randint(0, 30), self._random.choice((0.0, 0.01, 0.05)), code, "--gpus", gpus
            )
            if job_id and self._random.random() < 0.15:
                time.sleep(self._random.uniform(0, 1))
                self._box.spud("cancel", str(job_id), check=False)

    def _pause(self) -> None:
        time.sleep(self._random.uniform(0, _LONGEST_PAUSE_S))

    def _restart(self, *names: str, failpoints: str = "") -> None:
        boot_id = self._folder / "boot_id" if self._boot else None
        self._box.start(*names, failpoints=failpoints, boot_id=boot_id)

    # Disasters

    def scheduler_dies(self) -> None:
        self._pause()
        self._box.kill("scheduler")
        self._pause()
        self._restart("scheduler")

    def scheduler_dies_at_a_step(self) -> None:
        point = self._random.choice(_OF_THE_SCHEDULER)
        self._box.kill("scheduler")
        self._restart("scheduler", failpoints=f"{point}=kill")
        deadline = time.monotonic() + 2 * _LONGEST_PAUSE_S
        while not self._box.is_dead("scheduler") and time.monotonic() < deadline:
            time.sleep(0.05)
        self._box.kill("scheduler")
        self._restart("scheduler")

    def scheduler_dies_twice(self) -> None:
        self.scheduler_dies()
        self.scheduler_dies()

    def engine_dies(self) -> None:
        self._pause()
        self._engine.kill()
        self._pause()
        self._engine.start()

    def engine_dies_at_a_step(self) -> None:
        point, here = self._random.choice(_OF_THE_SCHEDULER), self._folder / "here"
        self._box.kill("scheduler")
        self._restart("scheduler", failpoints=f"{point}=wait:{here}")
        deadline = time.monotonic() + 2 * _LONGEST_PAUSE_S
        while not here.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._engine.kill()
        here.unlink(missing_ok=True)
        self._engine.start()
        self._box.kill("scheduler")
        here.unlink(missing_ok=True)
        self._restart("scheduler")

    def engine_and_scheduler_die(self) -> None:
        self._pause()
        victims = [lambda: self._box.kill("scheduler"), self._engine.kill]
        self._random.shuffle(victims)
        for kill in victims:
            kill()
        self._pause()
        revivals = [lambda: self._restart("scheduler"), self._engine.start]
        self._random.shuffle(revivals)
        for revive in revivals:
            revive()

    def web_dies(self) -> None:
        self._pause()
        self._box.kill("web")
        self._restart("web")
        self._box.wait_until_ready()

    def everything_dies(self) -> None:
        self._pause()
        for name in ("web", "exporter", "scheduler"):
            self._box.kill(name)
        self._engine.kill()
        self._engine.start()
        self._restart()
        self._box.wait_until_ready()

    def power_fails(self) -> None:
        self._pause()
        for name in ("web", "exporter", "scheduler"):
            self._box.kill(name)
        self._engine.cut_power()
        self._boot += 1
        (self._folder / "boot_id").write_text(f"boot {self._boot}\n")
        self._engine.start()
        self._restart()
        self._box.wait_until_ready()


def main() -> None:
    """Run the rounds and print a table of what was survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="default 300")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="default random")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="spud-soak-", dir="/var/tmp"))
    soak = Soak(folder, arguments.seed)
    survived: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    print(f"Soak: {arguments.rounds} rounds, seed {arguments.seed}", flush=True)
    try:
        for number in range(1, arguments.rounds + 1):
            name, faults = soak.round()
            if faults:
                print(f"Round {number} ({name}) failed:", *faults, sep="\n  ", flush=True)
                print(f"Kept for a look: {folder}. Repeat it with: --seed {arguments.seed}")
                sys.exit(1)
            survived[name] += 1
            left_s = (time.monotonic() - began) / number * (arguments.rounds - number)
            print(f"Round {number}/{arguments.rounds} {name}, about {left_s / 60:.0f} min left", flush=True)
    finally:
        soak.end()
    jobs = soak.jobs()
    shutil.rmtree(folder, ignore_errors=True)
    for name, count in sorted(survived.items()):
        print(f"{name:28} {count:5} rounds")
    minutes = (time.monotonic() - began) / 60
    print(f"All {arguments.rounds} rounds: {jobs} jobs, none lost, none doubled, in {minutes:.0f} min.")


if __name__ == "__main__":
    main()
