from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from appliance.cli.job_options import JOB_CONTEXT, JobCommand, Wanted, job_options, parse_env, wanted_job
from appliance.errors import InvalidRequest
from appliance.jobs.spec import JobSpec

pytestmark = pytest.mark.unit


@click.command(cls=JobCommand, context_settings=JOB_CONTEXT)
@job_options
@click.pass_context
def parse(ctx: click.Context, /, **_options: Any) -> Wanted:
    return wanted_job(ctx)


def wanted(*arguments: str) -> Wanted:
    job = parse.main(list(arguments), standalone_mode=False)
    assert isinstance(job, Wanted)
    return job


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lib").mkdir()
    for name in ("train.py", "go.sh", "tool", "notes.txt", "lib/deep.py"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("train.py", ["python3", "train.py"]),
        ("go.sh 1 2", ["bash", "go.sh", "1", "2"]),
        ("tool", ["./tool"]),
        ("lib/deep.py", ["python3", "deep.py"]),
        ("train.py --epochs 3 -v --lr=0.1", ["python3", "train.py", "--epochs", "3", "-v", "--lr=0.1"]),
        ("train.py --gpus 1 -- --name first", ["python3", "train.py", "--name", "first"]),
        ("--gpus 1 -- python3 -m trainer --gpus 4", ["python3", "-m", "trainer", "--gpus", "4"]),
        ("-- echo -- --", ["echo", "--", "--"]),
    ],
)
def test_command_line_becomes_a_command(line: str, command: list[str]) -> None:
    assert wanted(*line.split()).spec["command"] == command


def test_options_may_stand_on_both_sides_of_the_script(folder: Path) -> None:
    job = wanted("--gpus", "2", "train.py", "--time", "2h", "--data", "mnist", "--data", "other")
    assert (job.spec["gpus"], job.spec["time"], job.spec["data"]) == (2, "2h", ["mnist", "other"])
    assert set(job.spec) == {"command", "gpus", "time", "data"}


def test_folder_of_the_script_travels(folder: Path) -> None:
    job = wanted("lib/deep.py")
    assert (job.folder, job.script) == (folder / "lib", "deep.py")


def test_command_takes_the_current_folder_along(folder: Path) -> None:
    assert wanted("--", "make").folder == folder


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("absent.py", "There is no script absent.py"),
        ("lib", "lib is a folder. Name the script in it"),
        ("notes.txt", "neither .py nor .sh nor executable"),
        ("", "Name a script to run"),
        ("--", "Name a script to run"),
        ("train.py --env SPUD_ABSENT", "your environment has no SPUD_ABSENT"),
        ("--file absent.yaml", "Cannot read absent.yaml: No such file"),
    ],
)
def test_wrong_request_gets_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        wanted(*line.split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("line", ["--gpu 1 train.py", "train.py --gpu 1", "train.py --priorty=3"])
def test_misspelt_option_is_not_taken_for_the_scripts(line: str) -> None:
    result = CliRunner().invoke(parse, line.split())
    assert "Did you mean --" in result.stderr
    assert result.exit_code == 2


def test_variable_without_a_value_is_taken_from_the_environment() -> None:
    assert parse_env(("A", "B=x=y", "C="), {"A": "1"}) == {"A": "1", "B": "x=y", "C": ""}


def test_options_win_over_the_file(folder: Path) -> None:
    (folder / "job.yaml").write_text("command: [make]\ngpus: 1\ntime: 1h\nenv: {A: x, B: x}\n")
    job = wanted("--file", "job.yaml", "--gpus", "4", "--env", "B=y")
    assert job.spec == {"command": ["make"], "gpus": 4, "time": "1h", "env": {"A": "x", "B": "y"}}


def test_folder_of_the_file_travels(folder: Path) -> None:
    (folder / "lib" / "job.yaml").write_text("command: [make]\n")
    assert wanted("--file", "lib/job.yaml").folder == folder / "lib"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1\nb: 2\n", r"job\.yaml is not valid YAML, line 2: "),
        ("- a\n", r"job\.yaml must hold keys with values"),
        ("", r"job\.yaml must hold keys with values"),
        ("a: \x00", r"job\.yaml is not valid YAML: "),
        ("[" * 5000, r"job\.yaml is not valid YAML"),
        ("!!python/object/apply:os.system [x]", r"job\.yaml is not valid YAML, line 1: could not determine"),
    ],
)
def test_malformed_file_is_told_with_its_line(folder: Path, text: str, sentence: str) -> None:
    (folder / "job.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=sentence):
        wanted("--file", "job.yaml")


def test_every_key_of_a_job_has_an_option() -> None:
    keys = {parameter.name for parameter in parse.params}
    assert set(JobSpec.model_fields) - {"command"} <= keys | {"requeue"}


def test_wishes_become_keys(folder: Path) -> None:
    line = (
        "--gpu-memory 6G --retries 2 --retry-on user_error --retry-on ok --no-requeue --secret KEY train.py"
    )
    spec = dict(wanted("--gpu-model", "GTX 1070", *line.split()).spec)
    assert spec.pop("command")
    assert spec == {
        "gpu_memory": "6G",
        "gpu_model": "GTX 1070",
        "retries": 2,
        "retry_on": ["user_error", "ok"],
        "requeue": False,
        "secrets": ["KEY"],
    }


@pytest.mark.parametrize(
    "line", ["--requirements lib/gpu.txt train.py", "lib/deep.py --requirements gpu.txt"]
)
def test_requirements_are_named_from_here_or_from_the_code(folder: Path, line: str) -> None:
    (folder / "lib" / "gpu.txt").touch()
    assert str(wanted(*line.split()).spec["requirements"]).endswith("gpu.txt")


def test_nothing_is_installed_when_so_asked(folder: Path) -> None:
    assert wanted("--no-requirements", "train.py").spec["requirements"] == ""


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--requirements absent.txt train.py", "there is no file absent.txt in "),
        ("--requirements ../../etc/passwd train.py", "there is no file"),
        ("--requirements notes.txt --no-requirements train.py", "contradict each other"),
    ],
)
def test_requirements_that_do_not_travel_are_refused(line: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        wanted(*line.split())
