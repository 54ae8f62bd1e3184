"""/users: add users, give tokens, revoke them; for administrators."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import InvalidRequest, SpudError
from appliance.users.user import Role
from appliance.web.access import require_admin
from appliance.web.services import services
from appliance.web.users import add, issue, revoke

user_pages = Blueprint("user_pages", __name__, url_prefix="/users")
user_pages.before_request(require_admin)


@user_pages.get("")
def list_users() -> str:
    """Show the users and the form for a new one."""
    return _page()


@user_pages.post("")
def add_user() -> Response:
    """Add a user and show the first token.

    No redirect: the token would have to be kept somewhere in between, and it is kept nowhere.
    """
    name = request.form.get("name", "").strip()
    try:
        user, token = add(name, _role(request.form.get("role", "user")))
    except SpudError as error:
        return make_response(_page(error=error, entered=name), error.status)
    return make_response(_page(new_name=user.name, new_token=token), 201)


@user_pages.post("/<name>/tokens")
def issue_token(name: str) -> Response:
    """Issue one more token and show it, without redirect as above."""
    return make_response(_page(new_name=name, new_token=issue(name)), 201)


@user_pages.get("/<name>/revoke")
def confirm_revoke(name: str) -> str:
    """Ask before a user's tokens are revoked."""
    return render_template("revoke.html", person=services().storage.users.get(name))


@user_pages.post("/<name>/revoke")
def revoke_tokens(name: str) -> BaseResponse:
    """Revoke all tokens of a user."""
    revoke(name)
    return redirect(url_for("user_pages.list_users"), 303)


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidRequest("The role must be user or admin.") from None


def _page(new_name: str = "", new_token: str = "", error: SpudError | None = None, entered: str = "") -> str:
    return render_template(
        "users.html",
        people=services().storage.users.list(),
        new_name=new_name,
        new_token=new_token,
        error=error,
        entered=entered,
    )
