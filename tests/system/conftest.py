from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running_box import RunningBox


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """A Spud without GPU that the tests of a module share."""
    running = RunningBox(tmp_path_factory.mktemp("box"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_box(tmp_path: Path) -> Iterator[RunningBox]:
    """A Spud for one test alone, not started yet."""
    running = RunningBox(tmp_path)
    yield running
    running.stop()
