"""What the scheduler sees of a box with simulated cards, through a real store; no engine answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import GpusSettings, Settings, load_settings
from appliance.containers.docker_engine import DockerEngine
from appliance.containers.docker_network import DockerNetwork
from appliance.containers.network import NetworkGuard
from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.gpus.xid import XidWatch
from appliance.jobs.box import LOST, XID, Box
from appliance.scheduler.survey import Surveyor
from appliance.storage import Storage, open_storage
from tests.factories import make_gpu
from tests.nvml.simulation import SimulatedGpus, uuid_of
from tests.system.running_box import until

pytestmark = pytest.mark.process

GIB = 1024**3


@pytest.fixture
def settings(tmp_path: Path, nvml_library: Path) -> Settings:
    return load_settings(
        None,
        {
            "SPUD_CONFIG": "/dev/null",
            "SPUD_STORE_DIRECTORY": str(tmp_path / "store"),
            "SPUD_ENGINE_SOCKET": f"unix://{tmp_path}/none.sock",
            "SPUD_GPUS_LIBRARY": str(nvml_library),
        },
    )


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings)


@pytest.fixture
def begin(settings: Settings, storage: Storage, nvml_driver: NvmlDriver) -> Iterator[Callable[[], Surveyor]]:
    """Begins to look, as a scheduler that starts does."""
    xids = XidWatch(nvml_driver)
    until(lambda: xids.watched, "events are heard")
    begun: list[Surveyor] = []

    def start(settings: Settings = settings) -> Surveyor:
        engine = DockerEngine(settings.engine, settings.gpus, "store")
        guard = NetworkGuard(DockerNetwork(settings.engine.socket), settings)
        inventory = Inventory(nvml_driver, max_age_s=0.1)
        surveyor = Surveyor(storage, engine, guard, inventory, xids, settings)
        surveyor.begin()
        begun.append(surveyor)
        return surveyor

    yield start
    for surveyor in begun:
        surveyor.end()
    xids.close()


def quarantine(storage: Storage) -> dict[str, str]:
    return {entry.gpu_uuid: entry.cause for entry in storage.box.quarantines()}


def test_the_box_is_recorded_for_the_other_processes(begin: Callable[[], Surveyor], storage: Storage) -> None:
    seen = begin().box
    assert seen is not None
    assert storage.box.box() == seen
    assert [gpu.uuid for gpu in seen.gpus] == [uuid_of(0), uuid_of(1)]
    assert "does not answer" in str(seen.engine_error)
    assert seen.disk_total_bytes > seen.disk_free_bytes > 0
    assert seen.hold is None


def test_a_stranger_is_seen_and_seen_to_leave(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    begin()
    simulated_gpus.hold_memory(uuid_of(1), pid=1, used_bytes=3 * GIB)
    until(lambda: occupied(storage), "the stranger is seen", timeout_s=5)
    assert "from outside Spud holds 3.0 GiB" in occupied(storage)[uuid_of(1)]
    simulated_gpus.unset(1, "process")
    simulated_gpus.set(1, "memory_used_bytes", 4 * 1024**2)
    until(lambda: not occupied(storage), "it is seen to leave", timeout_s=5)


def occupied(storage: Storage) -> dict[str, str]:
    return (storage.box.box() or Box()).occupied


def test_a_lost_card_stays_listed_in_quarantine(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    surveyor = begin()
    simulated_gpus.lose(uuid_of(0))
    until(lambda: quarantine(storage) == {uuid_of(0): LOST}, "it is in quarantine", timeout_s=5)
    assert surveyor.box is not None
    assert len(surveyor.box.gpus) == 2


def test_a_card_that_vanished_is_missed_by_the_next_scheduler_too(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.vanish(uuid_of(1))
    first = make_gpu(0)
    storage.box.set_box(Box(gpus=(replace(first, uuid=uuid_of(0)), replace(first, index=1, uuid=uuid_of(1)))))
    begin()
    (entry,) = storage.box.quarantines()
    assert entry.gpu_uuid == uuid_of(1)
    assert "was in this box before, and the driver does not list it" in entry.reason
    assert f"spud gpus release {uuid_of(1)}" in entry.reason


def test_simulated_cards_are_not_missed_where_nothing_is_simulated(
    begin: Callable[[Settings], Surveyor], settings: Settings, storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.write([])
    storage.box.set_box(Box(gpus=(make_gpu(0), replace(make_gpu(1), simulated=False))))
    box = begin(settings.model_copy(update={"gpus": GpusSettings()})).box
    assert box is not None
    assert [gpu.uuid for gpu in box.gpus] == ["GPU-1"]


def test_a_card_taken_out_for_good_is_forgotten_when_an_admin_says_so(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    surveyor = begin()
    simulated_gpus.vanish(uuid_of(1))
    until(lambda: quarantine(storage), "it is missed", timeout_s=5)
    storage.box.request_release(uuid_of(1), "ada")
    until(lambda: not quarantine(storage), "it is let go", timeout_s=5)
    assert [gpu.uuid for gpu in (surveyor.box or Box()).gpus] == [uuid_of(0)]


def test_a_critical_fault_is_seen_at_once_and_released_by_hand(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    begin()
    simulated_gpus.raise_xid(uuid_of(0), 31)
    simulated_gpus.raise_xid(uuid_of(1), 79)
    until(lambda: quarantine(storage) == {uuid_of(1): XID}, "it is in quarantine", timeout_s=5)
    storage.box.request_release(uuid_of(1), "ada")
    until(lambda: not quarantine(storage), "it is released", timeout_s=5)


def test_a_hung_card_delays_nothing_but_itself(
    begin: Callable[[], Surveyor], storage: Storage, simulated_gpus: SimulatedGpus
) -> None:
    begin()
    simulated_gpus.hang(uuid_of(0))
    simulated_gpus.hold_memory(uuid_of(1), pid=1, used_bytes=3 * GIB)
    until(lambda: occupied(storage), "the other card is looked at", timeout_s=10)
    assert list(occupied(storage)) == [uuid_of(1)]
    until(lambda: quarantine(storage) == {uuid_of(0): LOST}, "the hung one is in quarantine", timeout_s=5)


def test_a_nearly_full_disk_holds_jobs_back(
    begin: Callable[[Settings], Surveyor], settings: Settings
) -> None:
    jobs = settings.jobs.model_copy(update={"min_free_bytes": 2**60})
    box = begin(settings.model_copy(update={"jobs": jobs})).box
    assert box is not None
    assert "min_free_bytes" in str(box.hold)
    assert "spud prune" in str(box.hold)
