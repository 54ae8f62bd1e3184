"""A box with jobs in every state, for a fuzzer to meet something wherever it looks."""

from __future__ import annotations

from pathlib import Path

from appliance.jobs.job import Attempt
from appliance.users.user import Role
from tests.factories import make_gpu
from tests.web.box import FAILED, WebBox

NAMES = ("ada", "bob", "eve")
ADMINISTRATOR, USER, OTHER = NAMES
JOBS = range(1, 7)
OTHERS_JOBS = range(4, 7)
OTHER_SECRET = "of-nobodys-business"


def filled_box(folder: Path) -> WebBox:
    """Return a box with two users, a job of each in every state, and folders in which links lead out."""
    box = WebBox(folder, SPUD_JOBS_CODE_MAX_BYTES="200000", SPUD_JOBS_MIN_FREE_BYTES="0")
    box.see(make_gpu(0), make_gpu(1))
    for name in NAMES:
        box.token(name, Role.ADMIN if name == ADMINISTRATOR else Role.USER)
    for owner in (USER, OTHER):
        box.storage.secrets.set(box.storage.users.get(owner).id, "WANDB_API_KEY", OTHER_SECRET)
        ended = box.start(box.submit(owner, retries=1))
        _leave_traces(box, ended)
        box.finish(ended, FAILED)
        runs = box.start(box.submit(owner, gpus=1), f"GPU-{NAMES.index(owner) - 1}")
        _leave_traces(box, runs)
        box.submit(owner, name="waits", env={"A": "1"})
    return box


def _leave_traces(box: WebBox, attempt: Attempt) -> None:
    directory = box.storage.job_directory(attempt)
    box.write(attempt, "Step 1, Minibatch Loss= 2.0791\nStep 2\r\x1b[31mStep 3\n\xff no end")
    (directory.output / "model").mkdir()
    (directory.output / "model" / "weights.bin").write_bytes(bytes(range(256)))
    (directory.output / "outside").symlink_to("/etc")
    (directory.workspace / "passwd").symlink_to("/etc/passwd")
    (directory.workspace / "train.py").write_text("print()\n")
