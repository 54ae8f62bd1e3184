from __future__ import annotations

import pytest

from appliance.gpus.gpu import GpuProcess
from appliance.gpus.nvml import DriverMismatch, DriverMissing, GpuLost, NvmlDriver
from tests.nvml.simulation import GTX_1070_TI, RTX_4090, TESLA_P100, UNKNOWN, SimulatedGpus, uuid_of

pytestmark = pytest.mark.unit


def test_a_gpu_is_known_by_its_identity(nvml_driver: NvmlDriver) -> None:
    gpu = nvml_driver.gpus()[1]
    assert (gpu.index, gpu.uuid) == (1, uuid_of(1))
    assert gpu.name == "NVIDIA GeForce GTX 1070 Ti"
    assert gpu.memory_total_bytes == 8 * 1024**3
    assert gpu.pci_bus_id == "00000000:02:00.0"
    assert gpu.compute_capability == "6.1"


def test_a_gpu_of_the_simulated_library_says_so(nvml_driver: NvmlDriver) -> None:
    assert nvml_driver.simulated
    assert all(gpu.simulated for gpu in nvml_driver.gpus())


def test_a_reading_is_in_base_units(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.set(0, "utilization_percent", 87)
    simulated_gpus.set(0, "power_milliwatts", 151_300)
    reading = nvml_driver.read(nvml_driver.gpus()[0])
    assert reading.up
    assert reading.utilization_ratio == pytest.approx(0.87)
    assert reading.power_watts == pytest.approx(151.3)
    assert reading.power_limit_watts == pytest.approx(180)
    assert reading.temperature_celsius == 34


def test_memory_used_leaves_out_what_the_driver_reserves(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.hold_memory(uuid_of(0), pid=4242, used_bytes=1024**3)
    assert nvml_driver.read(nvml_driver.gpus()[0]).memory_used_bytes == 1024**3


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("utilization_percent", "utilization_ratio"),
        ("temperature_celsius", "temperature_celsius"),
        ("power_milliwatts", "power_watts"),
        ("power_limit_milliwatts", "power_limit_watts"),
    ],
)
def test_what_a_card_does_not_support_is_none(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus, key: str, field: str
) -> None:
    simulated_gpus.unset(0, key)
    reading = nvml_driver.read(nvml_driver.gpus()[0])
    assert reading.up
    assert getattr(reading, field) is None


def test_every_profile_can_be_read(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.write([GTX_1070_TI, TESLA_P100, RTX_4090])
    gpus = nvml_driver.gpus()
    assert [gpu.compute_capability for gpu in gpus] == ["6.1", "6.0", "8.9"]
    assert all(nvml_driver.read(gpu).up for gpu in gpus)


@pytest.mark.parametrize("error", ["gpu_is_lost", UNKNOWN])
def test_a_gpu_lost_at_a_query_is_down_with_the_next_step(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus, error: str
) -> None:
    gpu = nvml_driver.gpus()[0]
    simulated_gpus.lose(gpu.uuid, error=error)
    reading = nvml_driver.read(gpu)
    assert not reading.up
    assert reading.temperature_celsius is None
    assert "is lost" in str(reading.error)
    assert "reboot" in str(reading.error)


@pytest.mark.parametrize("error", ["gpu_is_lost", UNKNOWN])
def test_a_gpu_lost_at_look_up_is_left_out_of_the_list(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus, error: str
) -> None:
    simulated_gpus.lose(uuid_of(0), at="lookup", error=error)
    assert [gpu.uuid for gpu in nvml_driver.gpus()] == [uuid_of(1)]
    with pytest.raises(GpuLost, match="GPU 0 is lost"):
        nvml_driver.gpu(0)


def test_a_vanished_gpu_shifts_the_indices_but_no_uuid(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.vanish(uuid_of(0))
    assert [(gpu.index, gpu.uuid) for gpu in nvml_driver.gpus()] == [(0, uuid_of(1))]


def test_a_driver_that_is_not_loaded_is_missing(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.driver_not_loaded()
    with pytest.raises(DriverMissing, match="modprobe nvidia"):
        nvml_driver.gpus()


def test_a_mismatch_of_library_and_module_asks_for_a_reboot(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.mismatch()
    with pytest.raises(DriverMismatch, match="reboot"):
        nvml_driver.gpus()


def test_a_driver_that_is_loaded_later_is_found(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.driver_not_loaded()
    with pytest.raises(DriverMissing):
        nvml_driver.gpus()
    simulated_gpus.driver_loaded()
    assert len(nvml_driver.gpus()) == 2


def test_a_driver_that_is_loaded_anew_is_used_again(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    assert len(nvml_driver.gpus()) == 2
    simulated_gpus.driver_loaded()
    assert all(nvml_driver.read(gpu).up for gpu in nvml_driver.gpus())


def test_a_reading_names_those_who_compute_and_draw(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.hold_memory(uuid_of(0), pid=4242, used_bytes=1024**3)
    simulated_gpus.hold_memory(uuid_of(0), pid=77, used_bytes=1024**2, kind="graphics")
    first, second = (nvml_driver.read(gpu) for gpu in nvml_driver.gpus())
    assert first.processes == (GpuProcess(4242, "compute", 1024**3), GpuProcess(77, "graphics", 1024**2))
    assert second.processes == ()


def test_the_drivers_own_memory_is_told_apart(nvml_driver: NvmlDriver) -> None:
    assert nvml_driver.gpus()[0].memory_reserved_bytes == 75 * 1024**2
