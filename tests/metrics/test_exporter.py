from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
from datetime import datetime
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.errors import SpudError
from appliance.metrics.exporter import run
from tests.metrics.conftest import Exporter
from tests.nvml.simulation import RTX_4090, TESLA_P100, SimulatedGpus, uuid_of

pytestmark = pytest.mark.process


def test_prometheus_finds_nothing_to_criticise(exporter: Exporter, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.write([TESLA_P100, RTX_4090])
    check = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exporter.get("/metrics"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert check.stdout + check.stderr == ""


def test_metrics_come_from_every_collector(exporter: Exporter) -> None:
    text = exporter.get("/metrics")
    assert 'spud_collector_success{collector="gpu"} 1.0' in text
    assert 'spud_collector_success{collector="job"} 1.0' in text
    assert 'spud_build_info{version="' in text
    assert "process_resident_memory_bytes" in text


def test_the_page_gets_every_gpu_in_json(exporter: Exporter) -> None:
    answer = json.loads(exporter.get("/api/gpus"))
    assert answer["driver"] == {"version": "580.95.05", "error": None, "simulated": True}
    assert datetime.fromisoformat(answer["collected_at"]).utcoffset() is not None
    assert answer["gpus"][1] == {
        "index": 1,
        "uuid": uuid_of(1),
        "name": "NVIDIA GeForce GTX 1070 Ti",
        "simulated": True,
        "up": True,
        "utilization_ratio": 0.0,
        "memory_used_bytes": 4194304,
        "memory_total_bytes": 8589934592,
        "temperature_celsius": 34,
        "power_watts": 8.12,
        "power_limit_watts": 180.0,
        "error": None,
    }


def test_the_exporter_outlives_its_driver(exporter: Exporter, simulated_gpus: SimulatedGpus) -> None:
    simulated_gpus.driver_not_loaded()
    assert "spud_driver_up 0.0" in exporter.get("/metrics")
    assert "not loaded" in json.loads(exporter.get("/api/gpus"))["driver"]["error"]
    simulated_gpus.driver_loaded()
    time.sleep(1.1)  # a collection is shared for 1 s
    assert "spud_driver_up 1.0" in exporter.get("/metrics")


def test_a_hung_gpu_delays_readers_by_two_seconds_at_most(
    exporter: Exporter, simulated_gpus: SimulatedGpus
) -> None:
    simulated_gpus.hang(uuid_of(0), "nvmlDeviceGetPowerUsage")
    started_at = time.monotonic()
    readers = [threading.Thread(target=exporter.get, args=["/metrics"]) for _ in range(6)]
    for reader in readers:
        reader.start()
    exporter.get("/healthz")
    assert time.monotonic() - started_at < 1
    for reader in readers:
        reader.join()
    assert time.monotonic() - started_at < 2.5
    gpus = json.loads(exporter.get("/api/gpus"))["gpus"]
    assert [gpu["uuid"] for gpu in gpus if gpu["up"]] == [uuid_of(1)]


def test_another_path_is_not_found(exporter: Exporter) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        exporter.get("/api/secrets")


def test_a_taken_port_is_told_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load_settings(
            environ={"SPUD_EXPORTER_LISTEN": address, "SPUD_STORE_DIRECTORY": str(tmp_path)}
        )
        with pytest.raises(SpudError, match=f"Cannot serve metrics on {address}: another program uses"):
            run(settings)


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    settings = load_settings(environ={"SPUD_EXPORTER_LISTEN": "192.0.2.1:9836"})
    with pytest.raises(SpudError, match=r"Cannot serve metrics on 192\.0\.2\.1:9836"):
        run(settings)
