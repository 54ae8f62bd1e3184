from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.doorbell import Doorbell
from appliance.storage import open_storage
from appliance.users.user import Role

pytestmark = pytest.mark.unit


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Return a folder whose path is longer than a socket's may be."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    return folder


def test_a_ring_is_heard_at_once(deep: Path) -> None:
    bell = Doorbell(deep)
    bell.listen()
    threading.Timer(0.05, Doorbell(deep).ring).start()
    began = time.monotonic()
    assert bell.wait(30)
    assert time.monotonic() - began < 10


def test_many_rings_count_as_one(deep: Path) -> None:
    bell = Doorbell(deep)
    bell.listen()
    for _ in range(5):
        bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_a_ring_that_nobody_hears_harms_nobody(deep: Path) -> None:
    Doorbell(deep).ring()


def test_a_bell_left_by_a_dead_scheduler_is_replaced(deep: Path) -> None:
    dead = Doorbell(deep)
    dead.listen()
    bell = Doorbell(deep)
    bell.listen()
    Doorbell(deep).ring()
    assert bell.wait(0)
    assert not dead.wait(0)


def test_every_change_of_the_store_rings(tmp_path: Path) -> None:
    storage = open_storage(load_settings(None, {"SPUD_STORE_DIRECTORY": str(tmp_path)}))
    storage.doorbell.listen()
    storage.users.add("ada", Role.USER)
    assert storage.doorbell.wait(0)
    storage.jobs.waiting()
    assert not storage.doorbell.wait(0)
