from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import Conflict
from appliance.scheduler.lock import hold, is_held

pytestmark = pytest.mark.unit


def test_a_store_has_one_scheduler(tmp_path: Path) -> None:
    with hold(tmp_path / "lock"), pytest.raises(Conflict, match="Another scheduler"), hold(tmp_path / "lock"):
        pass


def test_others_see_whether_it_lives(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    with hold(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
