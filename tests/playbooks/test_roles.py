"""Roles as typed interfaces: every variable has a type, a default and a line in the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ROLES = sorted(path for path in (ROOT / "playbooks/roles").iterdir() if path.is_dir())
PROGRAMS = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_CONFIG": str(ROOT / "playbooks/ansible.cfg"),
    "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
    "PYTHONUNBUFFERED": "1",
}
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def options(role: Path) -> dict[str, Any]:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


def defaults(role: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text())
    return found


def ansible(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAMS / program), *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_typed_and_has_a_default(role: Path) -> None:
    assert options(role).keys() == defaults(role).keys()
    assert all("type" in option and "description" in option for option in options(role).values())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_named_for_its_role(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in options(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_documented_defaults_are_the_real_ones(role: Path) -> None:
    for name, value in defaults(role).items():
        if "{{" not in str(value):  # a computed default is described in words
            assert options(role)[name]["default"] == value, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_in_the_documentation(role: Path) -> None:
    page = (ROOT / "docs/provisioning.md").read_text()
    assert [name for name in options(role) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.name)
def test_playbook_is_understood(playbook: Path) -> None:
    done = ansible("ansible-playbook", "--syntax-check", str(playbook))
    assert done.returncode == 0, done.stderr


def test_playbooks_pass_the_production_profile() -> None:
    done = ansible("ansible-lint", "--offline", "--nocolor", "playbooks")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_skipped_by_the_linter() -> None:
    settings = yaml.safe_load((ROOT / ".ansible-lint").read_text())
    assert settings["profile"] == "production"
    assert not {"skip_list", "warn_list"} & settings.keys()
