"""Whatever stands in a requirements file, a settings file or a name: what is meant, or one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.cli.since import parse_since
from appliance.config import Settings, load_settings
from appliance.errors import ConfigError, InvalidRequest
from appliance.jobs.requirements import find_requirements
from appliance.jobs.spec import parse_spec
from appliance.users import secrets, user
from tests.fuzz.effort import cases
from tests.fuzz.sentences import assert_is_one_sentence

pytestmark = pytest.mark.unit

FILES = ("requirements.txt", "lib/base.txt", "gpu.txt", "pyproject.toml")
LINES = st.sampled_from(
    [
        *(
            "numpy",
            "numpy>=1,<2 ; python_version > '3'",
            "-r lib/base.txt",
            "-c ../requirements.txt",
            "-r gpu.txt",
        ),
        *(
            "-r ../../etc/passwd",
            "-r /etc/passwd",
            "--requirement=gpu.txt",
            "-e .",
            "./lib",
            "# -r gpu.txt",
            "\\",
        ),
        *(
            "-r 'gpu.txt'",
            '-r "',
            "-r",
            "--hash=sha256:ab \\",
            "a @ file:./a.whl",
            "-f ..",
            "\x00",
            "\x0c-e .",
        ),
    ]
) | st.text(max_size=20)
CONTENTS = (
    st.lists(LINES, max_size=5).map(lambda lines: "\n".join(lines).encode(errors="replace"))
    | st.binary(max_size=40)
    | st.sampled_from(
        [b"\xff\xfe", b"\xef\xbb\xbfnumpy", b"[project]\ndependencies = ['a', 'b']", b"[project", b"x" * 99]
    )
)


@cases(200)
@given(
    st.dictionaries(st.sampled_from(FILES), CONTENTS),
    st.none() | st.sampled_from(FILES) | st.text(max_size=9),
)
def test_only_files_of_the_code_are_read(code: Mapping[str, bytes], named: str | None) -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return code.get(path)

    try:
        found = find_requirements(read, named or None)
    except InvalidRequest as error:
        assert_is_one_sentence(error)
    else:
        if found:
            assert found.file in found.files
            assert found.hash("a") == found.hash("a")
            assert (found.hash("a") != found.hash("b")) is found.needs_code
    for path in asked if not named else asked[1:]:
        assert not path.startswith("/")
        assert ".." not in PurePosixPath(path).parts


@cases(200)
@given(
    st.dictionaries(
        st.sampled_from(sorted(Settings.model_fields)),
        st.dictionaries(
            st.sampled_from(
                ["listen", "threads", "directory", "max_bytes", "reachable_ports", "mode", "cpus"]
            ),
            st.sampled_from(
                [
                    "1",
                    "-1",
                    "nan",
                    "inf",
                    "true",
                    '""',
                    '"a"',
                    '"x:99999"',
                    '"²"',
                    "[]",
                    "{}",
                    "1979-05-27",
                    "9e999",
                    "0x",
                ]
            ),
        ),
        max_size=3,
    ),
    st.sampled_from(["", "\n[", "\n\ud800", "\n[web]\n[web]", "\nx = 1", "\n[[web]]", "\n[nothing]", "\0"]),
)
def test_settings_are_right_or_a_sentence(
    tmp_path: Path, values: Mapping[str, Mapping[str, str]], rest: str
) -> None:
    file = tmp_path / "config.toml"
    lines = [
        f"[{section}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
        for section, keys in values.items()
    ]
    file.write_bytes(("\n".join(lines) + rest).encode(errors="surrogatepass"))
    try:
        settings = load_settings(file, {})
    except ConfigError as error:
        assert_is_one_sentence(error, names=str(file))
    else:
        assert settings.network.ports is not None


@cases(150)
@given(
    st.sampled_from(["SPUD_WEB_LISTEN", "SPUD_NETWORK_REACHABLE_PORTS", "SPUD_JOBS_PIDS"]),
    st.text(max_size=12),
)
@example("SPUD_NETWORK_REACHABLE_PORTS", "²")
@example("SPUD_NETWORK_REACHABLE_PORTS", "22, 65536")
@example("SPUD_WEB_LISTEN", "localhost:²")
@example("SPUD_WEB_LISTEN", "x:" + "9" * 5000)
def test_variables_are_right_or_a_sentence(variable: str, value: str) -> None:
    try:
        settings = load_settings(None, {"SPUD_CONFIG": "/dev/null", variable: value})
    except ConfigError as error:
        assert_is_one_sentence(error, names=variable)
    else:
        assert all(0 < port < 65536 for port in settings.network.ports)


@cases(150)
@given(st.text(max_size=40) | st.from_regex(r"\A[A-Za-z_.-]{1,40}\n?\Z"))
def test_names_that_are_taken_cannot_be_paths_or_options(name: str) -> None:
    for check in (user.check_name, secrets.check_name, data_name):
        try:
            taken = check(name)
        except InvalidRequest as error:
            assert_is_one_sentence(error)
        else:
            assert taken == name
            assert name not in (".", "..")
            assert not set(name) & set("/\\\0\n\r\t :='\"$`")
            assert not name.startswith("-")
            assert name.isascii()


def data_name(name: str) -> str:
    return parse_spec({"command": ["x"], "data": [name]}).data[0]


@cases(150)
@given(st.text(max_size=20) | st.from_regex(r"\A(\d{1,9}[dhms]){1,4}\Z"))
def test_a_moment_is_found_or_a_value_error(text: str) -> None:

    with contextlib.suppress(ValueError, OverflowError):
        assert parse_since(text, datetime.now(UTC)).tzinfo is not None
