"""/api/v1/users and /api/v1/me: who may use the box."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, Field

from appliance.errors import Conflict
from appliance.users.user import Role, User, check_name
from appliance.web.access import current_user, require_admin
from appliance.web.answers import Parameters, Time, answer, api_blueprint, rfc3339
from appliance.web.audit import audited
from appliance.web.services import services

users = api_blueprint("users", "/api/v1")


class Me(BaseModel):
    """The user whose token it is."""

    name: str
    role: Role


class UserJson(BaseModel):
    """A user of the box."""

    name: str
    role: Role
    uid: int = Field(description="the Unix user id that the user's jobs run under")
    created_at: Time
    tokens: int = Field(description="how many valid tokens there are")


class UserList(BaseModel):
    """All users, by name."""

    users: list[UserJson]


class NewUser(Parameters):
    """The user to add."""

    name: str
    role: Role = Role.USER


class AddedUser(BaseModel):
    """A new user with the first token, which is shown this one time."""

    name: str
    role: Role
    token: str


class NewToken(BaseModel):
    """A new token, which is shown this one time."""

    name: str
    token: str


class RevokedTokens(BaseModel):
    """How many tokens were valid until now."""

    revoked: int


class UserPath(BaseModel):
    """The name of a user."""

    name: str


@users.get("/me", responses={200: Me})
def me() -> Response:
    """Say whose token this is."""
    user = current_user()
    return answer(Me(name=user.name, role=user.role))


@users.get("/users", responses={200: UserList})
def list_users() -> Response:
    """List the users (administrators only)."""
    require_admin()
    return answer(UserList(users=[_user(user, tokens) for user, tokens in services().storage.users.list()]))


@users.post("/users", responses={201: AddedUser})
def add_user(body: NewUser) -> Response:
    """Add a user and issue the first token (administrators only)."""
    require_admin()
    user, token = add(body.name, body.role)
    return answer(AddedUser(name=user.name, role=user.role, token=token), 201)


@users.post("/users/<name>/tokens", responses={201: NewToken})
def issue_token(path: UserPath) -> Response:
    """Issue one more token to a user (administrators only)."""
    require_admin()
    return answer(NewToken(name=path.name, token=issue(path.name)), 201)


@users.delete("/users/<name>/tokens", responses={200: RevokedTokens})
def revoke_tokens(path: UserPath) -> Response:
    """Revoke all tokens of a user, which ends the user's sessions too (administrators only)."""
    require_admin()
    return answer(RevokedTokens(revoked=revoke(path.name)))


def add(name: str, role: Role) -> tuple[User, str]:
    """Add a user; return it with its first token. Raises InvalidRequest or Conflict."""
    store = services().storage.users
    with audited("user.add", name, f"role {role}, with a token"):
        user = store.add(check_name(name), role)
        return user, store.issue_token(user)


def issue(name: str) -> str:
    """Return one more token of a user; raises NotFound."""
    store = services().storage.users
    with audited("token.issue", name):
        return store.issue_token(store.get(name))


def revoke(name: str) -> int:
    """Revoke a user's tokens; raises NotFound, and Conflict when nobody could administer the box then."""
    store = services().storage.users
    user = store.get(name)
    others = [other for other, tokens in store.list() if other.is_admin and tokens and other.id != user.id]
    if user.is_admin and not others:
        raise Conflict(
            f"{name} is the only administrator with a token. Give another administrator one first:"
            " spud user add NAME --role admin"
        )
    with audited("token.revoke", name):
        return store.revoke_tokens(user)


def _user(user: User, tokens: int) -> UserJson:
    return UserJson(
        name=user.name,
        role=user.role,
        uid=user.uid,
        created_at=rfc3339(user.created_at) or "",
        tokens=tokens,
    )
