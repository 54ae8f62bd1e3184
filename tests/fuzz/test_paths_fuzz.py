"""Whatever is asked for by path, offset, time or address: what is there, or a sentence; not the box's."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from appliance.errors import AccessDenied, InvalidRequest, NotFound
from appliance.jobs.log import Kind, LogRecord, stamp
from appliance.web import job_files, log_text
from appliance.web.access import safe_return_path
from appliance.web.app import create_app
from tests.fuzz.effort import cases
from tests.fuzz.sentences import assert_is_one_sentence
from tests.fuzz.served_box import OTHER_SECRET, USER, filled_box
from tests.web.box import bearer

pytestmark = pytest.mark.unit

PARTS = st.sampled_from(
    [
        *(
            "output",
            "workspace",
            "output",
            "workspace",
            "model",
            "weights.bin",
            "train.py",
            "outside",
            "passwd",
        ),
        *(
            "..",
            ".",
            "",
            "home",
            "output.log",
            "pipe",
            "up",
            "etc",
            "%2e%2e",
            "\0",
            "\n",
            "x" * 300,
            "..\\",
            "\udcff",
        ),
    ]
)
WITHIN = st.builds(
    lambda top, rest: "/".join([top, *rest]),
    st.sampled_from(["output", "workspace"]),
    st.lists(st.sampled_from(["model", "weights.bin", "train.py", "outside", "passwd", "up"]), max_size=3),
)
PATHS = WITHIN | st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=20)
TEXTS = (
    st.text(max_size=30) | st.integers().map(str) | st.sampled_from(["", "-1", "0", "1-0", "1-33", "9" * 30])
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A client that sends a user's token with every request."""
    box = filled_box(tmp_path_factory.mktemp("fuzzed"))
    client = create_app(box.settings, box.storage).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(box.token(USER))["Authorization"]
    return client


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An attempt's folder as an evil job leaves it."""
    root = tmp_path_factory.mktemp("jobs") / "1"
    (root / "output" / "model").mkdir(parents=True)
    (root / "workspace").mkdir()
    (root / "home").mkdir()
    (root / "output" / "model" / "weights.bin").write_bytes(b"w")
    (root / "workspace" / "train.py").write_text("t")
    (root / "output.log").write_text("log")
    (root / "home" / "passwd").write_text("p")
    (root / "output" / "outside").symlink_to("/etc")
    (root / "output" / "up").symlink_to("..")
    (root / "workspace" / "passwd").symlink_to("/etc/passwd")
    (root / "workspace" / "model").symlink_to("../output/model")
    os.mkfifo(root / "output" / "pipe")
    return root


@cases(300)
@given(PATHS)
def test_only_plain_files_of_the_job_are_opened(tree: Path, path: str) -> None:
    try:
        found = job_files.open_file(tree, path)
    except (NotFound, AccessDenied) as error:
        assert_is_one_sentence(error)
        return
    with found.file:
        opened = Path(f"/proc/self/fd/{found.file.fileno()}").resolve()
    assert opened in (tree / "output/model/weights.bin", tree / "workspace/train.py")
    assert tree / path == opened


@cases(80)
@given(PATHS)
@example("output/model/weights.bin")
def test_no_address_leads_to_a_file_outside(client: FlaskClient, path: str) -> None:
    address = quote(path, safe="/%", errors="surrogateescape")
    answer = client.get(f"/api/v1/jobs/1/files/{address}", buffered=True)
    assert_is_fit_for_strangers(answer)


@cases(60)
@given(st.sampled_from(["offset", "tail", "since", "attempt", "timestamps"]), TEXTS, st.none() | TEXTS)
@example("offset", "9" * 18, None)
def test_any_place_in_a_log_is_found_or_refused(
    client: FlaskClient, name: str, value: str, event_id: str | None
) -> None:
    headers = {"Last-Event-ID": quote(event_id, safe=" -")} if event_id is not None else {}
    for path in ("logs", "logs/stream"):
        answer = client.get(
            f"/api/v1/jobs/1/{path}", query_string={name: value}, headers=headers, buffered=True
        )
        assert_is_fit_for_strangers(answer)


@cases(80)
@given(
    st.sampled_from(
        ["/", "/jobs", "/jobs/1", "/jobs/1/log", "/submit", "/users", "/gpus", "/login", "/audit"]
    ),
    st.dictionaries(
        st.sampled_from(["attempt", "state", "owner", "before", "next", "page", "offset", "tail"])
        | st.text(max_size=5),
        TEXTS,
        max_size=3,
    ),
)
def test_any_page_with_any_words_behind_it_is_answered(
    client: FlaskClient, path: str, query: dict[str, str]
) -> None:
    answer = client.get(path, query_string=query)
    assert answer.status_code < 500
    assert "Traceback" not in answer.text


@cases(300)
@given(
    st.lists(st.sampled_from(["/", "\\", "//", "evil.example", ":", "\t", "\n", "@", "a", ".."]), max_size=6)
)
def test_nobody_is_sent_elsewhere_after_signing_in(parts: list[str]) -> None:
    path = safe_return_path("".join(parts))
    # Browsers read a backslash as a slash (WHATWG URL, "special URLs").
    assert urlsplit(urljoin("http://box/login", path.replace("\\", "/"))).netloc == "box"


TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


@cases(80)
@given(
    st.lists(st.tuples(TIMES, st.sampled_from([Kind.FULL, Kind.PART]), st.binary(max_size=20)), max_size=8),
    TIMES,
    st.none() | st.integers(0, 9),
)
def test_a_log_since_a_time_begins_with_the_first_line_of_it(
    tmp_path: Path, lines: list[tuple[datetime, Kind, bytes]], since: datetime, tail: int | None
) -> None:
    times = sorted(time for time, _, _ in lines)
    records = [
        LogRecord(stamp(time.timestamp()), kind, text.translate(None, b"\n"))
        for time, (_, kind, text) in zip(times, lines, strict=True)
    ]
    path = tmp_path / "output.log"
    path.write_bytes(b"".join(record.encode() for record in records))
    starts = [
        (sum(len(earlier.encode()) for earlier in records[:number]), times[number])
        for number in range(len(records))
        if number == 0 or records[number - 1].kind is Kind.FULL
    ]
    size = path.stat().st_size
    wanted = [offset for offset, time in starts if time.timestamp() >= since.timestamp()]
    last = [offset for offset, _ in starts][-tail:] if tail else [] if tail == 0 else [0]
    expected = max(wanted[0] if wanted else size, (last or [0 if tail else size])[0])
    assert log_text.start_offset(path, tail, since.timestamp()) == expected


@cases(100)
@given(st.integers(-1, 200))
def test_an_offset_is_the_beginning_of_a_record_or_refused(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "output.log"
    records = [LogRecord(stamp(at), Kind.FULL, b"x" * at).encode() for at in range(3)]
    path.write_bytes(b"".join(records))
    beginnings = {0, len(records[0]), len(records[0] + records[1]), sum(map(len, records))}
    try:
        log_text.check_offset(path, max(0, offset))
    except InvalidRequest as error:
        assert_is_one_sentence(error)
        assert offset not in beginnings
    else:
        assert max(0, offset) in beginnings or offset > sum(map(len, records))


def assert_is_fit_for_strangers(answer: TestResponse) -> None:
    assert answer.status_code < 500, answer.data
    for word in (b"root:x:0:0", b"Traceback", OTHER_SECRET.encode(), b"/store/"):
        assert word not in answer.data
