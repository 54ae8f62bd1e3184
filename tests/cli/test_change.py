from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = pytest.mark.unit


def test_a_job_is_changed(box: WebBox, spud: Spud) -> None:
    box.submit("ada", time=60)
    assert (
        spud("change", "1", "--priority", "5", "--name", "late").stdout
        == "Job 1 now has priority 5, name late.\n"
    )
    assert spud("change", "1", "--time", "4h").stdout == "Job 1 now has time limit 4h.\n"
    job = box.storage.jobs.get(1)
    assert (job.spec.priority, job.name, job.spec.time) == (5, "late", 4 * 3600)


def test_a_limit_is_taken_away(box: WebBox, spud: Spud) -> None:
    box.submit("ada", time=60)
    assert spud("change", "1", "--time", "none").stdout == "Job 1 now has no time limit.\n"
    assert box.storage.jobs.get(1).spec.time is None


def test_the_changed_job_is_told_in_json(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    assert json.loads(spud("change", "1", "--priority", "-3", "--json").stdout)["priority"] == -3


def test_nothing_to_change_is_misuse(spud: Spud) -> None:
    result = spud("change", "1")
    assert (result.exit_code, "Give one of --priority" in result.stderr) == (2, True)
