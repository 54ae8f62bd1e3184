from __future__ import annotations

import pytest

from appliance.gpus.inventory import Inventory
from appliance.gpus.nvml import NvmlDriver
from appliance.metrics.gpu_collector import GpuCollector
from tests.metrics.samples import Samples
from tests.nvml.simulation import SimulatedGpus, uuid_of

pytestmark = pytest.mark.unit


@pytest.fixture
def collector(nvml_driver: NvmlDriver) -> GpuCollector:
    return GpuCollector(Inventory(nvml_driver, timeout_s=0.5, max_age_s=0))


def test_a_gpu_is_exported_in_base_units(collector: GpuCollector, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.set(1, "utilization_percent", 87)
    samples = Samples(collector)
    assert samples.value("spud_gpu_utilization_ratio", gpu="1", uuid=uuid_of(1)) == 0.87
    assert samples.value("spud_gpu_memory_total_bytes", gpu="1") == 8 * 1024**3
    assert samples.value("spud_gpu_temperature_celsius", gpu="1") == 34
    assert samples.value("spud_gpu_power_watts", gpu="1") == 8.12
    assert samples.value("spud_gpu_power_limit_watts", gpu="1") == 180
    assert samples.value("spud_gpu_up", gpu="1") == 1


def test_a_simulated_gpu_is_marked(collector: GpuCollector) -> None:
    samples = Samples(collector)
    assert samples.value("spud_gpu_info", uuid=uuid_of(0), simulated="true") == 1
    assert samples.value("spud_driver_info", version="580.95.05", simulated="true") == 1


def test_what_a_card_does_not_support_is_absent(
    collector: GpuCollector, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.unset(0, "power_milliwatts")
    samples = Samples(collector)
    assert samples.value("spud_gpu_power_watts", gpu="0") is None
    assert samples.value("spud_gpu_power_watts", gpu="1") == 8.12


def test_a_lost_gpu_keeps_its_identity_and_loses_the_rest(
    collector: GpuCollector, simulated_gpus: SimulatedGpus
) -> None:
    Samples(collector)
    simulated_gpus.lose(uuid_of(0))
    samples = Samples(collector)
    assert samples.value("spud_gpu_up", uuid=uuid_of(0)) == 0
    assert samples.value("spud_gpu_info", uuid=uuid_of(0)) == 1
    assert samples.value("spud_gpu_temperature_celsius", uuid=uuid_of(0)) is None
    assert samples.value("spud_gpu_temperature_celsius", uuid=uuid_of(1)) == 34


def test_a_gpu_lost_from_the_start_is_missing_from_those_listed(
    collector: GpuCollector, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.lose(uuid_of(0), at="lookup")
    samples = Samples(collector)
    assert samples.value("spud_driver_gpus") == 2
    assert samples.value("spud_gpu_up", uuid=uuid_of(0)) is None


def test_without_a_driver_the_driver_is_down(collector: GpuCollector, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.driver_not_loaded()
    samples = Samples(collector)
    assert samples.value("spud_driver_up") == 0
    assert samples.value("spud_driver_info") is None
    assert samples.value("spud_driver_gpus") is None
