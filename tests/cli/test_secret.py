from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from tests.cli.conftest import Spud
from tests.web.box import WebBox

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("spud")]

VALUE = "correct horse battery staple"


def kept(box: WebBox, name: str) -> str:
    return box.storage.secrets.values(box.storage.users.get("ada").id, [name])[name]


def set_secret(box: WebBox, data: bytes, name: str = "KEY") -> tuple[int, str]:
    environ = {"SPUD_URL": box.url, "SPUD_TOKEN": box.token("ada")}
    done = CliRunner().invoke(main, ("secret", "set", name), input=data, env=environ)
    return done.exit_code, done.output


@pytest.mark.parametrize("data", [VALUE, f"{VALUE}\n", f"{VALUE}\r\n"])
def test_a_value_comes_from_stdin_without_its_line_end(box: WebBox, data: str) -> None:
    code, output = set_secret(box, data.encode())
    assert (code, kept(box, "KEY")) == (0, VALUE)
    assert VALUE not in output


def test_a_value_may_have_lines(box: WebBox) -> None:
    set_secret(box, b"BEGIN\nabc\nEND\n")
    assert kept(box, "KEY") == "BEGIN\nabc\nEND"


def test_a_value_is_typed_without_echo(box: WebBox) -> None:
    terminal, end = pty.openpty()
    package = str(Path(__file__).parents[2])
    environ = {**os.environ, "PYTHONPATH": package, "SPUD_URL": box.url, "SPUD_TOKEN": box.token("ada")}
    command = [sys.executable, "-m", "appliance.cli", "secret", "set", "KEY"]
    with subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, env=environ, start_new_session=True
    ) as typing:
        os.close(end)
        shown = read_until(terminal, b"Value of KEY")
        time.sleep(0.2)
        os.write(terminal, VALUE.encode() + b"\n")
        shown += read_until(terminal, b"is set")
        assert typing.wait(20) == 0
    assert kept(box, "KEY") == VALUE
    assert VALUE.encode() not in shown


def test_a_value_is_no_argument(spud: Spud) -> None:
    assert spud("secret", "set", "KEY", VALUE).exit_code == 2


@pytest.mark.parametrize(
    ("data", "sentence"), [(b"", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 40_000, "KiB")]
)
def test_a_value_that_no_variable_can_have_is_refused(box: WebBox, data: bytes, sentence: str) -> None:
    code, output = set_secret(box, data)
    assert (code, sentence in output) == (2, True)


def test_names_are_listed_and_removed(box: WebBox, spud: Spud) -> None:
    set_secret(box, VALUE.encode())
    assert spud("secret", "list").stdout.splitlines()[1].split()[0] == "KEY"
    assert json.loads(spud("secret", "list", "--json").stdout)[0]["name"] == "KEY"
    assert spud("secret", "remove", "KEY").exit_code == 0
    assert "No secrets yet" in spud("secret", "list").stderr
    assert "You have no secret KEY" in spud("secret", "remove", "KEY").stderr


def read_until(terminal: int, words: bytes) -> bytes:
    shown = b""
    deadline = time.monotonic() + 20
    while words not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096)
    return shown
