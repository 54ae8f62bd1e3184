"""A disk that fills up at submit costs nobody anything."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running_box import RunningBox

pytestmark = pytest.mark.docker


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "store"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "spud-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def box(tmp_path: Path, small_disk: Path) -> Iterator[RunningBox]:
    running = RunningBox(tmp_path, SPUD_JOBS_MIN_FREE_BYTES="0")
    running.start("web")
    yield running
    running.stop()


def test_an_upload_that_fills_the_disk_is_refused_and_leaves_nothing(
    box: RunningBox, small_disk: Path
) -> None:
    script = box.script("print()")
    (Path(script).parent / "large.bin").write_bytes(os.urandom(6 * 1024**2))
    done = box.spud("submit", script, check=False)
    assert done.returncode == 1
    assert "disk is full. Free some space" in done.stderr
    assert list((small_disk / "snapshots").iterdir()) == []
    assert box.storage.jobs.list() == ()


def test_what_fits_is_taken_afterwards(box: RunningBox, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(7 * 1024**2))
    script = box.script("print()")
    (Path(script).parent / "large.bin").write_bytes(os.urandom(2 * 1024**2))
    assert box.spud("submit", script, check=False).returncode == 1
    filler.unlink()
    assert box.submit(script) == 1
