from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from waitress.server import create_server

from appliance.cli.main import main
from appliance.config import split_address
from appliance.users.user import Role
from appliance.web.app import create_app
from appliance.web.services import services
from tests.web.box import WebBox

Spud = Callable[..., Result]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    """A box whose page and API answer; nobody schedules there."""
    box = WebBox(tmp_path / "box", SPUD_JOBS_MIN_FREE_BYTES="0")
    box.see()
    app = create_app(box.settings, box.storage)
    host, port = split_address(box.settings.web.listen)
    server = create_server(app, host=host, port=port, threads=12)
    with app.app_context():
        stopping = services().stopping
    thread = threading.Thread(target=serve, args=(server, stopping))
    thread.start()
    yield box
    stopping.set()
    thread.join()
    server.close()


def serve(server: Any, stopping: threading.Event) -> None:
    while not stopping.is_set():
        server.asyncore.loop(timeout=0.05, map=server._map, count=1)


@pytest.fixture
def spud(box: WebBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spud:
    """Run `spud` as the administrator ada, in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return as_user(box, "ada", Role.ADMIN)


@pytest.fixture
def spud_of_bob(box: WebBox, spud: Spud) -> Spud:
    """Run `spud` as bob, who is no administrator."""
    return as_user(box, "bob", Role.USER)


def as_user(box: WebBox, name: str, role: Role) -> Spud:
    environ = {"SPUD_URL": box.url, "SPUD_TOKEN": box.token(name, role)}

    def run(*arguments: str, **options: str) -> Result:
        return CliRunner().invoke(main, arguments, env={**environ, **options}, prog_name="spud")

    return run
