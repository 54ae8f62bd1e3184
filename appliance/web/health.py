"""/healthz: whether the web process can do its work; anyone may ask."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from appliance import __version__
from appliance.web.services import services

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> Response:
    """Answer `ok` when the store can be read."""
    services().storage.box.box()
    return jsonify(status="ok", version=__version__)
