"""Logs followed over a real connection to a real `spud web`."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.jobs.log import Kind, LogRecord
from tests.web.box import STAMP, WebBox, bearer, process

pytestmark = pytest.mark.process

Event = tuple[str, Any, str]


def connect(box: WebBox, token: str, path: str, **headers: str) -> http.client.HTTPResponse:
    host, _, port = box.settings.web.listen.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    connection.request("GET", f"/api/v1{path}", headers={**bearer(token), **headers})
    return connection.getresponse()


def head(box: WebBox, token: str, path: str) -> None:
    host, _, port = box.settings.web.listen.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=15)
    connection.request("HEAD", f"/api/v1{path}", headers=bearer(token))
    assert connection.getresponse().status == 200


def events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Yield kind, data and id of each event until the server closes."""
    fields: dict[str, str] = {}
    while line := response.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], json.loads(fields["data"]), fields.get("id", "")
            fields = {}


def text_of(found: list[Event]) -> str:
    return "".join(data for kind, data, _ in found if kind == "log")


def test_a_job_is_followed_from_the_queue_to_its_end(served: WebBox, bob: str) -> None:
    job = served.submit("bob")
    stream = events(connect(served, bob, "/jobs/1/logs/stream"))
    assert next(stream)[1]["state"] == "pending"
    served.storage.lifecycle.set_waiting_for({job.id: "1 core"})
    assert next(stream)[1]["waiting_for"] == "1 core"
    attempt = served.start(job)
    served.write(attempt, "Step 200\nStep 400\n")
    served.finish(attempt)
    rest = list(stream)
    assert text_of(rest) == "Step 200\nStep 400\n"
    assert (rest[-1][0], rest[-1][1]["outcome"]) == ("end", "succeeded")


def test_a_followed_log_comes_at_once(served: WebBox, bob: str) -> None:
    attempt = served.start(served.submit("bob"))
    stream = events(connect(served, bob, "/jobs/1/logs/stream"))
    next(stream)
    delays = []
    for number in range(5):
        written = time.monotonic()
        served.write(attempt, f"line {number}\n")
        assert next(stream)[1] == f"line {number}\n"
        delays.append(time.monotonic() - written)
    assert sorted(delays)[2] < 0.3


def test_a_listener_that_lost_the_line_resumes_where_it_was(served: WebBox, bob: str) -> None:
    attempt = served.start(served.submit("bob"))
    served.write(attempt, "one\n")
    stream = events(connect(served, bob, "/jobs/1/logs/stream"))
    last_id = next(event for event in stream if event[0] == "log")[2]
    served.write(attempt, "two\n")
    served.finish(attempt)
    resumed = list(events(connect(served, bob, "/jobs/1/logs/stream", **{"Last-Event-ID": last_id})))
    assert text_of(resumed) == "two\n"
    assert text_of(list(events(connect(served, bob, f"/jobs/1/logs/stream?offset={last_id}")))) == "two\n"


def test_a_listener_who_was_away_misses_no_attempt(served: WebBox, bob: str) -> None:
    job = served.submit("bob")
    attempts = []
    last_id = ""
    for number in (1, 2, 3):
        attempts.append(served.start(job))
        served.write(attempts[-1], f"{number}a\n")
        if number == 1:
            stream = events(connect(served, bob, "/jobs/1/logs/stream"))
            last_id = next(event for event in stream if event[0] == "log")[2]
        served.write(attempts[-1], f"{number}b\n")
        if number < 3:
            served.fail_to_be_retried(attempts[-1])
    served.finish(attempts[-1])
    resumed = list(events(connect(served, bob, "/jobs/1/logs/stream", **{"Last-Event-ID": last_id})))
    assert text_of(resumed) == "1b\n2a\n2b\n3a\n3b\n"
    assert [data["number"] for kind, data, _ in resumed if kind == "attempt"] == [2, 3]
    between = next(place for kind, _, place in resumed if kind == "attempt")
    again = list(events(connect(served, bob, f"/jobs/1/logs/stream?offset={between}")))
    assert text_of(again) == "2a\n2b\n3a\n3b\n"


def test_an_attempts_last_lines_come_before_the_next_begins(served: WebBox, bob: str) -> None:
    job = served.submit("bob")
    first = served.start(job)
    stream = events(connect(served, bob, "/jobs/1/logs/stream"))
    assert next(stream)[0] == "state"
    served.write(first, "last words\n")
    served.fail_to_be_retried(first)
    second = served.start(job)
    served.write(second, "again\n")
    served.finish(second)
    kinds = [kind for kind, _, _ in stream if kind != "state"]
    assert kinds == ["log", "attempt", "log", "end"]


def test_a_large_log_arrives_whole_and_in_order(served: WebBox, bob: str) -> None:
    attempt = served.start(served.submit("bob"))
    text = "".join(f"line {number} \u00e9\n" for number in range(50_000))
    served.write(attempt, text)
    served.finish(attempt)
    assert text_of(list(events(connect(served, bob, "/jobs/1/logs/stream")))) == text


def test_a_character_cut_by_a_long_line_arrives_whole(served: WebBox, bob: str) -> None:
    attempt = served.start(served.submit("bob"))
    first, second = "x\u00e9"[:1].encode() + b"\xc3", b"\xa9y"
    log = served.storage.job_directory(attempt).log
    log.write_bytes(LogRecord(STAMP, Kind.PART, first).encode())
    stream = events(connect(served, bob, "/jobs/1/logs/stream"))
    assert [next(stream)[0], next(stream)[1]] == ["state", "x"]
    with log.open("ab") as file:
        file.write(LogRecord(STAMP, Kind.FULL, second).encode())
    assert next(stream)[1] == "\u00e9y\n"


@pytest.mark.parametrize("offset", ["5", "1"])
def test_an_offset_that_was_never_sent_is_refused(served: WebBox, bob: str, offset: str) -> None:
    served.write(served.start(served.submit("bob")), "one\n")
    assert connect(served, bob, f"/jobs/1/logs/stream?offset={offset}").status == 400


def test_listeners_who_leave_free_their_threads(box: WebBox, bob: str) -> None:
    box.start(box.submit("bob"))
    with process("web", {**box.environ, "SPUD_WEB_THREADS": "10"}, f"{box.url}/healthz"):
        for _ in range(3):
            head(box, bob, "/jobs/1/logs/stream")  # opens no stream, so it must hold none
        held = [connect(box, bob, "/jobs/1/logs/stream") for _ in range(2)]
        assert [response.status for response in held] == [200, 200]
        refused = connect(box, bob, "/jobs/1/logs/stream")
        assert (refused.status, refused.getheader("Retry-After")) == (503, "10")
        for response in held:
            response.close()
        deadline = time.monotonic() + 5
        while connect(box, bob, "/jobs/1/logs/stream").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_sigterm_ends_the_process_in_spite_of_listeners(box: WebBox, bob: str) -> None:
    box.start(box.submit("bob"))
    with process("web", box.environ, f"{box.url}/healthz") as web:
        stream = events(connect(box, bob, "/jobs/1/logs/stream"))
        next(stream)
        reader = threading.Thread(target=lambda: list(stream))
        reader.start()
        began = time.monotonic()
        web.terminate()
        assert web.wait(timeout=10) == 0
        assert time.monotonic() - began < 2
        reader.join(timeout=5)
