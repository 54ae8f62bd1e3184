"""Requirements of a job's code, retries and the equivalent command, as a user meets them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running_box import RunningBox, until
from tests.wheels import OWN_PACKAGE, make_wheel, wheel_name

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """A Spud whose jobs run in the image of TensorFlow, since its pip needs no newer one."""
    running = RunningBox(tmp_path_factory.mktemp("box"), SPUD_IMAGES_DEFAULT="tensorflow")
    running.start()
    yield running
    for job in running.storage.jobs.list(limit=500):
        for attempt in running.storage.jobs.attempts(job.id):
            remove_layer(attempt.image_digest or "")
    running.stop()


def remove_layer(image: str) -> None:
    label = ["docker", "image", "inspect", "--format", '{{index .Config.Labels "spud.layer"}}', image]
    if subprocess.run(label, capture_output=True, text=True).stdout.strip():
        subprocess.run(["docker", "rmi", "--force", image], capture_output=True)


def project(box: RunningBox, script: str, **files: str | bytes) -> str:
    """Write a script and the files beside it; `__` in a name stands for a dot."""
    path = box.script(script)
    for name, content in files.items():
        target = Path(path).with_name(name.replace("__", "."))
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def with_wheel(box: RunningBox, script: str, name: str) -> str:
    path = project(box, script, requirements__txt=f"./{wheel_name(name)}\n")
    Path(path).with_name(wheel_name(name)).write_bytes(make_wheel(name))
    return path


def test_a_package_of_the_requirements_is_there(box: RunningBox) -> None:
    done = box.spud("run", with_wheel(box, "import greeting; print(greeting.ANSWER)", "greeting"))
    assert done.stdout.splitlines()[-1] == "42"
    assert "[spud] Successfully installed greeting-1.0" in done.stdout


def test_a_package_from_the_index_is_there(box: RunningBox) -> None:
    path = project(
        box, "import humanize; print(humanize.intcomma(1234))", requirements__txt="humanize\ntensorflow\n"
    )
    job_id = box.submit(path)
    assert box.wait(job_id)["outcome"] == "succeeded"
    log = box.spud("logs", str(job_id)).stdout
    assert log.splitlines()[-1] == "1,234"
    assert "Requirement already satisfied: tensorflow" in log
    assert "Collecting tensorflow" not in log


def test_the_code_itself_is_installed_from_the_jobs_own_copy(box: RunningBox) -> None:
    path = project(box, "import own; print(own.__file__)", requirements__txt="-e .\n", own__py="")
    for name, content in OWN_PACKAGE.items():
        Path(path).with_name(name).write_bytes(content.encode() if isinstance(content, str) else content)
    done = box.spud("run", "--", "python3", "-c", "pass", check=False)
    assert done.returncode == 0
    assert box.spud("run", path).stdout.splitlines()[-1] == "/workspace/own.py"


def test_a_second_job_of_the_same_requirements_starts_without_installing(box: RunningBox) -> None:
    path = with_wheel(box, "import again; print(again.ANSWER)", "again")
    box.spud("run", path)
    second = box.submit(path)
    assert box.wait(second)["outcome"] == "succeeded"
    assert box.spud("logs", str(second)).stdout == "42\n"


def test_nothing_is_installed_when_so_asked(box: RunningBox) -> None:
    path = project(box, "print('ran')", requirements__txt="no-such-package-anywhere\n")
    assert box.spud("run", "--no-requirements", path).stdout == "ran\n"


def test_a_failure_says_what_pip_said(box: RunningBox) -> None:
    path = project(box, "print()", requirements__txt="--no-index\nno-such-package-anywhere\n")
    job = box.wait(box.submit(path))
    assert job["reason"] == "image_error"
    assert "requirement no-such-package-anywhere" in job["message"]
    assert job["started_at"] is None


def test_a_job_that_waits_for_its_packages_is_cancelled_at_once(box: RunningBox) -> None:
    path = project(box, "print()", requirements__txt=".\n", backend__py="import time; time.sleep(600)")
    Path(path).with_name("pyproject.toml").write_bytes(bytes(str(OWN_PACKAGE["pyproject.toml"]), "utf-8"))
    job_id = box.submit(path)
    until(lambda: "pip install" in (box.job(job_id)["waiting_for"] or ""), "pip runs")
    box.spud("cancel", str(job_id))
    job = box.wait(job_id)
    assert job["outcome"] == "cancelled"
    names = ["docker", "ps", "--all", "--quiet", "--filter", f"name={box.prefix}-.*-layer"]
    until(lambda: not subprocess.run(names, capture_output=True, text=True).stdout, "no container is left")


def test_a_scheduler_that_dies_while_packages_are_installed_begins_anew(box: RunningBox) -> None:
    backend = str(OWN_PACKAGE["backend.py"]) + "\nimport time; time.sleep(3)\n"
    path = project(box, "import mine; print('ran')", requirements__txt=".\n", backend__py=backend)
    Path(path).with_name("pyproject.toml").write_bytes(bytes(str(OWN_PACKAGE["pyproject.toml"]), "utf-8"))
    job_id = box.submit(path)
    until(lambda: "pip install" in (box.job(job_id)["waiting_for"] or ""), "pip runs")
    box.kill("scheduler")
    box.start("scheduler")
    assert box.wait(job_id)["outcome"] == "succeeded"
    assert box.spud("logs", str(job_id)).stdout.splitlines()[-1] == "ran"


def test_a_retried_job_runs_in_the_very_same_image(box: RunningBox) -> None:
    path = with_wheel(box, "import retried; print(retried.ANSWER); raise SystemExit(3)", "retried")
    first = box.wait(box.submit(path))
    done = box.spud("retry", "--follow", str(first["id"]), check=False)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "42"
    job = box.job(first["id"])
    assert [attempt["image_digest"] for attempt in job["attempts"]] == [first["image_digest"]] * 2
    assert "attempt 2, with the same code in image sha256:" in done.stderr


def test_a_retried_job_whose_image_is_gone_says_so(box: RunningBox) -> None:
    job = box.wait(box.submit(with_wheel(box, "import gone", "gone")))
    until(lambda: not running_in(job["image_digest"]), "its container is removed")
    remove_layer(job["image_digest"])
    box.spud("retry", str(job["id"]))
    until(lambda: len(box.job(job["id"])["attempts"]) == 2, "it is tried again")
    ended = box.wait(job["id"])
    assert ended["reason"] == "image_error"
    assert "in which it ran before, is gone" in ended["message"]
    assert "spud submit" in ended["advice"]


def running_in(image: str) -> str:
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_printed_command_does_the_same_on_the_box(box: RunningBox) -> None:
    path = with_wheel(
        box, "import by_hand, os; print(by_hand.ANSWER, os.getuid(), os.environ['A'])", "by_hand"
    )
    job_id = box.submit("--env", "A=x 'y'", "--cpus", "1", path)
    box.wait(job_id)
    command = box.spud("show", str(job_id), "--command").stdout
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == box.spud("logs", str(job_id)).stdout.splitlines(keepends=True)[-1]


def test_uncommitted_changes_are_shown(box: RunningBox) -> None:
    folder = Path(box.script("print(1)")).parent
    names = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init",), ("add", "."), ("commit", "--message", "first")):
        subprocess.run(["git", "-C", folder, *names, *words], check=True, capture_output=True)
    (folder / "train.py").write_text("print(2)")
    job_id = box.submit(str(folder / "train.py"))
    assert json.loads(box.spud("show", str(job_id), "--json").stdout)["git_commit"].endswith("+dirty")
    assert "-print(1)\n" in box.spud("show", str(job_id), "--diff").stdout
    assert "+print(2)\n" in box.spud("show", str(job_id), "--diff").stdout
