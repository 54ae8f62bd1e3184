"""Who sends a request: a bearer token or a session cookie, and the CSRF token that cookies need.

A session holds the id of the token that it was opened with, so revoking the token ends the session.
"""

from __future__ import annotations

import secrets
from typing import cast

from flask import Flask, Request, Response, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import AccessDenied, SignInRequired
from appliance.users.user import Identity, User
from appliance.web.audit import audit
from appliance.web.services import services

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ANONYMOUS_ENDPOINTS = frozenset({"health.healthz", "session.sign_in_form", "session.sign_in"})
ANONYMOUS_FILES = frozenset({"style.css", "theme.js", "favicon.svg"})
"""The static files that the sign-in form needs."""

_UNKNOWN_TOKEN = "This token is unknown or revoked. Ask an administrator for a new one: spud user token NAME"  # noqa: S105
_NO_TOKEN = "Sign in first: send a token as 'Authorization: Bearer spud_…', or open /login in a browser."  # noqa: S105


class SessionCookies(SecureCookieSessionInterface):
    """Flask's signed cookies, marked Secure when the browser came by https."""

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002  Flask's signature
        """Return whether the browser may send the cookie back by https only."""
        return request.is_secure


def require_sign_in() -> BaseResponse | None:
    """Let a request pass that is anonymous by design or proves its user; run before every view."""
    g.identity = _identify(request)
    if request.method not in SAFE_METHODS and not _has_bearer(request):
        _check_csrf(request)
    if g.identity or _is_anonymous(request):
        return None
    if _has_bearer(request):
        _record_refusal()
    if wants_json(request):
        raise SignInRequired(_UNKNOWN_TOKEN if _has_bearer(request) else _NO_TOKEN)
    return redirect(url_for("session.sign_in_form", next=_return_path(request)))


def wants_json(incoming: Request) -> bool:
    """Return whether errors are for a program: everything below /api/ and /healthz."""
    return incoming.path.startswith("/api/") or incoming.path == "/healthz"


def current_user() -> User:
    """Return the user who sent the request."""
    return current_identity().user


def current_identity() -> Identity:
    """Return the user and token of the request; raises SignInRequired."""
    identity = getattr(g, "identity", None)
    if identity is None:
        raise SignInRequired(_NO_TOKEN)
    return cast(Identity, identity)


def require_admin() -> None:
    """Raise AccessDenied unless the request is an administrator's."""
    if not current_user().is_admin:
        raise AccessDenied("Only an administrator may do this. Ask one of them.")


def open_session(token: str) -> Identity:
    """Check a token and keep it as the browser's session; raises SignInRequired, TooManySignIns."""
    limit, address = services().sign_ins, request.remote_addr or ""
    limit.check(address)
    identity = services().storage.users.identify(token)
    if identity is None:
        limit.record_failure(address)
        audit("session.refused", "page")
        raise SignInRequired(_UNKNOWN_TOKEN)
    audit("session.begin", identity.user.name, actor=identity.user.name)
    session.clear()
    session["token_id"] = identity.token_id
    session.permanent = True
    return identity


def close_session() -> None:
    """Forget the browser's session."""
    if identity := getattr(g, "identity", None):
        audit("session.end", identity.user.name)
    session.clear()


def csrf_token() -> str:
    """Return the token that this session's forms carry, making it when the session has none."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def safe_return_path(path: str) -> str:
    """Return the path to go to after signing in; anything but a path on this box becomes `/`."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else "/"


def forbid_caching(response: Response) -> Response:
    """Keep what a signed-in user sees out of shared and disk caches; run after every view."""
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _identify(incoming: Request) -> Identity | None:
    users = services().storage.users
    if _has_bearer(incoming):
        return users.identify(incoming.headers["Authorization"].partition(" ")[2].strip())
    token_id = session.get("token_id")
    return users.identify_session(token_id) if isinstance(token_id, int) else None


def _record_refusal() -> None:
    """Tell the audit trail of a wrong token, as often as it is news."""
    limit, address = services().unknown_tokens, request.remote_addr or ""
    if not limit.is_over(address):
        limit.record_failure(address)
        audit("session.refused", "api")


def _has_bearer(incoming: Request) -> bool:
    """Return whether an Authorization header is there: it alone counts then, not the cookie."""
    return "Authorization" in incoming.headers


def _is_anonymous(incoming: Request) -> bool:
    if incoming.endpoint == "static":
        return (incoming.view_args or {}).get("filename") in ANONYMOUS_FILES
    return incoming.endpoint in ANONYMOUS_ENDPOINTS


def _check_csrf(incoming: Request) -> None:
    """Refuse a change that another site's page may have sent with the browser's cookie."""
    if g.identity is None and not _is_anonymous(incoming):
        return
    sent = incoming.headers.get("X-CSRF-Token") or incoming.form.get("csrf_token") or ""
    expected = str(session.get("csrf", ""))
    if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
        raise AccessDenied("This form is too old or came from another page. Reload the page and try again.")


def _return_path(incoming: Request) -> str | None:
    path = incoming.full_path.rstrip("?")
    return path if incoming.method == "GET" and path != "/" else None
