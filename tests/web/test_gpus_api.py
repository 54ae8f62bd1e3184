"""GPUs as the page shows them: from a real exporter over the simulated driver, or from the store without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.jobs.box import LOST, Quarantine
from appliance.jobs.job import Share
from appliance.web.app import create_app
from tests.factories import make_gpu
from tests.nvml.simulation import SimulatedGpus, uuid_of
from tests.web.box import WebBox, bearer, process

pytestmark = pytest.mark.unit

GIB = 1024**3


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
    assert admin[0]["job"] == {"id": 1, "owner": "ada", "name": "rnn", "memory_bytes": None}
    assert (user[0]["job"], user[0]["reserved"]) == (None, True)
    assert (user[1]["job"], user[1]["reserved"]) == (None, False)


def quarantined(box: WebBox, uuid: str) -> None:
    entry = Quarantine(uuid, LOST, "GPU 1 is lost.", "boot", 1_800_000_000.0)
    box.storage.box.quarantine(entry)


def test_jobs_that_share_a_card_are_all_named_to_those_who_may_know(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.see(make_gpu(0))
    for owner in ("ada", "bob"):
        job = box.submit(owner, gpu_memory="2G")
        box.storage.lifecycle.start(job.id, [Share("GPU-0", 2 * GIB, 8 * GIB)], "boot")
    (card,) = gpus(client, ada)["gpus"]
    assert [(job["id"], job["memory_bytes"]) for job in card["jobs"]] == [(1, 2 * GIB), (2, 2 * GIB)]
    (card,) = gpus(client, bob)["gpus"]
    assert [job["id"] for job in card["jobs"]] == [2]
    assert (card["job"]["id"], card["reserved_bytes"]) == (2, 4 * GIB)


def test_a_card_says_why_it_is_withheld(box: WebBox, client: FlaskClient, bob: str) -> None:
    box.see(make_gpu(0), make_gpu(1), occupied={"GPU-0": "process 42 from outside Spud holds 3.1 GiB"})
    quarantined(box, "GPU-1")
    first, second = gpus(client, bob)["gpus"]
    assert first["withheld"] == "process 42 from outside Spud holds 3.1 GiB"
    assert first["quarantine"] is None
    assert second["quarantine"] == {
        "cause": "lost",
        "reason": "GPU 1 is lost.",
        "since": "2027-01-15T08:00:00.000Z",
        "release_requested_by": None,
    }


def test_an_admin_asks_for_the_release_of_a_card(
    box: WebBox, client: FlaskClient, ada: str, bob: str
) -> None:
    box.see(make_gpu(0))
    path = "/api/v1/gpus/GPU-0/release"
    assert client.post(path, headers=bearer(bob)).status_code == 403
    answer = client.post(path, headers=bearer(ada))
    assert (answer.status_code, "is not in quarantine" in answer.text) == (409, True)
    quarantined(box, "GPU-0")
    assert client.post(path, headers=bearer(ada)).status_code == 202
    assert box.storage.box.quarantines()[0].release_requested_by == "ada"
    assert box.storage.audit.entries()[0].action == "gpu.release"
