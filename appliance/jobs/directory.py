"""JobDirectory: every path of a job on the box.

jobs/<id>/<attempt>/workspace    the private, writable copy of the code; /workspace in the container
jobs/<id>/<attempt>/output       what the job wants to keep; /output
jobs/<id>/checkpoints            what a later attempt can go on from; /checkpoints in all of them
jobs/<id>/<attempt>/home         $HOME of the job
jobs/<id>/<attempt>/passwd       the container's /etc/passwd, so that the owner's uid has a name
jobs/<id>/<attempt>/output.log   the log; see jobs/log.py for its form
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """The folders of one attempt."""

    root: Path

    @classmethod
    def of(cls, store: Path, job_id: int, attempt: int) -> JobDirectory:
        """Return the directory of an attempt below the store's directory."""
        return cls(store / "jobs" / str(job_id) / str(attempt))

    @property
    def workspace(self) -> Path:
        """The job's working directory."""
        return self.root / "workspace"

    @property
    def output(self) -> Path:
        """What the job writes to /output."""
        return self.root / "output"

    @property
    def checkpoints(self) -> Path:
        """What all attempts of the job share at /checkpoints."""
        return self.root.parent / "checkpoints"

    @property
    def home(self) -> Path:
        """The job's $HOME."""
        return self.root / "home"

    @property
    def passwd(self) -> Path:
        """The generated /etc/passwd."""
        return self.root / "passwd"

    @property
    def log(self) -> Path:
        """The log of the attempt."""
        return self.root / "output.log"
