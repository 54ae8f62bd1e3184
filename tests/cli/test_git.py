from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.cli.code import collect
from appliance.cli.git import read_diff, read_git
from appliance.cli.job_options import Wanted
from appliance.cli.submission import choose_code
from appliance.errors import InvalidRequest

pytestmark = pytest.mark.unit


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", folder, *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a tracked, an ignored and an untracked file."""
    (tmp_path / "train.py").write_text("print(1)\n")
    (tmp_path / ".gitignore").write_text("*.bin\nbuild/\n")
    (tmp_path / "big.bin").touch()
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    (tmp_path / "new.py").touch()
    return tmp_path


def travels(folder: Path, script: str | None = None) -> list[str]:
    return [file.path for file in choose_code(Wanted({}, folder, script), read_git(folder)).files]


def test_tracked_and_new_files_travel_but_not_ignored_ones(repository: Path) -> None:
    assert travels(repository) == [".gitignore", "new.py", "train.py"]


def test_folder_below_the_root_travels_alone(repository: Path) -> None:
    (repository / "sub").mkdir()
    (repository / "sub" / "a.py").touch()
    assert travels(repository / "sub") == ["a.py"]


def test_deleted_file_stays_away(repository: Path) -> None:
    (repository / "train.py").unlink()
    assert travels(repository) == [".gitignore", "new.py"]


def test_folder_that_git_ignores_travels_whole_when_it_is_asked_for(repository: Path) -> None:
    (repository / "build").mkdir()
    (repository / "build" / "run.py").touch()
    assert travels(repository / "build", "run.py") == ["run.py"]


def test_repository_within_travels_without_its_versions(repository: Path) -> None:
    inner = repository / "inner"
    inner.mkdir()
    (inner / "a.py").touch()
    git(inner, "init")
    git(inner, "add", ".")
    git(inner, "commit", "--message", "first")
    assert "inner/a.py" in travels(repository)
    assert not [path for path in travels(repository) if ".git/" in path]


def test_virtual_environment_stays_even_if_git_does_not_ignore_it(repository: Path) -> None:
    (repository / "env").mkdir()
    (repository / "env" / "pyvenv.cfg").touch()
    (repository / "env" / "a.py").touch()
    assert "env/a.py" not in travels(repository)


def test_commit_is_told(repository: Path) -> None:
    assert len(read_git(repository).commit or "") == 40


def test_changed_files_make_the_commit_dirty(repository: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    assert (read_git(repository).commit or "").endswith("+dirty")


def test_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    assert read_git(tmp_path).files is None


def test_broken_repository_is_told(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert "not a git repository" in (read_git(tmp_path).trouble or "")


def test_script_that_spudignore_names_is_refused(repository: Path) -> None:
    (repository / ".spudignore").write_text("train.py\n")
    with pytest.raises(InvalidRequest, match=r"train\.py is left out by"):
        travels(repository, "train.py")


def test_listing_is_limited_to_what_exists(repository: Path) -> None:
    assert collect(repository, ["absent.py"]).files == ()


def test_uncommitted_changes_are_told_byte_for_byte(repository: Path) -> None:
    (repository / "train.py").write_bytes(b"print(2)\xff\n")
    diff = read_diff(repository, lambda _: True)
    assert b"-print(1)\n+print(2)\xff\n" in diff


def test_changes_can_be_applied_to_the_commit(repository: Path) -> None:
    (repository / "train.py").write_bytes(bytes(range(256)))
    diff = read_diff(repository, lambda _: True)
    git(repository, "checkout", "--", ".")
    subprocess.run(["git", "-C", repository, "apply"], input=diff, check=True)
    assert (repository / "train.py").read_bytes() == bytes(range(256))


def test_what_stays_behind_is_not_told_either(repository: Path) -> None:
    (repository / "train.py").write_text("token = 1\n")
    assert read_diff(repository, lambda path: path != "train.py") == b""


def test_a_deleted_file_is_told(repository: Path) -> None:
    (repository / "train.py").unlink()
    assert b"deleted file mode" in read_diff(repository, lambda _: False)


def test_changes_elsewhere_in_the_repository_are_not_told(repository: Path) -> None:
    (repository / "sub").mkdir()
    (repository / "train.py").write_text("print(2)\n")
    assert read_diff(repository / "sub", lambda _: True) == b""


def test_a_large_diff_becomes_a_line(repository: Path) -> None:
    (repository / "train.py").write_text("x\n" * 1_000_000)
    assert (
        read_diff(repository, lambda _: True) == b"The diff is too large to be kept: 2.9 MiB, over 1 MiB.\n"
    )


def test_only_changed_files_make_it_dirty(repository: Path) -> None:
    assert not read_git(repository).is_dirty
    (repository / "train.py").write_text("print(2)\n")
    assert read_git(repository).is_dirty
