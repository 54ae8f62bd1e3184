"""run and logs against a real API; the test plays the scheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import main
from appliance.jobs.job import Verdict
from appliance.jobs.log import Kind, LogRecord, stamp
from appliance.jobs.reason import Outcome, Reason
from tests.cli.conftest import Spud
from tests.web.box import STAMP, WebBox, process

pytestmark = pytest.mark.process


def as_scheduler(box: WebBox, play: Callable[[WebBox], None]) -> None:
    """Play the scheduler's part as soon as there is a job."""

    def wait_and_play() -> None:
        while not box.storage.jobs.waiting():
            time.sleep(0.02)
        play(box)

    threading.Thread(target=wait_and_play, daemon=True).start()


def end(box: WebBox, outcome: Outcome, exit_code: int | None, text: str = "") -> None:
    attempt = box.start(box.storage.jobs.waiting()[0])
    box.write(attempt, text)
    box.finish(attempt, Verdict(outcome, Reason.USER_ERROR, "It is over.", ("proof",), exit_code, "Mend it."))


@pytest.fixture
def script(spud: Spud) -> Path:
    Path("train.py").write_text("print(1)\n")
    return Path("train.py")


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize(
    ("outcome", "code", "exit_code"),
    [
        (Outcome.SUCCEEDED, 0, 0),
        (Outcome.FAILED, 7, 7),
        (Outcome.TIMED_OUT, None, 1),
        (Outcome.CANCELLED, 0, 1),
    ],
)
def test_run_ends_as_the_job_ends(
    box: WebBox, spud: Spud, outcome: Outcome, code: int, exit_code: int
) -> None:
    as_scheduler(box, lambda box: end(box, outcome, code))
    assert spud("run", "train.py").exit_code == exit_code


@pytest.mark.usefixtures("script")
def test_log_is_on_stdout_and_all_else_on_stderr(box: WebBox, spud: Spud) -> None:
    as_scheduler(box, lambda box: end(box, Outcome.FAILED, 1, "one\ntwo\n"))
    result = spud("run", "train.py")
    assert result.stdout == "one\ntwo\n"
    assert "Submitted job 1 (no GPU).\n" in result.stderr
    assert result.stderr.endswith("Job 1 failed (user_error): It is over.\n  proof\nMend it.\n")


@pytest.mark.usefixtures("script")
def test_waiting_is_told_when_its_reason_changes(box: WebBox, spud: Spud) -> None:
    def play(box: WebBox) -> None:
        job = box.storage.jobs.waiting()[0]
        for reason in ("the engine", "a GPU"):
            box.storage.lifecycle.set_waiting_for({job.id: reason})
            time.sleep(1.0)
            job = box.storage.jobs.get(job.id)
        end(box, Outcome.SUCCEEDED, 0)

    as_scheduler(box, play)
    told = [line for line in spud("run", "train.py").stderr.splitlines() if "waits" in line]
    assert told == ["Job 1 waits for the engine", "Job 1 waits for a GPU"]


def test_raw_log_passes_byte_for_byte(box: WebBox, spud: Spud) -> None:
    attempt = box.start(box.submit("ada"))
    text = b"\x1b[32mgr\xc3\xbcn\xff\xfe \r 50 %"
    with box.storage.job_directory(attempt).log.open("wb") as log:
        log.write(LogRecord(STAMP, Kind.FULL, text).encode())
    box.finish(attempt)
    assert spud("logs", "--raw", "1").stdout_bytes == text + b"\n"
    assert spud("logs", "--raw", "-f", "1").stdout_bytes == text + b"\n"


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_log_in_a_pipe_is_the_last_state_of_each_line(
    box: WebBox, spud: Spud, follow: tuple[str, ...]
) -> None:
    attempt = box.start(box.submit("ada"))
    box.write(attempt, "\x1b[32mgr\u00fcn\x1b[0m\n 1/2\r 2/2\nwithout end")
    with box.storage.job_directory(attempt).log.open("ab") as log:
        log.write(LogRecord(STAMP, Kind.FULL, b" \xff").encode())
    box.finish(attempt)
    assert spud("logs", "1", *follow).stdout_bytes == "gr\u00fcn\n 2/2\nwithout end".encode() + b" \xff\n"


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_log_may_begin_at_a_time(box: WebBox, spud: Spud, follow: tuple[str, ...]) -> None:
    attempt = box.start(box.submit("ada"))
    now = time.time()
    with box.storage.job_directory(attempt).log.open("wb") as log:
        for seconds_ago in (7200, 90, 5):
            log.write(LogRecord(stamp(now - seconds_ago), Kind.FULL, b"%d" % seconds_ago).encode())
    box.finish(attempt)
    assert spud("logs", "1", "--since", "1h", *follow).stdout == "90\n5\n"
    assert spud("logs", "1", "--since", "30s", *follow).stdout == "5\n"
    day_before = datetime.fromtimestamp(now - 86_400).astimezone()
    assert spud("logs", "1", "--since", f"{day_before:%Y-%m-%d %H:%M}", *follow).stdout == "7200\n90\n5\n"
    assert spud("logs", "1", "--since", "1s", *follow).stdout == ""
    assert spud("logs", "1", "--since", "soon").exit_code == 2


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_times_stand_before_lines_and_not_within_them(
    box: WebBox, spud: Spud, follow: tuple[str, ...]
) -> None:
    attempt = box.start(box.submit("ada"))
    box.write(attempt, "part ")
    box.write(attempt, "whole\n10%\r20%\n")
    box.finish(attempt)
    at = STAMP.decode()
    assert spud("logs", "1", "-t", *follow).stdout == f"{at} part whole\n{at} 20%\n"


def test_followed_log_goes_on_with_the_next_attempt(box: WebBox, spud: Spud) -> None:
    job = box.submit("ada")
    first = box.start(job)

    def play() -> None:
        time.sleep(0.5)
        box.write(first, "one\n")
        box.fail_to_be_retried(first)
        time.sleep(0.5)
        second = box.start(job)
        box.write(second, "two\n")
        time.sleep(0.5)
        box.finish(second)

    threading.Thread(target=play).start()
    result = spud("logs", "-f", "1")
    assert result.stdout == "one\ntwo\n"
    assert result.stderr.count("Attempt 1 ended: The command failed with exit code 1; trying again.\n") == 1


def test_an_attempt_that_is_followed_alone_ends_by_itself(box: WebBox, spud: Spud) -> None:
    job = box.submit("ada")
    first = box.start(job)
    box.write(first, "one\n")
    box.fail_to_be_retried(first)
    box.write(box.start(job), "two\n")
    result = spud("logs", "-f", "--attempt", "1", "1")
    assert result.stdout == "one\n"
    assert result.stderr.endswith("Attempt 1 ended: The command failed with exit code 1.\n")


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_log_may_begin_at_its_tail(box: WebBox, spud: Spud, follow: tuple[str, ...]) -> None:
    attempt = box.start(box.submit("ada"))
    box.write(attempt, "".join(f"{number}\n" for number in range(100)))
    box.finish(attempt)
    assert spud("logs", "1", "--tail", "2", *follow).stdout == "98\n99\n"


def test_log_of_a_job_that_waits_says_so(box: WebBox, spud: Spud) -> None:
    box.storage.lifecycle.set_waiting_for({box.submit("ada").id: "a GPU"})
    assert spud("logs", "1").stderr == "Job 1 waits for a GPU\n"


def test_log_of_a_missing_attempt_is_an_error(box: WebBox, spud: Spud) -> None:
    box.start(box.submit("ada"))
    assert spud("logs", "1", "--attempt", "4").exit_code == 1


def test_followed_log_outlives_a_restart_of_the_page(tmp_path: Path) -> None:
    box = WebBox(tmp_path, SPUD_JOBS_MIN_FREE_BYTES="0")
    environ = {"SPUD_URL": box.url, "SPUD_TOKEN": box.token("ada")}
    attempt = box.start(box.submit("ada"))
    results = []

    def follow() -> None:
        results.append(CliRunner().invoke(main, ["logs", "-f", "1"], env=environ))

    follower = threading.Thread(target=follow)
    with process("web", box.environ, f"{box.url}/healthz") as web:
        box.write(attempt, "before\n")
        follower.start()
        time.sleep(1.5)
        web.kill()
        web.wait()
    box.write(attempt, "between\n")
    with process("web", box.environ, f"{box.url}/healthz"):
        box.write(attempt, "after\n")
        box.finish(attempt)
        follower.join(20)
    assert results[0].stdout == "before\nbetween\nafter\n"
    assert "Trying again." in results[0].stderr
    assert "Spud answers again." in results[0].stderr
