"""How long the commands take that people type all day, as whole processes.

Usage: python -m tests.bench.commands [--runs 15] [--json]

`spud submit` of a 1 MB folder, and `spud list` on a box with 10,000 recorded jobs; each against a real
API on this machine. Python's compiled files are kept, as an installed package has them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.system.running_box import RunningBox

RECORDED = 10_000
FILES = 10
FILE_BYTES = 100_000
BAR_MS = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15, help="runs of each command (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        figures = measure(Path(folder), options.runs)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, milliseconds in figures.items():
            print(f"{name:32} {milliseconds:5d} ms   (median of {options.runs}; bar: under {BAR_MS})")


def measure(folder: Path, runs: int) -> dict[str, int]:
    box = RunningBox(folder, PYTHONPYCACHEPREFIX=str(folder / "compiled"), PYTHONDONTWRITEBYTECODE="")
    box.start("web")
    try:
        script = box.script("print()")
        fill(Path(script).parent)
        box.submit(script)
        record(box, RECORDED)
        return {
            "spud submit of a 1 MB folder": median_ms(box, runs, "submit", script),
            f"spud list, {RECORDED:,} jobs recorded": median_ms(box, runs, "list"),
        }
    finally:
        box.stop()


def fill(folder: Path) -> None:
    """Add 1 MB of what half of it can be compressed away, as source and small data are."""
    for number in range(FILES):
        (folder / f"part{number}.bin").write_bytes(os.urandom(FILE_BYTES // 2) + bytes(FILE_BYTES // 2))


def record(box: RunningBox, count: int) -> None:
    """Record finished jobs, as copies of the first one."""
    with box.storage.jobs._database.transaction() as connection:
        connection.execute(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
            " INSERT INTO job (owner_id, spec, priority, state, outcome, reason, message, submitted_at)"
            " SELECT owner_id, spec, priority, 'finished', 'succeeded', 'ok', 'succeeded', submitted_at"
            " FROM job, number WHERE job.id = 1",
            (count,),
        )


def median_ms(box: RunningBox, runs: int, *words: str) -> int:
    times = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        box.spud(*words)
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times[1:]) * 1000)  # the first compiles


if __name__ == "__main__":
    main()
