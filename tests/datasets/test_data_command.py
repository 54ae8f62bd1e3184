"""`spud data` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.datasets.dataset import StoredDataSet
from appliance.datasets.library import MANIFEST

pytestmark = pytest.mark.unit


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPUD_DATA_DIRECTORY", str(tmp_path / "data"))
    return tmp_path


def spud(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments])


def store(box: Path) -> StoredDataSet:
    path = box / "data/mnist"
    path.mkdir(parents=True)
    dataset = StoredDataSet("mnist", "MNIST", (), "/somewhere", "2026-11-21T10:00:00Z", path)
    (path / MANIFEST).write_text(json.dumps(dataset.to_json()))
    return dataset


def test_an_empty_library_says_how_to_fill_it(box: Path) -> None:
    assert "spud data fetch mnist" in spud("list").stdout


def test_list_shows_where_a_data_set_came_from(box: Path) -> None:
    store(box)

    assert "/somewhere" in spud("list").stdout


def test_list_in_json_adds_the_path_to_the_manifest(box: Path) -> None:
    dataset = store(box)

    assert json.loads(spud("list", "--json").stdout) == [dataset.to_json() | {"path": str(dataset.path)}]


def test_fetch_exits_3_when_no_mirror_can_be_reached(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens on the port of `discard`
    result = spud("fetch", "mnist")

    assert result.exit_code == 3
    assert "spud data import mnist FOLDER" in result.stderr


def test_fetch_of_what_is_there_does_nothing(box: Path) -> None:
    store(box)
    result = spud("fetch", "mnist")

    assert (result.exit_code, result.stderr) == (0, "")
    assert "up to date" in result.stdout


def test_import_of_the_wrong_folder_exits_2(box: Path) -> None:
    result = spud("import", "fashion-mnist", str(box))

    assert result.exit_code == 2
    assert "holds no train-images-idx3-ubyte.gz" in result.stderr
