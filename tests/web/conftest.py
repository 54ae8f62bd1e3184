from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from appliance.users.user import Role
from appliance.web.app import create_app
from tests.web.box import WebBox, process


@pytest.fixture
def box(tmp_path: Path) -> WebBox:
    """A box with small limits, whose exporter does not run."""
    return WebBox(tmp_path, SPUD_JOBS_CODE_MAX_BYTES="200000", SPUD_JOBS_MIN_FREE_BYTES="0")


@pytest.fixture
def app(box: WebBox) -> Flask:
    return create_app(box.settings, box.storage)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def ada(box: WebBox) -> str:
    """The token of an administrator."""
    return box.token("ada", Role.ADMIN)


@pytest.fixture
def bob(box: WebBox) -> str:
    """The token of a user."""
    return box.token("bob")


@pytest.fixture
def served(box: WebBox) -> Iterator[WebBox]:
    """The box with a running `spud web`."""
    with process("web", box.environ, f"{box.url}/healthz"):
        yield box
