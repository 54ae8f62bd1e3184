from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli.fetch import choose, safe_target
from appliance.errors import InvalidRequest
from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = pytest.mark.unit


@pytest.fixture
def _kept(box: WebBox, spud: Spud) -> None:
    """A job 1 that has kept two files and left one in its workspace."""
    attempt = box.start(box.submit("ada"))
    folder = box.storage.job_directory(attempt)
    (folder.output / "models").mkdir()
    (folder.output / "result.json").write_text("{}")
    (folder.output / "models" / "a.bin").write_bytes(b"\0\1")
    (folder.workspace / "notes.txt").write_text("x")
    box.finish(attempt)


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_a_job_that_kept_no_output_says_what_it_has(box: WebBox, spud: Spud) -> None:
    attempt = box.start(box.submit("ada"))
    box.finish(attempt)
    assert "has kept no files. Its log is there: spud logs 1" in spud("fetch", "1").stderr
    (box.storage.job_directory(attempt).workspace / "train.py").write_text("pass")
    assert spud("fetch", "1").stderr.rstrip().endswith("spud fetch 1 workspace")


@pytest.mark.usefixtures("_kept")
def test_output_is_fetched(spud: Spud) -> None:
    assert spud("fetch", "1").stdout == "Fetched 2 files, 4 B into job-1\n"
    assert files("job-1") == ["output/models/a.bin", "output/result.json"]


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize(
    ("wanted", "brought"),
    [
        ("result.json", ["output/result.json"]),
        ("models", ["output/models/a.bin"]),
        ("workspace/notes.txt", ["workspace/notes.txt"]),
    ],
)
def test_path_chooses_files_and_folders(spud: Spud, wanted: str, brought: list[str]) -> None:
    spud("fetch", "1", wanted, "--to", "here")
    assert files("here") == brought


@pytest.mark.usefixtures("_kept")
def test_what_is_here_is_not_fetched_again(spud: Spud) -> None:
    spud("fetch", "1")
    assert spud("fetch", "1").stdout == "Fetched 0 files, 0 B into job-1; 2 were there already\n"


@pytest.mark.usefixtures("_kept")
def test_file_that_differs_is_not_replaced_unasked(spud: Spud) -> None:
    spud("fetch", "1")
    Path("job-1/output/result.json").write_text("mine")
    result = spud("fetch", "1")
    assert "There are 1 file here that differ" in result.stderr
    assert Path("job-1/output/result.json").read_text() == "mine"


@pytest.mark.usefixtures("_kept")
def test_missing_file_is_told_with_those_that_are_there(spud: Spud) -> None:
    result = spud("fetch", "1", "absent")
    assert "output/result.json" in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "output/../../x", ""])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidRequest, match="outside of"):
        safe_target(tmp_path, path)


def test_link_in_the_folder_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "output").symlink_to(tmp_path)
    with pytest.raises(InvalidRequest, match="outside of"):
        safe_target(tmp_path / "here", "output/x")


def test_name_that_begins_alike_is_not_chosen() -> None:
    assert choose([{"path": "output/models2/a"}], ["models"]) == []
