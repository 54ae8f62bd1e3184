from __future__ import annotations

import json
import threading
import time

import pytest

from appliance.jobs.box import LOST, XID, Quarantine
from appliance.jobs.job import Share
from tests.cli.conftest import Spud
from tests.factories import make_gpu
from tests.web.box import WebBox

pytestmark = pytest.mark.unit

GIB = 1024**3


def quarantined(box: WebBox, index: int, cause: str = LOST) -> None:
    box.storage.box.quarantine(
        Quarantine(f"GPU-{index}", cause, f"GPU {index} is lost.", "boot", 1_800_000_000.0)
    )


def answering_scheduler(box: WebBox, *, is_well: bool = True) -> threading.Thread:
    """Do what the scheduler does with the next wish for a release."""

    def answer() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for entry in box.storage.box.quarantines():
                if entry.release_requested_by:
                    with box.storage.database.transaction():
                        box.storage.box.release(entry.gpu_uuid)
                        if not is_well:
                            quarantined(box, 0)
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_the_table_says_what_becomes_of_each_card(box: WebBox, spud: Spud) -> None:
    box.see(
        *(make_gpu(index) for index in range(4)),
        occupied={"GPU-2": "process 42 (python3) from outside Spud holds 3.1 GiB"},
    )
    for name in ("one", "two"):
        job = box.submit("ada", gpu_memory="2G", name=name)
        box.storage.lifecycle.start(job.id, [Share("GPU-1", 2 * GIB, 8 * GIB)], "boot")
    quarantined(box, 3)
    lines = spud("gpus").stdout.splitlines()
    assert lines[1].endswith("free")
    assert lines[2].endswith("1 one (ada, 2.0 GiB); 2 two (ada, 2.0 GiB)")
    assert lines[3].endswith("not given to jobs")
    assert lines[4].endswith("in quarantine")
    assert "GPU 2 is not given to jobs: process 42 (python3) from outside Spud holds 3.1 GiB" in lines
    assert lines[-1].startswith("GPU 3 is in quarantine since 2027-01-15")
    assert lines[-1].endswith("GPU 3 is lost.")


def test_the_same_in_json(box: WebBox, spud: Spud) -> None:
    box.see(make_gpu(0))
    quarantined(box, 0)
    (card,) = json.loads(spud("gpus", "--json").stdout)["gpus"]
    assert card["quarantine"]["cause"] == "lost"


@pytest.mark.parametrize("name", ["1", "GPU-1", "gpu-1"])
def test_a_card_is_released_by_number_uuid_or_its_beginning(box: WebBox, spud: Spud, name: str) -> None:
    box.see(make_gpu(0), make_gpu(1))
    quarantined(box, 1, XID)
    scheduler = answering_scheduler(box)
    result = spud("gpus", "release", name)
    scheduler.join()
    assert result.stdout == "GPU 1 (GPU-1) is given to jobs again.\n"
    assert box.storage.box.quarantines() == ()


def test_a_card_that_is_not_well_yet_says_so(box: WebBox, spud: Spud) -> None:
    box.see(make_gpu(0))
    quarantined(box, 0)
    scheduler = answering_scheduler(box, is_well=False)
    result = spud("gpus", "release", "0")
    scheduler.join()
    assert (result.exit_code, "is not well yet: GPU 0 is lost." in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("7", "This box has no GPU 7. Look at: spud gpus"),
        ("GPU", "GPU may be GPU-0, GPU-1. Name one of them."),
        ("0", "GPU GPU-0 is not in quarantine. Look at: spud gpus"),
    ],
)
def test_what_cannot_be_released_is_refused(box: WebBox, spud: Spud, name: str, sentence: str) -> None:
    box.see(make_gpu(0), make_gpu(1))
    result = spud("gpus", "release", name)
    assert (result.exit_code, sentence in result.stderr) == (1, True)


def test_only_admins_release(box: WebBox, spud_of_bob: Spud) -> None:
    box.see(make_gpu(0))
    quarantined(box, 0)
    assert "Only an administrator" in spud_of_bob("gpus", "release", "0").stderr
