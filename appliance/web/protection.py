"""What guards the browser: which host names are answered, and the headers of every response."""

from __future__ import annotations

import ipaddress

from flask import Response, request

from appliance.config import WebSettings, split_address
from appliance.errors import InvalidRequest
from appliance.web.services import services

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def check_host() -> None:
    """Refuse a Host header that is not ours.

    A page of a stranger's site can point its own name at 127.0.0.1 (DNS rebinding) and would then be
    of the same origin as ours; its name in the header tells.
    """
    host = _host_name(request.host)
    if not is_known_host(host, services().settings.web):
        raise InvalidRequest(
            f"This box does not know the name {host[:100]!r}. If it is the box's,"
            " add it to allowed_hosts in [web] of its settings."
        )


def is_known_host(host: str, settings: WebSettings) -> bool:
    """Return whether browsers may reach the page by this name; an address cannot be rebound. Pure."""
    allowed = {name.strip().lower() for name in settings.allowed_hosts.split(",")} - {""}
    return host in allowed | {"localhost", split_address(settings.listen)[0].lower()} or _is_address(host)


def add_headers(response: Response) -> Response:
    """Add the security headers; run after every view."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _host_name(host: str) -> str:
    """Return the name in a Host header, in lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
