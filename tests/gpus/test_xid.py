from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from appliance.gpus.nvml import NvmlDriver
from appliance.gpus.xid import Xid, XidWatch
from tests.nvml.simulation import SimulatedGpus, uuid_of
from tests.system.running_box import until

pytestmark = pytest.mark.process


@pytest.fixture
def watch(nvml_driver: NvmlDriver) -> Iterator[XidWatch]:
    watch = XidWatch(nvml_driver)
    until(lambda: watch.watched == {uuid_of(0), uuid_of(1)}, "both GPUs are listened to", timeout_s=5)
    yield watch
    watch.close()


def codes(watch: XidWatch, index: int, since: float = 0) -> list[int]:
    return [xid.code for xid in watch.since(uuid_of(index), since)]


def test_what_a_gpu_reports_is_known_by_its_uuid(watch: XidWatch, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.raise_xid(uuid_of(1), 31)
    simulated_gpus.raise_xid(uuid_of(1), 79)
    until(lambda: codes(watch, 1) == [31, 79], "both events came", timeout_s=5)
    assert codes(watch, 0) == []


def test_only_what_came_since_then_is_told(watch: XidWatch, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.raise_xid(uuid_of(0), 13)
    until(lambda: codes(watch, 0), "the event came", timeout_s=5)
    between = time.time()
    simulated_gpus.raise_xid(uuid_of(0), 48)
    until(lambda: codes(watch, 0, between), "the second one came", timeout_s=5)
    assert codes(watch, 0, between) == [48]


def test_a_card_that_falls_off_the_bus_is_named_though_it_no_longer_answers(
    watch: XidWatch, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.lose(uuid_of(0))
    simulated_gpus.raise_xid(uuid_of(1), 79)
    until(lambda: codes(watch, 1) == [79], "the event came", timeout_s=5)


def test_events_come_again_after_the_driver_was_loaded_anew(
    watch: XidWatch, nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.driver_not_loaded()
    until(lambda: not watch.watched, "the driver is missed", timeout_s=5)
    simulated_gpus.driver_loaded()
    until(lambda: watch.watched, "the GPUs are listened to again", timeout_s=10)
    simulated_gpus.raise_xid(uuid_of(0), 62)
    until(lambda: codes(watch, 0) == [62], "the event came", timeout_s=5)


def test_whoever_waits_is_woken_at_once(watch: XidWatch, simulated_gpus: SimulatedGpus) -> None:
    watch.wait(0)
    simulated_gpus.raise_xid(uuid_of(0), 79)
    started_at = time.monotonic()
    watch.wait(10)
    assert time.monotonic() - started_at < 2


def test_a_gpu_without_events_is_absent(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.unset(0, "event_types")
    watch = XidWatch(nvml_driver)
    until(lambda: watch.watched == {uuid_of(1)}, "the other one is listened to", timeout_s=5)
    watch.close()


def test_a_fault_says_what_it_means() -> None:
    assert Xid("GPU-0", 79, 0.0).text == "GPU GPU-0 reported Xid 79 (GPU has fallen off the bus)."
    assert Xid("GPU-0", 999, 0.0).text == "GPU GPU-0 reported Xid 999."


@pytest.mark.parametrize("code", [13, 31, 43, 45, 63, 92, 94, 154])
def test_what_needs_no_reset_is_not_critical(code: int) -> None:
    assert not Xid("GPU-0", code, 0.0).is_critical


@pytest.mark.parametrize("code", [48, 62, 64, 74, 79, 95, 119, 120])
def test_what_needs_a_reset_is_critical(code: int) -> None:
    assert Xid("GPU-0", code, 0.0).is_critical
