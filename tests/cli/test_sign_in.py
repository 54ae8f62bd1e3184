from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli.sign_in import SignIn, load_sign_in, read_sign_in, write_sign_in
from appliance.errors import ConfigError, SignInRequired

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".config" / "spud" / "client.toml"
    write_sign_in(path, SignIn("http://box:8600", "spud_file"))
    return path


def test_sign_in_is_read_back(file: Path) -> None:
    assert load_sign_in({}, file) == SignIn("http://box:8600", "spud_file")


def test_sign_in_is_for_its_owners_eyes(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


def test_variables_win(file: Path) -> None:
    environ = {"SPUD_URL": "http://other:1/", "SPUD_TOKEN": "spud_env"}
    assert load_sign_in(environ, file) == SignIn("http://other:1", "spud_env")


def test_token_of_the_file_goes_to_no_other_address(file: Path) -> None:
    with pytest.raises(SignInRequired, match="http://other"):
        load_sign_in({"SPUD_URL": "http://other"}, file)


def test_token_with_a_line_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignInRequired, match="Copy it again"):
        load_sign_in({"SPUD_TOKEN": "spud_a\nb"}, tmp_path / "absent")


def test_broken_file_is_named(file: Path) -> None:
    file.write_text("url = ")
    with pytest.raises(ConfigError, match=r"client\.toml is not valid TOML"):
        read_sign_in(file)
