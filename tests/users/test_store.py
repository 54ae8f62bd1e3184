from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.errors import Conflict, InvalidRequest, NotFound
from appliance.storage import open_storage
from appliance.users.store import FIRST_UID, UserStore
from appliance.users.user import Role

pytestmark = pytest.mark.unit


@pytest.fixture
def users(tmp_path: Path) -> UserStore:
    return open_storage(load_settings(None, {"SPUD_STORE_DIRECTORY": str(tmp_path)})).users


def test_a_token_identifies_its_user_until_it_is_revoked(users: UserStore) -> None:
    ada = users.add("ada", Role.ADMIN)
    token = users.issue_token(ada)
    identity = users.identify(token)
    assert identity
    assert identity.user == ada
    assert users.revoke_tokens(ada) == 1
    assert users.identify(token) is None
    assert users.identify_session(identity.token_id) is None


def test_tokens_are_not_stored(users: UserStore, tmp_path: Path) -> None:
    token = users.issue_token(users.add("ada", Role.USER))
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("spud.db*"))
    assert token.encode() not in stored


def test_a_user_without_account_gets_an_unprivileged_uid_alone(users: UserStore) -> None:
    first, second = users.add("ada-x", Role.USER), users.add("bob-x", Role.USER)
    assert FIRST_UID < first.uid != second.uid > FIRST_UID


@pytest.mark.parametrize("name", ["root", "daemon"])
def test_jobs_never_run_as_root_or_a_system_account(users: UserStore, name: str) -> None:
    assert users.add(name, Role.ADMIN).uid > FIRST_UID


def test_a_name_is_taken_once(users: UserStore) -> None:
    users.add("ada", Role.USER)
    with pytest.raises(Conflict, match="There is a user ada already"):
        users.add("ada", Role.ADMIN)


@pytest.mark.parametrize("name", ["", "Ada", "../x", "a b", "x" * 33, "ada\n"])
def test_an_impossible_name_is_refused(users: UserStore, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a user name"):
        users.add(name, Role.USER)


def test_an_unknown_user_is_not_found(users: UserStore) -> None:
    with pytest.raises(NotFound, match="No user eve"):
        users.get("eve")
