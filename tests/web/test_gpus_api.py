"""GPUs as the page shows them: from a real exporter over the simulated driver, or from the store without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.web.app import create_app
from tests.factories import make_gpu
from tests.nvml.simulation import SimulatedGpus, uuid_of
from tests.web.box import WebBox, bearer, process

pytestmark = pytest.mark.unit


def gpus(client: FlaskClient, token: str) -> Any:
    return client.get("/api/v1/gpus", headers=bearer(token)).json


def test_without_an_exporter_the_cards_are_named_without_readings(
    box: WebBox, client: FlaskClient, bob: str
) -> None:
    box.see(make_gpu(0))
    found = gpus(client, bob)
    assert found["gpus"][0]["name"] == "NVIDIA GeForce GTX 1070 Ti"
    assert found["gpus"][0]["up"] is None
    assert "does not answer" in found["exporter_error"]


def test_readings_come_from_the_exporter(
    tmp_path: Path, nvml_library: Path, simulated_gpus: SimulatedGpus
) -> None:
    variables = {"SPUD_GPUS_LIBRARY": str(nvml_library), "SPUD_SIMULATED_GPUS": str(simulated_gpus.path)}
    box = WebBox(tmp_path, **variables)
    simulated_gpus.set(0, "utilization_percent", 87)
    client, bob = create_app(box.settings, box.storage).test_client(), box.token("bob")
    with process("exporter", box.environ, f"http://{box.settings.exporter.listen}/healthz"):
        found = gpus(client, bob)
    assert found["exporter_error"] is None
    assert found["gpus"][0]["utilization_ratio"] == pytest.approx(0.87)
    assert found["gpus"][0]["simulated"] is True
    assert found["gpus"][0]["uuid"] == uuid_of(0)


def test_a_gpu_names_its_job_to_those_who_may_know(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.see(make_gpu(0), make_gpu(1))
    box.start(box.submit("ada", name="rnn", gpus=1), "GPU-0")
    admin, user = gpus(client, ada)["gpus"], gpus(client, bob)["gpus"]
    assert admin[0]["job"] == {"id": 1, "owner": "ada", "name": "rnn"}
    assert (user[0]["job"], user[0]["reserved"]) == (None, True)
    assert (user[1]["job"], user[1]["reserved"]) == (None, False)
