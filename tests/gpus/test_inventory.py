from __future__ import annotations

import threading
import time

import pytest

from appliance.gpus.gpu import Gpu, GpuProcess, GpuReading
from appliance.gpus.inventory import Answer, DriverState, Inventory, merge
from appliance.gpus.nvml import GpuError, NvmlDriver
from tests.nvml.simulation import GTX_1070_TI, SimulatedGpus, uuid_of

pytestmark = pytest.mark.process

UP = DriverState("580.95.05", gpu_count=2, simulated=True, error=None)


@pytest.fixture
def inventory(nvml_driver: NvmlDriver) -> Inventory:
    return Inventory(nvml_driver, timeout_s=0.5, max_age_s=0)


def make_gpu(index: int, name: str) -> Gpu:
    return Gpu(index, name, "a card", 8, "00000000:01:00.0", "6.1", simulated=False)


def answer(gpu: Gpu) -> Answer:
    return Answer(gpu, GpuReading(gpu.uuid, 0.0, up=True))


def test_a_snapshot_holds_every_gpu_with_its_reading(inventory: Inventory) -> None:
    snapshot = inventory.snapshot()
    assert snapshot.driver.version == "580.95.05"
    assert [gpu.uuid for gpu in snapshot.gpus] == [uuid_of(0), uuid_of(1)]
    assert [reading.up for reading in snapshot.readings] == [True, True]


def test_a_hung_gpu_is_down_and_the_others_are_fresh(
    inventory: Inventory, simulated_gpus: SimulatedGpus
) -> None:
    inventory.snapshot()
    simulated_gpus.hang(uuid_of(0), "nvmlDeviceGetPowerUsage")
    simulated_gpus.set(1, "temperature_celsius", 77)
    hung, fresh = inventory.snapshot().readings
    assert not hung.up
    assert "did not answer within 0.5 s" in str(hung.error)
    assert fresh.temperature_celsius == 77


def test_a_gpu_that_still_hangs_costs_no_second_wait(
    inventory: Inventory, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.hang(uuid_of(0), "nvmlDeviceGetPowerUsage")
    inventory.snapshot()
    started_at = time.monotonic()
    inventory.snapshot()
    assert time.monotonic() - started_at < 0.4


def test_a_gpu_that_stops_hanging_is_read_again(inventory: Inventory, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.hang(uuid_of(0))
    assert [gpu.uuid for gpu in inventory.snapshot().gpus_up()] == [uuid_of(1)]
    simulated_gpus.recover(uuid_of(0))
    time.sleep(0.5)  # the hung call returns
    assert [gpu.uuid for gpu in inventory.snapshot().gpus_up()] == [uuid_of(0), uuid_of(1)]


def test_a_driver_that_hangs_takes_every_gpu_down_until_it_answers(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    inventory = Inventory(nvml_driver, timeout_s=0.3, max_age_s=0)
    assert len(inventory.snapshot().gpus_up()) == 2
    simulated_gpus.slow_down(latency_us=600_000)
    hung = inventory.snapshot()
    assert "The NVIDIA driver did not answer" in str(hung.driver.error)
    assert hung.gpus_up() == ()
    simulated_gpus.slow_down(0)
    time.sleep(1)
    assert len(inventory.snapshot().gpus_up()) == 2


def test_a_lost_gpu_keeps_its_identity(inventory: Inventory, simulated_gpus: SimulatedGpus) -> None:
    inventory.snapshot()
    simulated_gpus.lose(uuid_of(1), at="lookup")
    snapshot = inventory.snapshot()
    assert [gpu.uuid for gpu in snapshot.gpus] == [uuid_of(0), uuid_of(1)]
    assert [reading.up for reading in snapshot.readings] == [True, False]
    assert "GPU 1 is lost" in str(snapshot.readings[1].error)


def test_a_gpu_lost_before_it_was_seen_shows_in_the_drivers_error(
    inventory: Inventory, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.lose(uuid_of(1), at="lookup")
    snapshot = inventory.snapshot()
    assert len(snapshot.gpus) == 1
    assert snapshot.driver.gpu_count == 2
    assert "GPU 1 is lost" in str(snapshot.driver.error)


def test_a_vanished_gpu_is_down_and_says_so(inventory: Inventory, simulated_gpus: SimulatedGpus) -> None:
    inventory.snapshot()
    simulated_gpus.vanish(uuid_of(0))
    readings = {reading.gpu_uuid: reading for reading in inventory.snapshot().readings}
    assert readings[uuid_of(1)].up
    assert "no longer lists" in str(readings[uuid_of(0)].error)


def test_every_gpu_is_down_while_the_driver_is_away(
    inventory: Inventory, simulated_gpus: SimulatedGpus
) -> None:
    inventory.snapshot()
    simulated_gpus.driver_not_loaded()
    away = inventory.snapshot()
    simulated_gpus.driver_loaded()
    assert away.driver.version is None
    assert "not loaded" in str(away.driver.error)
    assert [reading.up for reading in away.readings] == [False, False]
    assert len(inventory.snapshot().gpus_up()) == 2


def test_concurrent_readers_share_one_collection(nvml_driver: NvmlDriver) -> None:
    inventory, snapshots = Inventory(nvml_driver, max_age_s=60), []
    readers = [threading.Thread(target=lambda: snapshots.append(inventory.snapshot())) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len({id(snapshot) for snapshot in snapshots}) == 1


def test_gpus_are_read_at_the_same_time(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.write([GTX_1070_TI] * 8)
    simulated_gpus.slow_down(latency_us=10_000)
    started_at = time.monotonic()
    snapshot = Inventory(nvml_driver).snapshot()
    assert len(snapshot.gpus_up()) == 8
    assert time.monotonic() - started_at < 0.8  # one after the other takes 8 x 12 calls x 10 ms


def test_the_error_of_an_index_goes_to_the_known_gpu_that_had_it() -> None:
    first, second = make_gpu(0, "GPU-a"), make_gpu(1, "GPU-b")
    snapshot = merge([first, second], UP, [answer(first), GpuError("GPU 1 hangs.")], 0.0)
    assert [reading.error for reading in snapshot.readings] == [None, "GPU 1 hangs."]
    assert snapshot.driver.error is None


def test_a_gpu_that_moved_to_another_index_is_listed_once() -> None:
    before, after = make_gpu(1, "GPU-b"), make_gpu(0, "GPU-b")
    assert merge([before], UP, [answer(after)], 0.0).gpus == (after,)


def test_a_fresh_reading_is_not_the_one_of_before(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    inventory = Inventory(nvml_driver, max_age_s=60)
    inventory.snapshot()
    simulated_gpus.hold_memory(uuid_of(1), pid=4242, used_bytes=1024**3)
    assert inventory.snapshot().readings[1].processes == ()
    assert inventory.read(uuid_of(1)).processes == (GpuProcess(4242, "compute", 1024**3),)


def test_a_fresh_reading_of_a_hung_gpu_is_down_in_time(
    inventory: Inventory, simulated_gpus: SimulatedGpus
) -> None:
    inventory.snapshot()
    simulated_gpus.hang(uuid_of(0))
    started_at = time.monotonic()
    readings = [inventory.read(uuid_of(index)) for index in (0, 0, 1)]
    assert [reading.up for reading in readings] == [False, False, True]
    assert time.monotonic() - started_at < 1.2


def test_fresh_readings_of_one_gpu_take_turns(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> None:
    inventory, readings = Inventory(nvml_driver), []
    inventory.snapshot()
    simulated_gpus.slow_down(latency_us=5_000)
    readers = [threading.Thread(target=lambda: readings.append(inventory.read(uuid_of(0)))) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [reading.up for reading in readings] == [True] * 4


def test_a_gpu_that_nobody_knows_is_down(inventory: Inventory) -> None:
    assert "lists no GPU GPU-other" in str(inventory.read("GPU-other").error)
