"""The exporter as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nvml.simulation import SimulatedGpus


def exporter_command() -> list[str]:
    return [sys.executable, "-c", "from appliance.cli.exporter import exporter; exporter()"]


def exporter_environment(address: str, library: Path, store: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SPUD_EXPORTER_LISTEN": address,
        "SPUD_GPUS_LIBRARY": str(library),
        "SPUD_STORE_DIRECTORY": str(store),
    }


@dataclass(frozen=True)
class Exporter:
    """A running exporter."""

    address: str

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(200):
            try:
                self.get("/healthz")
            except urllib.error.URLError:
                assert process.poll() is None, "the exporter ended"
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the exporter did not start within 10 s")


@pytest.fixture
def exporter(nvml_library: Path, simulated_gpus: SimulatedGpus, tmp_path: Path) -> Iterator[Exporter]:
    """The exporter of the simulated box, with an empty store."""
    running = Exporter(f"127.0.0.1:{free_port()}")
    environment = exporter_environment(running.address, nvml_library, tmp_path)
    with subprocess.Popen(exporter_command(), env=environment) as process:
        try:
            running.wait(process)
            yield running
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
