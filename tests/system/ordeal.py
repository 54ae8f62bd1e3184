"""Jobs that prove what became of them, and the check that nothing was lost, doubled, leaked or misjudged."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.jobs import log
from appliance.jobs.job import Attempt, Job, JobState
from appliance.jobs.reason import Outcome
from tests.system.own_engine import OwnEngine
from tests.system.running_box import RunningBox, until

SCRIPT = """\
import fcntl, os, sys, time
lines, pause, code = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
with open("/checkpoints/starts", "a") as starts:
    starts.write(os.environ["SPUD_ATTEMPT"] + "\\n")
    starts.flush()
    os.fsync(starts.fileno())
    fcntl.flock(starts, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for number in range(lines):
        print("line", number, flush=True)
        time.sleep(pause)
sys.exit(code)
"""
"""Notes its start where all attempts see it, and fails when another one of the same job is running."""


CUT_OFF = "[spud] The engine was down when the job ended"
"""What Spud says where the engine has lost the last lines of a container that ended without it."""


class Ordeal:
    """A Spud whose jobs go through whatever a test does to it."""

    def __init__(self, box: RunningBox, engine: OwnEngine | None = None) -> None:
        self.box = box
        self.engine = engine
        self.acknowledged: set[int] = set()
        self._script = box.script(SCRIPT)

    def submit(self, lines: int, pause_s: float, code: int, *options: str) -> int | None:
        """Submit a job; return its id, or None when the page did not acknowledge it."""
        words = (*options, self._script, "--", str(lines), str(pause_s), str(code))
        answer = self.box.spud("submit", "--json", *words, check=False)
        if answer.returncode:
            return None
        job_id = int(json.loads(answer.stdout)["id"])
        self.acknowledged.add(job_id)
        return job_id

    def wait_until_over(self, timeout_s: float = 120) -> None:
        """Wait until every job is finished and every container of theirs is gone or at rest."""
        until(
            lambda: all(job.is_finished for job in self._jobs()),
            "every job is finished",
            timeout_s,
        )

    def faults(self) -> list[str]:
        """Return all that is wrong with the jobs; they must be over."""
        storage = self.box.storage
        jobs = self._jobs()
        found = [f"job {job_id} is lost" for job_id in self.acknowledged - {job.id for job in jobs}]
        found += [fault for job in jobs for fault in self._faults_of(job)]
        found += [f"{held} is still reserved" for held in storage.jobs.reservations()]
        found += [f"{entry} is quarantined" for entry in storage.box.quarantines()]
        if self.engine:
            found += [f"container {name} still runs" for name in self.engine.running()]
        return found

    def _jobs(self) -> tuple[Job, ...]:
        return self.box.storage.jobs.list(limit=100_000)

    def _faults_of(self, job: Job) -> list[str]:
        lines, _, code = job.spec.command[-3:]
        attempts = self.box.storage.jobs.attempts(job.id)
        starts = self._starts(job)
        found = [f"attempt {number} started twice" for number in starts if starts.count(number) > 1]
        found += [f"attempt {number} is not recorded" for number in starts if number > len(attempts)]
        if job.verdict is None:
            found.append("it has no verdict")
        elif job.verdict.outcome is not Outcome.CANCELLED:
            found += self._faults_of_end(job, attempts, int(lines), int(code))
        return [f"job {job.id} ({job.verdict}): {fault}" for fault in found]

    def _faults_of_end(self, job: Job, attempts: tuple[Attempt, ...], lines: int, code: int) -> list[str]:
        found = []
        if job.verdict and job.verdict.exit_code != code:
            found.append(f"its exit code was {code}")
        if any(attempt.verdict is None for attempt in attempts):
            found.append("an attempt is still open")
        if attempts[-1].number not in self._starts(job):
            found.append(f"attempt {attempts[-1].number} never started")
        wanted = "".join(f"line {number}\n" for number in range(lines))
        written, cut_off, _ = self._log(attempts[-1]).partition(CUT_OFF)
        if not (wanted.startswith(written) if cut_off else written == wanted):
            found.append(f"its log is {written!r}")
        return found

    def _starts(self, job: Job) -> list[int]:
        path = self.box.storage.directory / "jobs" / str(job.id) / "checkpoints" / "starts"
        return [int(number) for number in path.read_text().split()] if path.exists() else []

    def _log(self, attempt: Attempt) -> str:
        path: Path = self.box.storage.job_directory(attempt).log
        return b"".join(text for _, text in log.read(path)).decode()


def is_pending_or_over(job: Job) -> bool:
    """Return whether no container of the job can run."""
    return job.state in (JobState.PENDING, JobState.FINISHED)
