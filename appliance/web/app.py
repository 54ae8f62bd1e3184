"""create_app: the pages and the API in one WSGI application."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask
from flask_openapi3.models import Info  # type: ignore[attr-defined]
from flask_openapi3.openapi import OpenAPI

from appliance import __version__
from appliance.config import Settings
from appliance.jobs.snapshot import LARGEST_DIFF_BYTES
from appliance.storage import Storage
from appliance.web import access, display, protection, refusals, session_key
from appliance.web.answers import ErrorAnswer, refuse_parameters
from appliance.web.audit_api import audit_trail
from appliance.web.box import box
from appliance.web.gpus import gpus
from appliance.web.health import health
from appliance.web.job_pages import job_pages
from appliance.web.jobs import jobs
from appliance.web.overview import overview
from appliance.web.prune import prune
from appliance.web.reproduction import reproduction
from appliance.web.secrets import secrets
from appliance.web.services import Services, install
from appliance.web.session import session_pages
from appliance.web.submit_page import submit_page
from appliance.web.user_pages import user_pages
from appliance.web.users import users

_DESCRIPTION = "A GPU training appliance for the budget box."
_FORM_BYTES = 1024**2
"""Room in a request beside the code: the spec, the field names, the borders between the parts."""


def create_app(settings: Settings, storage: Storage) -> Flask:
    """Return the application; makes the key of the sessions on its first start."""
    app = OpenAPI(
        __name__,
        info=Info(title="Spud", version=__version__, description=_DESCRIPTION),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        openapi_extensions={"security": [{"token": []}]},
        validation_error_status=400,
        validation_error_model=ErrorAnswer,
        validation_error_callback=refuse_parameters,
        doc_ui=False,
    )
    _configure(app, settings, storage)
    with app.app_context():
        install(Services.of(settings, storage))
    app.before_request(protection.check_host)
    app.before_request(access.require_sign_in)
    app.after_request(access.forbid_caching)
    app.after_request(protection.add_headers)
    refusals.install(app)
    display.install(app)
    for api in (jobs, reproduction, users, gpus, box, prune, secrets, audit_trail):
        app.register_api(api)
    for pages in (health, session_pages, overview, job_pages, submit_page, user_pages):
        app.register_blueprint(pages)
    return app


def _configure(app: Flask, settings: Settings, storage: Storage) -> None:
    app.session_interface = access.SessionCookies()
    app.config.update(
        SECRET_KEY=session_key.load_or_create(storage.directory / session_key.FILE_NAME),
        SESSION_COOKIE_NAME="spud_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.web.session_hours),
        MAX_CONTENT_LENGTH=settings.jobs.code_max_bytes + LARGEST_DIFF_BYTES + _FORM_BYTES,
        MAX_FORM_MEMORY_SIZE=_FORM_BYTES,
    )
