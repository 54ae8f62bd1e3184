"""The GPUs and their driver as metrics. What a card does not report is absent, never 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from appliance.gpus.gpu import GpuReading
from appliance.gpus.inventory import DriverState, Inventory, Snapshot

_READING_GAUGES: tuple[tuple[str, str, Callable[[GpuReading], float | None]], ...] = (
    ("spud_gpu_up", "Whether the GPU answers.", lambda reading: reading.up),
    (
        "spud_gpu_utilization_ratio",
        "Share of the last sample period in which a kernel ran, 0 to 1.",
        lambda reading: reading.utilization_ratio,
    ),
    (
        "spud_gpu_memory_used_bytes",
        "Memory that processes hold.",
        lambda reading: reading.memory_used_bytes,
    ),
    ("spud_gpu_memory_total_bytes", "Memory of the GPU.", lambda reading: reading.memory_total_bytes),
    ("spud_gpu_temperature_celsius", "Temperature of the core.", lambda reading: reading.temperature_celsius),
    ("spud_gpu_power_watts", "Power drawn now.", lambda reading: reading.power_watts),
    ("spud_gpu_power_limit_watts", "Power limit in force.", lambda reading: reading.power_limit_watts),
)


class GpuCollector:
    """Metrics of the inventory's snapshot."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the driver and of every GPU seen since the start."""
        snapshot = self._inventory.snapshot()
        yield from _driver_metrics(snapshot.driver)
        yield _info(snapshot)
        yield from _readings(snapshot)


def _driver_metrics(driver: DriverState) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "spud_driver_up", "Whether the NVIDIA driver answers.", driver.version is not None
    )
    if driver.version is None or driver.gpu_count is None:
        return
    info = GaugeMetricFamily(
        "spud_driver_info", "The NVIDIA driver; always 1.", labels=["version", "simulated"]
    )
    info.add_metric([driver.version, _word(driver.simulated)], 1)
    yield info
    yield GaugeMetricFamily("spud_driver_gpus", "GPUs that the driver lists.", driver.gpu_count)


def _info(snapshot: Snapshot) -> Metric:
    """Return the identities, which stay when a GPU is lost or its driver unloaded."""
    names = ["gpu", "uuid", "name", "driver_version", "pci_bus_id", "compute_capability", "simulated"]
    info = GaugeMetricFamily("spud_gpu_info", "What the GPU is; always 1.", labels=names)
    for gpu in snapshot.gpus:
        values = [
            str(gpu.index),
            gpu.uuid,
            gpu.name,
            snapshot.driver.version or "",
            gpu.pci_bus_id,
            gpu.compute_capability or "",
            _word(gpu.simulated),
        ]
        info.add_metric(values, 1)
    return info


def _readings(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text, value_of in _READING_GAUGES:
        family = GaugeMetricFamily(name, text, labels=["gpu", "uuid"])
        for gpu, reading in zip(snapshot.gpus, snapshot.readings, strict=True):
            value = value_of(reading)
            if value is not None:
                family.add_metric([str(gpu.index), gpu.uuid], value)
        yield family


def _word(fact: bool) -> str:  # noqa: FBT001 - it is the whole argument
    return "true" if fact else "false"
