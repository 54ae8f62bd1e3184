"""Secrets are kept for their owner alone, and what is removed is gone from the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.audit import AuditLog
from appliance.database import Database
from appliance.errors import InvalidRequest, NotFound
from appliance.users.secrets import LARGEST_VALUE_BYTES, SecretStore
from appliance.users.store import UserStore
from appliance.users.user import Role, User

pytestmark = pytest.mark.unit

VALUE = "correct horse battery staple"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "spud.db")


@pytest.fixture
def secrets(database: Database) -> SecretStore:
    return SecretStore(database)


@pytest.fixture
def ada(database: Database) -> User:
    return UserStore(database).add("ada", Role.USER)


@pytest.fixture
def bob(database: Database) -> User:
    return UserStore(database).add("bob", Role.USER)


def test_a_secret_is_its_owners_alone(secrets: SecretStore, ada: User, bob: User) -> None:
    secrets.set(ada.id, "KEY", VALUE)
    assert secrets.values(ada.id, ["KEY"]) == {"KEY": VALUE}
    assert secrets.list(bob.id) == ()
    with pytest.raises(NotFound, match=r"no secret KEY.*spud secret set KEY"):
        secrets.values(bob.id, ["KEY"])


def test_only_the_named_values_leave_the_store(secrets: SecretStore, ada: User) -> None:
    secrets.set(ada.id, "ONE", "1111")
    secrets.set(ada.id, "TWO", "2222")
    assert secrets.values(ada.id, ["TWO"]) == {"TWO": "2222"}


def test_a_secret_is_replaced(secrets: SecretStore, ada: User) -> None:
    secrets.set(ada.id, "KEY", "old value")
    secrets.set(ada.id, "KEY", VALUE)
    assert secrets.values(ada.id, ["KEY"]) == {"KEY": VALUE}
    assert [secret.name for secret in secrets.list(ada.id)] == ["KEY"]


def test_a_removed_secret_is_unknown(secrets: SecretStore, ada: User) -> None:
    secrets.set(ada.id, "KEY", VALUE)
    secrets.remove(ada.id, "KEY")
    with pytest.raises(NotFound):
        secrets.remove(ada.id, "KEY")


@pytest.mark.parametrize("change", ["remove", "replace"])
def test_no_file_of_the_store_holds_a_value_that_is_gone(
    secrets: SecretStore, ada: User, tmp_path: Path, change: str
) -> None:
    secrets.set(ada.id, "KEY", VALUE)
    assert holds(tmp_path, VALUE)
    if change == "remove":
        secrets.remove(ada.id, "KEY")
    else:
        secrets.set(ada.id, "KEY", "another value")
    assert not holds(tmp_path, VALUE)


def test_a_value_is_gone_too_when_the_change_is_part_of_a_transaction(
    database: Database, secrets: SecretStore, ada: User, tmp_path: Path
) -> None:
    secrets.set(ada.id, "KEY", VALUE)
    with database.transaction():
        secrets.remove(ada.id, "KEY")
        AuditLog(database).record("ada", "secret.remove", "KEY")
    assert not holds(tmp_path, VALUE)


@pytest.mark.parametrize(
    "name", ["", "1KEY", "A-B", "A B", "Ä", "SPUD_TOKEN", "NVIDIA_VISIBLE_DEVICES", "LD_PRELOAD", "K" * 101]
)
def test_a_name_that_no_job_may_set_is_refused(secrets: SecretStore, ada: User, name: str) -> None:
    with pytest.raises(InvalidRequest):
        secrets.set(ada.id, name, VALUE)


def test_all_secrets_of_a_user_have_room_together(secrets: SecretStore, ada: User, bob: User) -> None:
    for name in ("ONE", "TWO"):
        secrets.set(ada.id, name, "x" * LARGEST_VALUE_BYTES)
    with pytest.raises(InvalidRequest, match="64 KiB in all"):
        secrets.set(ada.id, "THREE", "x")
    secrets.set(ada.id, "TWO", "y" * LARGEST_VALUE_BYTES)
    secrets.set(bob.id, "THREE", "x")
    assert {secret.name for secret in secrets.list(ada.id)} == {"ONE", "TWO"}


@pytest.mark.parametrize(
    "value", ["", "a\0b", "half \ud800", "x" * (LARGEST_VALUE_BYTES + 1), "line\n" * 200]
)
def test_a_value_that_no_variable_can_have_is_refused_and_not_told(
    secrets: SecretStore, ada: User, value: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        secrets.set(ada.id, "KEY", value)
    assert not value or value not in refused.value.message
    assert secrets.list(ada.id) == ()


def holds(folder: Path, value: str) -> bool:
    return any(value.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
