from __future__ import annotations

import pytest

from appliance.cli.connection import route
from appliance.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture
def _proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy:3128")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")


@pytest.mark.usefixtures("_proxy")
@pytest.mark.parametrize("url", ["http://127.0.0.1:8600", "http://localhost:8600", "http://[::1]:8600"])
def test_box_itself_is_reached_without_the_proxy(url: str) -> None:
    assert route(url, 1).connection.port == 8600


@pytest.mark.usefixtures("_proxy")
def test_http_goes_through_the_proxy_with_the_whole_address() -> None:
    way = route("http://box:8600", 1)
    assert (way.connection.host, way.connection.port, way.prefix) == ("proxy", 3128, "http://box:8600")
    assert way.headers == {"Proxy-Authorization": "Basic bWU6c2VjcmV0"}


@pytest.mark.usefixtures("_proxy")
def test_exempt_box_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "box")
    assert route("http://box:8600", 1).connection.host == "box"


@pytest.mark.parametrize(
    "url", ["box:8600", "ftp://box", "http://", "http://box:0", "http://a b", "http://b:x"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a Spud"):
        route(url, 1)
