"""Which driver library is loaded; each case in a process of its own, since the first one loaded stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.nvml.simulation import SimulatedGpus

pytestmark = pytest.mark.unit

_OPEN = """
import sys
from appliance.gpus.nvml import GpuError, NvmlDriver
for library in sys.argv[1:]:
    try:
        print(len(NvmlDriver(library).gpus()), "GPUs")
    except GpuError as error:
        print(type(error).__name__, error)
"""


def open_drivers(*libraries: Path | str, search: Path | str = "") -> str:
    arguments = [sys.executable, "-c", _OPEN, *map(str, libraries)]
    environment = {"LD_LIBRARY_PATH": str(search)}
    return subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_configured_library_is_loaded(nvml_library: Path, simulated_gpus: SimulatedGpus) -> None:
    assert open_drivers(nvml_library) == "2 GPUs\n"


def test_without_one_the_loader_searches(nvml_library: Path, simulated_gpus: SimulatedGpus) -> None:
    assert open_drivers("", search=nvml_library.parent) == "2 GPUs\n"


def test_no_library_is_a_missing_driver(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")  # found before any real one
    assert open_drivers("", search=tmp_path).startswith("DriverMissing No NVIDIA driver is installed")


def test_a_wrong_path_names_the_setting() -> None:
    output = open_drivers("/nowhere/libnvidia-ml.so.1")
    assert output.startswith("DriverMissing Cannot load the driver library /nowhere/libnvidia-ml.so.1")
    assert "[gpus] library" in output


def test_another_library_is_refused(nvml_library: Path, simulated_gpus: SimulatedGpus) -> None:
    output = open_drivers("libz.so.1", search=nvml_library.parent)
    assert output.startswith("DriverMissing libz.so.1 is not a libnvidia-ml.so.1")


def test_a_library_that_appears_later_is_loaded(nvml_library: Path, simulated_gpus: SimulatedGpus) -> None:
    output = open_drivers("/nowhere/libnvidia-ml.so.1", nvml_library).splitlines()
    assert output[0].startswith("DriverMissing")
    assert output[1] == "2 GPUs"
