"""HTTP connections to Spud, direct or through the environment's proxy. http.client starts fastest."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from appliance.errors import ConfigError

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Route:
    """An unopened connection, and what each request on it needs: the prefix of paths, extra headers."""

    connection: http.client.HTTPConnection
    prefix: str
    headers: dict[str, str] = field(default_factory=dict)


def route(url: str, timeout_s: float) -> Route:
    """Return the way to a Spud; raises ConfigError for an address that is none."""
    target = _split(url)
    proxy = _proxy(target)
    if proxy is None:
        return Route(_connection(target.scheme, target, timeout_s), target.path)
    credentials = _credentials(proxy)
    if target.scheme == "http":
        return Route(_connection("http", proxy, timeout_s), url, credentials)
    connection = _connection("https", proxy, timeout_s)
    connection.set_tunnel(str(target.hostname), target.port or 443, credentials)
    return Route(connection, target.path)


def _split(url: str) -> SplitResult:
    try:
        target = urlsplit(url)
        is_usable = target.scheme in ("http", "https") and bool(target.hostname) and target.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url!r} is no address of a Spud. It looks like http://127.0.0.1:8600")
    return target


def _connection(scheme: str, place: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    return kind(str(place.hostname), place.port, timeout=timeout_s)


def _proxy(target: SplitResult) -> SplitResult | None:
    host = str(target.hostname)
    has_proxy = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXY_VARIABLES)
    if not has_proxy or _is_loopback(host):
        return None
    import urllib.request  # slow, and seldom needed

    proxies = urllib.request.getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return _split(proxy if "://" in proxy else f"http://{proxy}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
