"""Our plugins, in a real playbook run: progress that shows, one sentence for a failure, hashes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.playbooks.test_roles import ENVIRONMENT, PROGRAMS, ansible

pytestmark = pytest.mark.process


def write_play(folder: Path, *tasks: Mapping[str, object]) -> Path:
    playbook = folder / "play.yml"
    playbook.write_text(json.dumps([{"name": "Try", "hosts": "all", "tasks": tasks}]))
    return playbook


def play(folder: Path, *tasks: Mapping[str, object]) -> subprocess.CompletedProcess[str]:
    return ansible("ansible-playbook", str(write_play(folder, *tasks)))


def progress(script: str) -> dict[str, object]:
    return {
        "name": "Build",
        "progress_command": {"argv": ["sh", "-c", script]},
        "register": "built",
    }


def test_progress_is_shown_and_a_change_is_counted(tmp_path: Path) -> None:
    done = play(tmp_path, progress("echo '[1/2] first' >&2; echo '{\"changed\": true}'"))
    assert "      [1/2] first\n" in done.stdout
    assert "ok=1 changed=1 failed=0" in done.stdout


def test_progress_is_shown_before_the_command_ends(tmp_path: Path) -> None:
    release = tmp_path / "release"
    wait = f"timeout 60 sh -c 'until [ -e {release} ]; do sleep 0.1; done'"
    write_play(tmp_path, progress(f"echo early >&2; {wait}; echo '{{\"changed\": false}}'"))
    command = [PROGRAMS / "ansible-playbook", tmp_path / "play.yml"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=ENVIRONMENT) as running:
        assert running.stdout
        assert any("early" in line for line in running.stdout)
        release.touch()
        assert "changed=0" in running.stdout.read()


def test_the_answer_is_registered(tmp_path: Path) -> None:
    check = {"name": "Check", "ansible.builtin.assert": {"that": "built.answer.id == 'x'"}}
    done = play(tmp_path, progress('echo \'{"changed": false, "id": "x"}\''), check)
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout


def test_a_failed_command_is_one_sentence(tmp_path: Path) -> None:
    done = play(tmp_path, progress("echo '[1/2] first' >&2; echo 'Error: no room.' >&2; exit 1"))
    assert "FAILED  Build: no room.\n" in done.stdout
    assert done.returncode != 0


def test_a_command_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    task = {"name": "Build", "progress_command": {"argv": ["/nowhere/spud"]}}
    assert (
        "FAILED  Build: /nowhere/spud cannot be run: No such file or directory\n"
        in play(tmp_path, task).stdout
    )


def test_of_several_errors_the_first_is_the_cause(tmp_path: Path) -> None:
    script = "echo Reading lists >&2; echo 'E: no mirror' >&2; echo 'E: try again' >&2; exit 100"
    task = {"name": "Install", "ansible.builtin.command": {"argv": ["sh", "-c", script]}}
    assert "FAILED  Install: E: no mirror\n" in play(tmp_path, task).stdout


def test_content_hash_tells_a_changed_file_and_overlooks_compiled_ones(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("1")

    def content_hash() -> str:
        done = ansible(
            "ansible",
            "localhost",
            "-m",
            "ansible.builtin.debug",
            "-a",
            f"msg={{{{ lookup('content_hash', '{source}') }}}}",
        )
        return done.stdout

    before = content_hash()
    (source / "__pycache__").mkdir()
    (source / "__pycache__/a.pyc").write_text("2")
    assert content_hash() == before
    (source / "a.py").write_text("2")
    assert content_hash() != before
