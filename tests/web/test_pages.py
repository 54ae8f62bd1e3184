"""The pages without JavaScript: what a user reads and sends."""

from __future__ import annotations

import io
import os
import re
import tarfile
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.web.display import duration, moment, size
from tests.factories import make_gpu, make_spec
from tests.web.box import FAILED, WebBox, csrf_of, sign_in

pytestmark = pytest.mark.unit


@pytest.fixture
def browser(client: FlaskClient, ada: str) -> FlaskClient:
    """A browser in which ada is signed in."""
    sign_in(client, ada)
    return client


def text(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text))


def send(client: FlaskClient, page: str, path: str | None = None, **form: Any) -> Any:
    return client.post(path or page, data={"csrf_token": csrf_of(client, page), **form})


def script(name: str = "train.py", content: bytes = b"print(1)") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


def test_an_empty_box_says_what_to_do(browser: FlaskClient) -> None:
    page = text(browser, "/")
    assert "Jobs run on the CPU" in page
    assert "spud run train.py" in page
    assert "The scheduler is not running" in page


def test_the_overview_shows_cards_and_jobs(box: WebBox, browser: FlaskClient) -> None:
    box.see(make_gpu(0))
    box.start(box.submit("ada", name="rnn", gpus=1), "GPU-0")
    waiting = box.submit("ada", name="sweep", gpus=4)
    box.storage.lifecycle.set_waiting_for({waiting.id: "4 GPUs, of which none is free"})
    page = text(browser, "/")
    assert "simulated GeForce GTX 1070 Ti" in page
    assert "waits for 4 GPUs, of which none is free" in page
    assert "rnn" in page


def test_a_user_s_overview_shows_own_jobs_only(box: WebBox, client: FlaskClient, ada: str, bob: str) -> None:
    box.see(make_gpu(0))
    box.start(box.submit("ada", name="secret-job", gpus=1), "GPU-0")
    sign_in(client, bob)
    page = text(client, "/")
    assert "secret-job" not in page
    assert "Working for another user" in page
    assert "secret-job" not in text(client, "/jobs?owner=ada")


def test_a_finished_job_tells_why(box: WebBox, browser: FlaskClient) -> None:
    attempt = box.start(box.submit("ada"))
    box.write(attempt, "10%\r100%\n<script>alert(1)</script>\n")
    box.finish(attempt, FAILED)
    page = browser.get("/jobs/1").text
    assert "The command failed with exit code 1." in page
    assert "ModuleNotFoundError" in page
    assert "Add the package that has nmupy to requirements.txt." in page
    assert "<pre>100%\n&lt;script&gt;" in page
    assert "data-stream" not in page


def test_a_job_that_was_tried_again_tells_of_each_attempt(box: WebBox, browser: FlaskClient) -> None:
    box.fail_to_be_retried(box.start(box.submit("ada")))
    box.start(box.storage.jobs.get(1))
    attempts = text(browser, "/jobs/1").split("Attempts")[1]
    assert "user error, exit code 1" in attempts
    assert "under way" in attempts


def test_a_removed_workspace_is_told(box: WebBox, browser: FlaskClient) -> None:
    attempt = box.start(box.submit("ada"))
    box.finish(attempt)
    assert "The job has kept no files." in text(browser, "/jobs/1")
    with box.storage.database.transaction() as connection:
        connection.execute("UPDATE attempt SET workspace_removed_at = 1")
    assert "The workspace was removed" in text(browser, "/jobs/1")


def test_a_job_on_a_simulated_gpu_says_so(box: WebBox, browser: FlaskClient) -> None:
    box.see(make_gpu(0))
    box.start(box.submit("ada", gpus=1), "GPU-0")
    assert "GPU 0, NVIDIA GeForce GTX 1070 Ti (simulated)" in text(browser, "/jobs/1")


def test_a_running_job_is_followed_from_where_the_page_ends(box: WebBox, browser: FlaskClient) -> None:
    attempt = box.start(box.submit("ada"))
    box.write(attempt, "one\n")
    offset = box.storage.job_directory(attempt).log.stat().st_size
    assert f'data-place="1-{offset}"' in browser.get("/jobs/1").text


def test_a_job_is_cancelled_after_a_question(box: WebBox, browser: FlaskClient) -> None:
    box.start(box.submit("ada"))
    assert "What it has written so far is kept." in text(browser, "/jobs/1/cancel")
    assert send(browser, "/jobs/1/cancel").headers["Location"] == "/jobs/1"
    assert "ada asked for its end" in text(browser, "/jobs/1")


def test_jobs_are_filtered_and_paged(box: WebBox, browser: FlaskClient) -> None:
    for _ in range(51):
        box.submit("ada")
    assert 'before=2"' in browser.get("/jobs").text
    assert len(re.findall(r'href="/jobs/\d+"', browser.get("/jobs?before=2").text)) == 1
    assert "No job is running" in text(browser, "/jobs?show=running")
    assert browser.get("/jobs?show=x").status_code == 404


def test_a_script_is_submitted_with_its_files(box: WebBox, browser: FlaskClient) -> None:
    files = [script("data.txt", b"1"), script("code/train.py"), script("lib.py")]
    answer = send(browser, "/submit", files=files, arguments="--note 'two words'", time="2h", gpus="0")
    assert answer.headers["Location"] == "/jobs/1"
    job = box.storage.jobs.get(1)
    assert job.spec.command == ("python3", "train.py", "--note", "two words")
    assert job.spec.time == 7200
    with tarfile.open(box.storage.snapshots.path(str(job.snapshot))) as archive:
        assert archive.getnames() == ["data.txt", "train.py", "lib.py"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "Choose the script to run"),
        ({"files": script("-m.py")}, "cannot be the name of a file"),
        ({"files": script("x" * 300 + ".py")}, "cannot be the name of a file"),
        ({"files": script("data.csv")}, "None of these files can be run"),
        ({"files": script(), "script": "other.py"}, "is not among the uploaded files"),
        ({"files": script(), "arguments": "'open"}, "a quote that is not closed"),
        ({"files": script(), "memory": "much"}, "must be a size such as 8G"),
        ({"files": script(), "data": "nothing"}, "Unknown data set"),
        ({"files": [script(), script()]}, "twice"),
        ({"files": script(content=os.urandom(300_000))}, "larger than"),
    ],
)
def test_a_mistake_in_the_form_is_told_and_the_form_kept(
    box: WebBox, browser: FlaskClient, form: dict[str, Any], sentence: str
) -> None:
    answer = send(browser, "/submit", name="my-job", **form)
    assert answer.status_code in (400, 413)
    assert sentence in answer.text.replace("&#39;", "'")
    assert 'value="my-job"' in answer.text
    assert box.storage.jobs.list() == ()


def test_a_new_user_s_token_is_shown_once(box: WebBox, browser: FlaskClient) -> None:
    page = send(browser, "/users", name="eve", role="user").text
    token = re.search(r'id="new-token">(spud_[^<]+)', page)
    assert token is not None
    assert box.storage.users.identify(token[1]) is not None
    assert token[1] not in browser.get("/users").text


def test_a_user_s_tokens_are_revoked_after_a_question(box: WebBox, browser: FlaskClient, bob: str) -> None:
    assert "signed out everywhere" in text(browser, "/users/bob/revoke")
    send(browser, "/users", "/users/bob/revoke")
    assert box.storage.users.identify(bob) is None


def test_a_wrong_name_is_told_on_the_page(browser: FlaskClient) -> None:
    answer = send(browser, "/users", name="Not A Name", role="user")
    assert answer.status_code == 400
    assert "cannot be a user name" in answer.text


def test_times_and_sizes_read_as_people_say_them() -> None:
    assert [duration(s) for s in (0, 59.9, 65, 3600, 3725, 90_000)] == [
        "0 s", "59 s", "1 min 5 s", "1 h", "1 h 2 min", "1 d 1 h"
    ]  # fmt: skip
    assert [size(b) for b in (0, 1023, 1024, 1536, 24 * 1024**3, 10**18)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "24.0 GiB", "909495 TiB"
    ]  # fmt: skip
    assert "3 min ago" in moment(1000.0, now=1200.0)


def test_a_finished_job_is_run_again_from_its_page(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.finish(box.start(box.submit("ada")))
    sign_in(client, ada)
    assert "Run again" in client.get("/jobs/1").text
    answer = client.post("/jobs/1/retry", data={"csrf_token": csrf_of(client, "/jobs/1")})
    assert answer.status_code == 303
    assert box.storage.jobs.get(1).retry_requested_by == "ada"
    assert "ada asked to run it again" in client.get("/jobs/1").text


def test_the_page_links_what_was_not_committed(box: WebBox, client: FlaskClient, ada: str) -> None:
    owner = box.storage.users.get("ada")
    box.storage.jobs.add(make_spec(), owner, None, "1a2b3c4+dirty", "0" * 64)
    sign_in(client, ada)
    assert 'href="/api/v1/jobs/1/diff"' in client.get("/jobs/1").text


def test_the_form_asks_for_shares_of_cards_and_packages(box: WebBox, client: FlaskClient, ada: str) -> None:
    box.see(make_gpu(0))
    sign_in(client, ada)
    form = {
        "csrf_token": csrf_of(client, "/submit"),
        "files": [(io.BytesIO(b"pass"), "train.py"), (io.BytesIO(b"numpy"), "gpu.txt")],
        "gpus": "",
        "gpu_memory": "2G",
        "retries": "2",
        "requirements": "gpu.txt",
    }
    answer = client.post("/submit", data=form)
    assert answer.status_code == 303, answer.text
    job = box.storage.jobs.get(1)
    assert (job.spec.gpus, job.spec.gpu_memory, job.spec.retries) == (1, 2 * 1024**3, 2)
    assert job.requirements_hash
