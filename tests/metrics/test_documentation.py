from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.jobs.job import Share
from appliance.jobs.lifecycle import Lifecycle
from appliance.jobs.spec import parse_spec
from appliance.jobs.store import JobStore
from appliance.users.store import UserStore
from appliance.users.user import Role
from tests.metrics.conftest import Exporter
from tests.metrics.samples import samples_of

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented() -> dict[str, set[str]]:
    """Return the labels of every metric in the tables of docs/metrics.md."""
    rows = re.findall(r"^\| `(spud_\w+)` \|[^|]*\|[^|]*\|([^|]*)\|", PAGE.read_text(), flags=re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels))) for name, labels in rows}


def hold_a_gpu(path: Path) -> None:
    database = Database(path)
    owner = UserStore(database).add("ada", Role.USER)
    store = JobStore(database)
    job = store.add(parse_spec({"command": ["true"]}), owner, snapshot=None, git_commit=None)
    Lifecycle(database).start(job.id, [Share("GPU-a")], boot_id="boot")


def test_every_metric_is_documented_with_its_labels(exporter: Exporter, tmp_path: Path) -> None:
    hold_a_gpu(tmp_path / "spud.db")
    exported = {
        name: set(labels[0])
        for name, labels in samples_of(exporter.get("/metrics")).items()
        if name.startswith("spud_")
    }
    assert documented() == exported
