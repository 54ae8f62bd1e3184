from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance.cli.sign_in import load_sign_in
from appliance.users.user import Role
from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = pytest.mark.unit


def test_new_user_gets_a_token_on_stdout_alone(box: WebBox, spud: Spud) -> None:
    token = spud("user", "add", "bob").stdout.strip()
    identity = box.storage.users.identify(token)
    assert identity is not None
    assert (identity.user.name, identity.user.role) == ("bob", Role.USER)


def test_second_token_is_as_good(box: WebBox, spud: Spud) -> None:
    assert box.storage.users.identify(spud("user", "token", "ada").stdout.strip())


def test_users_are_listed(spud: Spud) -> None:
    assert spud("user", "list").stdout.splitlines()[1].split()[:3] == ["ada", "admin", "1"]
    assert json.loads(spud("user", "list", "--json").stdout)[0]["name"] == "ada"


def test_tokens_are_revoked(box: WebBox, spud: Spud) -> None:
    token = box.token("bob")
    assert spud("user", "revoke", "bob").stdout == "Revoked 1 token of bob.\n"
    assert box.storage.users.identify(token) is None


def test_user_who_is_no_administrator_is_refused(spud_of_bob: Spud) -> None:
    assert spud_of_bob("user", "list").exit_code == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".config" / "spud" / "client.toml"


def ensure(spud: Spud, box: WebBox, file: Path, *, role: str = "admin") -> dict[str, object]:
    arguments = ("user", "add", "eve", "--role", role, "--local", "--sign-in-file", str(file), "--json")
    result = spud(*arguments, **box.environ)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_first_user_is_made_and_signed_in_without_the_api(box: WebBox, spud: Spud, file: Path) -> None:
    assert ensure(spud, box, file)["changed"] is True
    sign_in = load_sign_in({}, file)
    identity = box.storage.users.identify(sign_in.token)
    assert sign_in.url == box.url
    assert identity is not None
    assert identity.user.is_admin


def test_valid_sign_in_is_left_alone(box: WebBox, spud: Spud, file: Path) -> None:
    ensure(spud, box, file)
    before = file.read_text()
    assert ensure(spud, box, file)["changed"] is False
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["", "broken =", 'url = "http://127.0.0.1:1"\ntoken = "spud_x"\n'])
def test_useless_sign_in_is_written_anew(box: WebBox, spud: Spud, file: Path, text: str) -> None:
    ensure(spud, box, file)
    file.write_text(text)
    assert ensure(spud, box, file)["changed"] is True
    assert box.storage.users.identify(load_sign_in({}, file).token)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")
def test_sign_in_belongs_to_the_owner_of_the_home(box: WebBox, spud: Spud, file: Path) -> None:
    home = file.parents[2]
    home.mkdir()
    for place in home.parents:
        place.chmod(place.stat().st_mode | 0o1)
    os.chown(home, 1234, 1234)
    ensure(spud, box, file)
    assert (file.stat().st_uid, file.parent.stat().st_uid) == (1234, 1234)
    assert (box.settings.store.directory / "spud.db").stat().st_uid == 0


def test_other_role_is_refused(box: WebBox, spud: Spud) -> None:
    result = spud("user", "add", "ada", "--role", "user", "--local", **box.environ)
    assert "ada is there already, with the role admin" in result.stderr
