from __future__ import annotations

import json
import threading
import time

import pytest

from appliance.cli.bench import choose_dataset
from appliance.errors import NotFound
from tests.cli.conftest import Spud
from tests.factories import make_gpu
from tests.web.box import FAILED, WebBox

pytestmark = pytest.mark.unit


def test_mnist_is_taken_where_it_is() -> None:
    assert choose_dataset(["fashion-mnist", "mnist"]) == "mnist"


def test_other_data_set_is_taken_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_dataset(["fashion-mnist"]) == "fashion-mnist"
    assert "This box has no mnist" in capsys.readouterr().err


def test_box_without_data_is_told_what_to_do() -> None:
    with pytest.raises(NotFound, match="sudo spud data fetch mnist"):
        choose_dataset([])


@pytest.fixture
def _data(box: WebBox) -> None:
    folder = box.settings.data.directory / "mnist"
    folder.mkdir(parents=True)
    manifest = {
        "name": "mnist",
        "title": "MNIST",
        "source": "a test",
        "imported_at": "2026-11-21T09:00:00Z",
        "files": [{"name": "a", "bytes": 1, "sha256": "0" * 64}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.usefixtures("_data")
def test_benchmark_is_a_job_with_the_script_alone(box: WebBox, spud: Spud) -> None:
    box.see(make_gpu(0))
    assert spud("bench", "rnn", "--steps", "10", "--detach").exit_code == 0
    job = box.storage.jobs.get(1)
    assert job.spec.command == ("python3", "rnn.py", "--data", "/data/mnist", "--steps", "10")
    assert (job.spec.gpus, job.spec.data) == (1, ("mnist",))
    box.storage.snapshots.unpack(job.snapshot or "", workspace := box.settings.store.directory / "unpacked")
    assert [path.name for path in workspace.iterdir()] == ["rnn.py"]


@pytest.mark.usefixtures("_data")
def test_result_is_printed_when_the_job_is_over(box: WebBox, spud: Spud) -> None:
    threading.Thread(target=play_scheduler, args=(box,), daemon=True).start()
    result = spud("bench", "rnn", "--json")
    assert json.loads(result.stdout) == {"steps": 10}
    assert "transcript" in result.stderr
    assert f"The job's page: {box.url}/jobs/1" in result.stderr


def play_scheduler(box: WebBox) -> None:
    while not box.storage.jobs.waiting():
        time.sleep(0.02)
    attempt = box.start(box.storage.jobs.waiting()[0])
    box.write(attempt, "transcript\n")
    (box.storage.job_directory(attempt).output / "result.json").write_text('{"steps": 10}')
    box.finish(attempt)


@pytest.mark.usefixtures("_data")
def test_failed_benchmark_has_no_result_and_its_jobs_exit_code(box: WebBox, spud: Spud) -> None:
    def play() -> None:
        while not box.storage.jobs.waiting():
            time.sleep(0.02)
        box.finish(box.start(box.storage.jobs.waiting()[0]), FAILED)

    threading.Thread(target=play, daemon=True).start()
    result = spud("bench", "rnn")
    assert (result.stdout, result.exit_code) == ("", 1)
