from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from appliance.cli.main import COMMANDS, main

pytestmark = pytest.mark.unit

SLOW = {"pydantic", "flask", "docker", "rich", "yaml", "pathspec", "urllib.request", "sqlite3", "pynvml"}


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    for name in command.list_commands(click.Context(command)):
        child = command.get_command(click.Context(command), name)
        assert child is not None
        yield from commands(child, (*path, name))


ALL = sorted(commands())


def help_of(path: tuple[str, ...]) -> str:
    return CliRunner().invoke(main, [*path, "--help"], prog_name="spud").output


def test_every_command_is_there() -> None:
    assert set(COMMANDS) == {path[0] for path in ALL}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example(path: tuple[str, ...]) -> None:
    assert f"    {'sudo ' * (f'sudo spud {path[0]}' in help_of(path))}spud {' '.join(path)}" in help_of(path)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_command_that_reads_answers_in_json_too(path: tuple[str, ...]) -> None:
    if path[-1] in ("list", "show", "gpus", "rnn", "submit"):
        assert "--json" in help_of(path)


@pytest.mark.parametrize("name", ["run", "submit", "list", "logs", "show", "cancel", "fetch", "gpus", "user"])
def test_client_starts_without_what_it_does_not_need(name: str) -> None:
    script = (
        "import sys, json; from appliance.cli.main import main\n"
        f"main(['{name}', '--help'], standalone_mode=False); print(json.dumps(sorted(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not SLOW & set(json.loads(answer.stdout.splitlines()[-1]))


def test_unknown_command_is_misuse() -> None:
    assert CliRunner().invoke(main, ["trian"]).exit_code == 2


def test_misspelt_command_line_gets_one_sentence_and_no_traceback() -> None:
    result = CliRunner().invoke(main, ["run", "absent.py"], env={"SPUD_TOKEN": "spud_x"})
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 2


def test_reader_who_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m appliance.cli --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


def test_absent_token_is_told_with_the_next_step(tmp_path: os.PathLike[str]) -> None:
    result = CliRunner().invoke(main, ["list"], env={"HOME": str(tmp_path), "SPUD_TOKEN": "", "SPUD_URL": ""})
    assert "You are not signed in" in result.stderr
    assert "spud user token NAME" in result.stderr
    assert result.exit_code == 1


def test_absent_spud_is_told_with_the_next_step() -> None:
    result = CliRunner().invoke(
        main, ["list"], env={"SPUD_URL": "http://127.0.0.1:9", "SPUD_TOKEN": "spud_x"}
    )
    assert result.stderr == "Error: Spud does not answer at http://127.0.0.1:9. Start it with: spud up\n"
