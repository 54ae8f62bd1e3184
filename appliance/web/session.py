"""/login and /logout: a browser shows its token once and gets a session."""

from __future__ import annotations

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import SpudError
from appliance.web.access import close_session, open_session, safe_return_path

session_pages = Blueprint("session", __name__)


@session_pages.get("/login")
def sign_in_form() -> BaseResponse:
    """Show the form, or go on when the browser is signed in."""
    target = safe_return_path(request.args.get("next", "/"))
    if g.identity:
        return redirect(target, 303)
    return _form(target)


@session_pages.post("/login")
def sign_in() -> BaseResponse:
    """Open a session for the token."""
    target = safe_return_path(request.form.get("next", "/"))
    try:
        open_session(request.form.get("token", "").strip())
    except SpudError as error:
        return _form(target, error)
    return redirect(target, 303)


@session_pages.post("/logout")
def sign_out() -> BaseResponse:
    """End the session."""
    close_session()
    return redirect("/login", 303)


def _form(target: str, error: SpudError | None = None) -> Response:
    page = render_template("login.html", target=target, error=error)
    return make_response(page, error.status if error else 200)
