"""The simulated library as nvidia-ml-py sees it: what the shipped code does not ask yet included."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pynvml
import pytest

from appliance.gpus.nvml import NvmlDriver
from tests.nvml.simulation import GTX_1070_TI, RTX_4090, TESLA_P100, SimulatedGpus, uuid_of

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parent


@pytest.fixture
def handles(nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus) -> list[Any]:
    """Handles of a GTX 1070 Ti, a P100 and an RTX 4090."""
    simulated_gpus.write([GTX_1070_TI, TESLA_P100, RTX_4090])
    count = nvml_driver.count()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]


def is_supported(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except pynvml.NVMLError_NotSupported:
        return False
    return True


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        (pynvml.nvmlDeviceGetTotalEnergyConsumption, (), [False, False, True]),
        (pynvml.nvmlDeviceGetFanSpeed, (), [True, False, True]),
        (pynvml.nvmlDeviceGetEccMode, (), [False, True, False]),
        (pynvml.nvmlDeviceGetTotalEccErrors, (1, 0), [False, True, False]),
        (pynvml.nvmlDeviceGetRetiredPages, (0,), [False, True, False]),
        (pynvml.nvmlDeviceGetSerial, (), [False, True, False]),
        (pynvml.nvmlDeviceGetRemappedRows, (), [False, False, False]),
        (pynvml.nvmlDeviceGetMigMode, (), [False, False, False]),
    ],
)
def test_each_card_lacks_what_the_real_one_lacks(
    handles: list[Any], call: Any, arguments: tuple[int, ...], expected: list[bool]
) -> None:
    assert [is_supported(call, handle, *arguments) for handle in handles] == expected


def test_both_ways_to_ask_for_memory_differ_by_what_is_reserved(handles: list[Any]) -> None:
    first = pynvml.nvmlDeviceGetMemoryInfo(handles[0])
    second = pynvml.nvmlDeviceGetMemoryInfo(handles[0], version=pynvml.nvmlMemory_v2)
    assert first.total == second.total == second.used + second.free + second.reserved
    assert first.used == second.used + second.reserved


def test_both_ways_to_ask_for_the_temperature_agree(handles: list[Any]) -> None:
    assert pynvml.nvmlDeviceGetTemperature(handles[1], 0) == 31
    assert pynvml.nvmlDeviceGetTemperatureV(handles[1], 0) == 31


@pytest.mark.parametrize(
    "list_processes",
    [
        pynvml.nvmlDeviceGetComputeRunningProcesses,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
    ],
)
def test_memory_can_be_held_by_a_process_that_is_dead(
    handles: list[Any], simulated_gpus: SimulatedGpus, list_processes: Any
) -> None:
    simulated_gpus.hold_memory(uuid_of(0), pid=4_000_000, used_bytes=3 * 1024**3)
    simulated_gpus.hold_memory(uuid_of(0), pid=17, used_bytes=1024, kind="graphics")
    processes = [(process.pid, process.usedGpuMemory) for process in list_processes(handles[0])]
    assert processes == [(4_000_000, 3 * 1024**3)]


def test_a_card_is_found_by_uuid_and_bus_id(handles: list[Any]) -> None:
    for handle in (
        pynvml.nvmlDeviceGetHandleByUUID(uuid_of(2)),
        pynvml.nvmlDeviceGetHandleByPciBusId("00000000:03:00.0"),
    ):
        assert pynvml.nvmlDeviceGetIndex(handle) == 2


def test_an_xid_event_is_delivered_once(handles: list[Any], simulated_gpus: SimulatedGpus) -> None:
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(handles[0], pynvml.nvmlEventTypeXidCriticalError, events)
    simulated_gpus.raise_xid(uuid_of(0), 79)
    assert pynvml.nvmlEventSetWait(events, 1000).eventData == 79
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait(events, 20)
    pynvml.nvmlEventSetFree(events)


def test_every_call_takes_the_set_latency(handles: list[Any], simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.slow_down(latency_us=50_000)
    started_at = time.monotonic()
    pynvml.nvmlDeviceGetPowerUsage(handles[0])
    assert 0.05 <= time.monotonic() - started_at < 1


def test_a_file_that_cannot_be_parsed_is_no_driver(
    nvml_driver: NvmlDriver, simulated_gpus: SimulatedGpus
) -> None:
    nvml_driver.count()
    simulated_gpus.path.write_text("[toaster]\n")
    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        pynvml.nvmlDeviceGetCount()


def test_the_makefile_writes_as_many_cards_as_asked(tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "-C", FOLDER, f"BUILD={tmp_path}", "GPUS=4"], check=True)
    lines = (tmp_path / "gpus.state").read_text().splitlines()
    assert [line for line in lines if line.startswith("uuid")] == [f"uuid = {uuid_of(i)}" for i in range(4)]
    assert (tmp_path / "libnvidia-ml.so.1").is_file()


def test_the_makefile_and_the_class_write_the_same_card(
    tmp_path: Path, simulated_gpus: SimulatedGpus
) -> None:
    subprocess.run(["make", "-s", "-C", FOLDER, "state", f"BUILD={tmp_path}", "GPUS=2"], check=True)
    by_make = {line for line in (tmp_path / "gpus.state").read_text().splitlines() if "=" in line}
    assert {line for line in simulated_gpus.path.read_text().splitlines() if "=" in line} == by_make


@pytest.mark.parametrize("arguments", [["17", GTX_1070_TI], ["four", GTX_1070_TI], ["1", "voodoo_2"]])
def test_a_wrong_count_or_profile_is_refused(arguments: list[str]) -> None:
    done = subprocess.run([FOLDER / "write_state", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("write_state: ")
