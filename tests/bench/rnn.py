"""Usage: python tests/bench/rnn.py --data FOLDER [--steps 2000] [--rounds 3] [--json].

Compares appliance/benchmarks/rnn.py with the same model as a TensorFlow 1 graph session
(rnn_baseline.py): both in turn, A B A B A B, from the same initial weights and batches. Prints steps per
second of each, their ratio, and whether losses and accuracies agree. Runs wherever TensorFlow is
installed: in a virtual environment, or inside the image spud/tensorflow with the checkout mounted.
Exits 1 when the ratio is below 1.8 or the accuracies differ. Both use both cores, so on a machine that others
use at the same time the ratio of whole runs says little; the best 100 steps of each are less disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GOAL = 1.8
WINDOW_STEPS = 100
ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "baseline": (ROOT / "tests/bench/rnn_baseline.py", "baseline.json"),
    "spud": (ROOT / "appliance/benchmarks/rnn.py", "result.json"),
}
# Shares of 128 training and of 10,000 test images: one image of a batch, ten of the test set.
TRAINING_TOLERANCE, TEST_TOLERANCE = 1 / 128, 0.001

Result = Mapping[str, Any]


def run(name: str, options: argparse.Namespace) -> Result:
    """Run one script to its end and return what it wrote."""
    script, result = SCRIPTS[name]
    with tempfile.TemporaryDirectory() as output:
        arguments = ["--data", options.data, "--steps", str(options.steps), "--seed", str(options.seed)]
        done = subprocess.run(
            [sys.executable, str(script), *arguments, "--output", output],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        path = Path(output, result)
        if not path.exists():
            raise SystemExit(f"{script} ended with exit code {done.returncode} and wrote no {result}.")
        values: Result = json.loads(path.read_text())
        return values


def metric(result: Result, name: str) -> float:
    """Return the value of one metric."""
    return next(float(m["value"]) for m in result["metrics"] if m["name"] == name)


def best_rate(results: Sequence[Result]) -> float:
    """Return the most steps per second over any 100 steps: what the machine gives when it is left alone."""
    rates: list[float] = []
    for result in results:
        calls = result["calls"][1:]  # the first one compiles
        size = -(-WINDOW_STEPS // max(steps for steps, _ in calls))
        windows = [calls[start : start + size] for start in range(0, len(calls) - size, size)]
        rates += [sum(n for n, _ in window) / sum(s for _, s in window) for window in windows]
    return max(rates)


def compare(baseline: Sequence[Result], spud: Sequence[Result]) -> dict[str, Any]:
    """Return both speeds, the ratio round by round, and how far the accuracies are apart."""
    speeds = {
        name: [metric(result, "steps_per_second") for result in results]
        for name, results in (("baseline", baseline), ("spud", spud))
    }
    ratios = [fast / slow for slow, fast in zip(speeds["baseline"], speeds["spud"], strict=True)]
    points = list(zip(baseline[0]["checkpoints"], spud[0]["checkpoints"], strict=True))
    return {
        "steps_per_second": speeds,
        "cpu_seconds": {
            name: [round(metric(result, "user") + metric(result, "sys"), 2) for result in results]
            for name, results in (("baseline", baseline), ("spud", spud))
        },
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
        "best": {"baseline": round(best_rate(baseline), 1), "spud": round(best_rate(spud), 1)},
        "best_ratio": round(best_rate(spud) / best_rate(baseline), 3),
        "test_accuracy": {"baseline": baseline[0]["accuracy"]["all"], "spud": spud[0]["accuracy"]["all"]},
        "largest_difference": {
            "loss": max(abs(a["loss"] - b["loss"]) for a, b in points),
            "training_accuracy": max(abs(a["accuracy"] - b["accuracy"]) for a, b in points),
            "test_accuracy": abs(baseline[0]["accuracy"]["all"] - spud[0]["accuracy"]["all"]),
        },
        "checkpoints": [
            {"step": a["step"], "baseline": a["accuracy"], "spud": b["accuracy"]} for a, b in points
        ],
    }


def is_equal(comparison: Mapping[str, Any]) -> bool:
    """Whether both learned the same, up to the rounding of float32 sums in another order."""
    differences = comparison["largest_difference"]
    return bool(
        differences["training_accuracy"] <= TRAINING_TOLERANCE
        and differences["test_accuracy"] <= TEST_TOLERANCE
    )


def describe(comparison: Mapping[str, Any]) -> str:
    """Return the comparison for reading."""
    lines = [f"{'step':>6}  baseline    spud  (training accuracy)"]
    lines += [f"{p['step']:>6}  {p['baseline']:8.4f}{p['spud']:8.4f}" for p in comparison["checkpoints"]]
    accuracy, speeds = comparison["test_accuracy"], comparison["steps_per_second"]
    lines += [f"{'test':>6}  {accuracy['baseline']:8.4f}{accuracy['spud']:8.4f}", ""]
    for name, values in speeds.items():
        cpu = ", ".join(f"{seconds:.0f}" for seconds in comparison["cpu_seconds"][name])
        lines.append(f"{name:9}{', '.join(f'{value:.1f}' for value in values)} steps/s, {cpu} CPU seconds")
    lines.append(f"ratio    {comparison['ratio']:.2f} (median of {comparison['ratios']}), goal {GOAL}")
    best = comparison["best"]
    lines.append(
        f"best {WINDOW_STEPS} steps {best['baseline']} and {best['spud']} steps/s,"
        f" ratio {comparison['best_ratio']:.2f}"
    )
    lines.append(f"accuracies {'agree' if is_equal(comparison) else 'DIFFER'}")
    return "\n".join(lines)


def main() -> int:
    """Run both in turn and compare."""
    parser = argparse.ArgumentParser(description="Compare the RNN benchmark with a TensorFlow 1 session.")
    parser.add_argument("--data", required=True, help="folder with the four IDX files")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        load = os.getloadavg()[0]  # above 0.5 others compute too, and the ratio says little
        print(f"round {number + 1} of {options.rounds}, load average {load:.1f}", file=sys.stderr)
        rounds.append({name: run(name, options) for name in SCRIPTS})
    comparison = compare([r["baseline"] for r in rounds], [r["spud"] for r in rounds])
    print(json.dumps(comparison, indent=2) if options.json else describe(comparison))
    return 0 if comparison["ratio"] >= GOAL and is_equal(comparison) else 1


if __name__ == "__main__":
    sys.exit(main())
