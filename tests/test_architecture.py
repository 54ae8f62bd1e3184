"""The house keeps its walls: who may import whom, and what is imported in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).parent.parent / "appliance"

LEVELS = [
    {"errors", "validation", "config", "database", "doorbell", "failpoints"},
    {"gpus", "jobs", "users", "datasets", "containers", "audit", "storage"},
    {"executors"},
    {"scheduler", "metrics", "backup", "restore"},
    {"web", "cli"},
]
STAND_ALONE = {"training", "benchmarks"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def level(name: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if name in names)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    if own_part(path) in STAND_ALONE:
        assert not [
            name for name in imports(path) if name.startswith("appliance.") and part(name) != own_part(path)
        ]
        return
    mine = level(own_part(path))
    for name in imports(path):
        if name.startswith("appliance.") and part(name) not in STAND_ALONE:
            assert level(part(name)) <= mine, f"{path} imports {name}"


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("sqlite3", {"database.py"}),
        ("pynvml", {"gpus/nvml.py"}),
        (
            "docker",
            {
                "containers/docker.py",
                "containers/docker_builds.py",
                "containers/docker_engine.py",
                "containers/docker_box_command.py",
                "containers/docker_network.py",
            },
        ),
    ],
)
def test_a_driver_is_imported_in_one_place_only(library: str, places: set[str]) -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert found == places


def test_sql_stands_in_the_stores_only() -> None:
    verbs = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ")
    found = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.strip().startswith(verbs)
    }
    assert found == {
        "audit.py",
        "jobs/store.py",
        "jobs/lifecycle.py",
        "jobs/box_store.py",
        "jobs/retention_store.py",
        "users/secrets.py",
        "users/store.py",
    }
