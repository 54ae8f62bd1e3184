"""Fixtures over the simulated driver library, which is compiled once a session.

pynvml loads one library per process and keeps its session: whoever opens a driver in the test's own process
takes `nvml_driver`, which closes it; whole processes are told the library by a variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.gpus.nvml import NvmlDriver
from tests.nvml.simulation import GTX_1070_TI, SimulatedGpus, build


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the simulated libnvidia-ml.so.1."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def simulated_gpus(nvml_library: Path) -> Iterator[SimulatedGpus]:
    """A box with two GTX 1070 Ti, until the test changes it."""
    gpus = SimulatedGpus(nvml_library.parent)
    gpus.write([GTX_1070_TI, GTX_1070_TI])
    yield gpus
    gpus.write([])  # ends calls that still hang


@pytest.fixture
def nvml_driver(nvml_library: Path, simulated_gpus: SimulatedGpus) -> Iterator[NvmlDriver]:
    """The driver of the simulated box."""
    driver = NvmlDriver(str(nvml_library))
    yield driver
    driver.close()
