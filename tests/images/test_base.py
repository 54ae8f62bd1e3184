"""The base image's script: which of the machine's apt sources go in."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.images.base_script import load_base_script

pytestmark = pytest.mark.unit
INDEX = """Debian|bookworm|http://mirror.example/debian/|main
Debian|bookworm|http://mirror.example/debian/|main
Debian|bookworm-security|http://mirror.example/security/|main
Debian|trixie|http://mirror.example/debian/|main
Docker|bookworm|http://docker.example/debian/|stable
|bookworm|http://unsigned.example/|main
"""


@pytest.fixture(scope="module")
def base() -> ModuleType:
    return load_base_script()


def test_only_the_distributions_own_release_goes_in(base: ModuleType) -> None:
    lines = base.source_lines(INDEX, "debian", "bookworm", Path("/nowhere"))
    assert lines == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]


def test_sources_are_bound_to_the_distributions_keyring(base: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "ring.gpg").touch()
    (first, *_) = base.source_lines(INDEX, "debian", "bookworm", tmp_path / "ring.gpg")
    assert first.startswith(f"deb [signed-by={tmp_path}/ring.gpg] http://")


def test_a_list_of_mirrors_is_replaced_by_its_first(base: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mirrors.list").write_text("http://one.example/debian\nhttp://two.example/debian\n")
    assert base.mirror(f"mirror+file:{tmp_path}/mirrors.list/") == "http://one.example/debian"


def test_a_path_with_a_quote_stays_one_word(base: ModuleType) -> None:
    assert base.shell_list([Path("/a b.crt"), Path("/it's.crt")]) == "'/a b.crt' '/it'\\''s.crt'"
