"""submit, list, show, cancel against a real API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.jobs.job import Verdict
from appliance.jobs.reason import Outcome, Reason
from tests.cli.conftest import Spud
from tests.factories import make_gpu
from tests.web.box import WebBox

pytestmark = pytest.mark.unit


@pytest.fixture
def script(spud: Spud) -> Path:
    Path("train.py").write_text("print(1)\n")
    return Path("train.py")


@pytest.mark.usefixtures("script")
def test_submitted_job_is_recorded_with_its_code(box: WebBox, spud: Spud) -> None:
    result = spud("submit", "train.py", "--time", "2h", "--env", "A=b")
    job = box.storage.jobs.get(1)
    assert result.stdout == "Submitted job 1 (no GPU). Follow it with: spud logs -f 1\n"
    assert result.stderr == "Code: 1 file, 9 B\n"
    assert (job.spec.command, job.spec.time, job.spec.env) == (("python3", "train.py"), 7200, {"A": "b"})
    assert box.storage.snapshots.path(job.snapshot or "").exists()


@pytest.mark.usefixtures("script")
def test_submitted_job_in_json(spud: Spud) -> None:
    assert json.loads(spud("submit", "--json", "train.py").stdout)["state"] == "pending"


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train.py --gpus 9", "GPU"),
        ("train.py --memory lots", "must be a size such as 8G"),
        ("train.py --data absent", "data set"),
        ("train.py --name a/b", "name"),
    ],
)
def test_impossible_job_is_refused_with_the_apis_sentence(spud: Spud, line: str, sentence: str) -> None:
    result = spud("submit", *line.split())
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert sentence in result.stderr.splitlines()[-1]
    assert result.exit_code == 2


def test_unknown_key_in_a_job_file_is_told(spud: Spud) -> None:
    Path("job.yaml").write_text("command: [make]\ngpu: 1\n")
    assert 'Did you mean "gpus"?' in spud("submit", "--file", "job.yaml").stderr


@pytest.mark.usefixtures("script")
def test_code_over_the_boxs_limit_is_refused_before_it_is_sent(box: WebBox, spud: Spud) -> None:
    with Path("big.bin").open("wb") as file:
        file.truncate(3 * 1024**3)
    result = spud("submit", "train.py")
    assert "Largest: big.bin (3.0 GiB), train.py" in result.stderr
    assert box.storage.jobs.list() == ()


@pytest.mark.usefixtures("script")
def test_revoked_token_gets_one_sentence(box: WebBox, spud: Spud) -> None:
    box.storage.users.revoke_tokens(box.storage.users.get("ada"))
    result = spud("submit", "train.py")
    assert "This token is unknown or revoked." in result.stderr
    assert result.exit_code == 1


def test_list_shows_why_a_job_waits(box: WebBox, spud: Spud) -> None:
    job = box.submit("ada", name="first")
    box.storage.lifecycle.set_waiting_for({job.id: "1 GPU, of which none is free"})
    rows = spud("list").stdout.splitlines()
    assert rows[0].split() == ["ID", "NAME", "OWNER", "STATE", "GPUS", "AGE", "RAN", "NOTE"]
    assert "pending" in rows[1]
    assert rows[1].endswith("1 GPU, of which none is free")


def test_list_shows_how_a_job_ended(box: WebBox, spud: Spud) -> None:
    box.finish(box.start(box.submit("ada")), Verdict(Outcome.FAILED, Reason.USER_ERROR, "It broke.", (), 1))
    assert spud("list").stdout.splitlines()[1].split()[3] == "failed"
    assert "It broke." in spud("list").stdout


def test_list_in_json_is_a_list_of_jobs(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    assert [job["id"] for job in json.loads(spud("list", "--json").stdout)] == [1]


def test_list_takes_states_and_a_limit(box: WebBox, spud: Spud) -> None:
    for _ in range(4):
        box.submit("ada")
    box.start(box.storage.jobs.get(1))
    assert len(json.loads(spud("list", "--json", "--state", "running").stdout)) == 1
    assert [job["id"] for job in json.loads(spud("list", "--json", "--limit", "2").stdout)] == [4, 3]


def test_own_jobs_come_first_and_those_of_others_on_demand(box: WebBox, spud: Spud) -> None:
    box.token("bob")
    box.submit("bob")
    assert spud("list").stdout == "No jobs. Run one with: spud run train.py\n"
    assert "bob" in spud("list", "--all-users").stdout
    assert "bob" in spud("list", "--owner", "bob").stdout


def test_message_of_another_user_cannot_steer_the_terminal(box: WebBox, spud: Spud) -> None:
    verdict = Verdict(Outcome.FAILED, Reason.USER_ERROR, "\x1b]0;owned\x07", ("\x1b[2J",), 1)
    box.finish(box.start(box.submit("ada", command=["echo", "\x1b[31m"])), verdict)
    assert "\x1b" not in spud("list").output + spud("show", "1").output + spud("logs", "-f", "1").output


def test_show_tells_all_of_a_job(box: WebBox, spud: Spud) -> None:
    attempt = box.start(box.submit("ada", gpus=1, memory="8G", data=["mnist"]), "GPU-0")
    box.finish(attempt, Verdict(Outcome.FAILED, Reason.USER_ERROR, "It broke.", ("ValueError: x",), 3))
    shown = spud("show", "1").stdout
    for text in (
        "failed (user_error)",
        "It broke.",
        "ValueError: x",
        "GPU-0",
        "8.0 GiB",
        "mnist",
        "submitted by",
    ):
        assert text in shown


def test_show_in_json_is_the_apis_job(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    assert json.loads(spud("show", "--json", "1").stdout)["events"]


def test_job_of_another_user_is_as_missing_as_none(box: WebBox, spud_of_bob: Spud) -> None:
    box.submit("ada")
    result = spud_of_bob("show", "1")
    assert result.stderr == "Error: No job 1. List jobs with: spud list\n"
    assert result.exit_code == 1


def test_cancel_leaves_the_wish(box: WebBox, spud: Spud) -> None:
    box.start(box.submit("ada"))
    assert spud("cancel", "1").stdout == "Job 1 was running and is being cancelled.\n"
    assert box.storage.jobs.get(1).cancel_requested_by == "ada"


def test_cancel_goes_on_after_a_job_that_it_cannot_cancel(box: WebBox, spud: Spud) -> None:
    box.submit("ada")
    result = spud("cancel", "7", "1")
    assert (result.stdout, result.exit_code) == ("Job 1 was pending and is being cancelled.\n", 1)


def test_gpus_that_are_simulated_are_marked(box: WebBox, spud: Spud) -> None:
    box.see(make_gpu(0))
    result = spud("gpus")
    assert "NVIDIA GeForce GTX 1070 Ti (simulated)" in result.stdout
    assert "The exporter does not answer" in result.stderr


def test_box_without_gpus_says_so(spud: Spud) -> None:
    assert spud("gpus").stdout == "This box has no GPU that Spud can use; jobs run on its CPU.\n"
