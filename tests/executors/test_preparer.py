"""Images are made and fetched on the real engine, each once for all who wait."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.jobs.box import Image
from appliance.jobs.job import Job, JobState
from tests.executors.preparing_box import Code, PreparingBox, docker, run_python, tags
from tests.system.running_box import until
from tests.wheels import OWN_PACKAGE, make_wheel, wheel_name

pytestmark = pytest.mark.docker


@pytest.fixture
def box(tmp_path: Path) -> Iterator[PreparingBox]:
    box = PreparingBox(tmp_path)
    yield box
    box.clean()


def of_wheel(name: str, **files: str | bytes) -> Code:
    """Return code whose requirements are a wheel that it holds, unlike any other test's."""
    wheel = make_wheel(name, text=f"ANSWER = {secrets.token_hex(8)!r}\n")
    return {"requirements.txt": f"./{wheel_name(name)}\n", wheel_name(name): wheel, **files}


def test_requirements_are_installed_on_top_of_the_image(box: PreparingBox) -> None:
    job = box.submit(of_wheel("greeting"))
    attempt = box.begin(job)
    image = box.image(job)
    assert run_python(image, "import greeting; print(greeting.__file__)").startswith("/opt/spud-venv/")
    assert "[spud] Successfully installed greeting-1.0" in box.log(attempt)
    assert box.containers() == []


def test_the_image_keeps_nothing_but_what_was_installed(box: PreparingBox) -> None:
    job = box.submit(of_wheel("greeting"))
    box.begin(job)
    image = box.image(job)
    container = docker("create", image)
    changed = docker("diff", container)
    docker("rm", container)
    before, now = (json.loads(docker("image", "inspect", name))[0] for name in ("spud/tensorflow", image))
    assert changed == ""
    assert len(now["RootFS"]["Layers"]) == len(before["RootFS"]["Layers"]) + 1
    assert now["Config"]["User"] == before["Config"]["User"]
    assert set(now["Config"]["Labels"]) - set(before["Config"]["Labels"]) == {
        "spud.layer",
        "spud.requirements",
        "spud.parent",
    }


def test_a_second_job_finds_what_the_first_has_had_made(box: PreparingBox) -> None:
    code = of_wheel("greeting")
    first, second = box.submit(code), box.submit(code)
    box.begin(first)
    image = box.image(first)
    request = next(one for one in box.storage.jobs.queue(gpus=False, limit=9) if one.job_id == second.id)
    base = box.engine.find("spud/tensorflow:latest")
    assert base
    local = {
        "spud/tensorflow:latest": Image("spud/tensorflow:latest", base.id, 1),
        **{tag: Image(tag, image, 1) for tag in tags(image).strip("[]").split()},
    }
    assert box.preparer.resolve(request, local) == image
    assert box.preparer.resolve(request, {"spud/tensorflow:latest": local["spud/tensorflow:latest"]}) is None


def test_those_who_wait_for_the_same_share_the_work(box: PreparingBox) -> None:
    code = of_wheel("greeting")
    jobs = [box.submit(code) for _ in range(3)]
    attempts = [box.begin(job) for job in jobs]
    assert len({box.image(job) for job in jobs}) == 1
    assert [box.log(attempt).count("Successfully installed greeting-1.0") for attempt in attempts] == [1] * 3


def test_packages_of_the_image_count_as_installed(box: PreparingBox) -> None:
    code: Code = {"requirements.txt": "--no-index\ntensorflow>=2.10\ntensorflow-cpu\nkeras\nnumpy>=1\n"}
    job = box.submit(code)
    box.begin(job)
    where = run_python(
        box.image(job),
        "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])",
    )
    assert where == "/opt/venv/lib/python3.11/site-packages/tensorflow"


def test_code_that_is_a_package_is_built_without_any_rights(box: PreparingBox) -> None:
    job = box.submit({**OWN_PACKAGE, "requirements.txt": f".\n# {secrets.token_hex(8)}\n", "x.py": ""})
    box.begin(job)
    assert json.loads(run_python(box.image(job), "import mine; print(mine.SEEN)")) == {
        "uid": 1_899_999_999,
        "capabilities": "0000000000000000",
        "no_new_privileges": "1",
        "engine": False,
        "wrote": False,
    }


def test_an_editable_package_is_the_jobs_own_copy(box: PreparingBox, tmp_path: Path) -> None:
    job = box.submit({**OWN_PACKAGE, "requirements.txt": "-e .\n", "x.py": f"# {secrets.token_hex(8)}"})
    box.begin(job)
    image = box.image(job)
    (tmp_path / "own.py").write_text("print('mine')")
    tmp_path.chmod(0o755)
    mount = f"{tmp_path}:/workspace:ro"
    assert docker("run", "--rm", "-v", mount, "-w", "/", image, "python3", "-c", "import own") == "mine"


def test_what_cannot_be_installed_is_told_with_pips_reason(box: PreparingBox) -> None:
    job = box.submit({"requirements.txt": "--no-index\nno-such-package==9.9\n"})
    box.begin(job)
    verdict = box.ended(job).verdict
    assert verdict
    assert verdict.reason == "image_error"
    assert "Could not find a version that satisfies the requirement no-such-package==9.9" in verdict.message
    assert "No matching distribution" in verdict.evidence[-1]
    assert verdict.advice.startswith("Check name and version in requirements.txt")
    assert box.containers() == []


def test_a_package_that_does_not_build_is_told_with_its_own_error(box: PreparingBox) -> None:
    code: Code = {**OWN_PACKAGE, "requirements.txt": ".", "backend.py": "raise RuntimeError('no compiler')"}
    job = box.submit(code)
    box.begin(job)
    verdict = box.ended(job).verdict
    assert verdict
    assert "RuntimeError: no compiler" in verdict.message


def test_a_fault_of_the_image_is_tried_again_when_asked(box: PreparingBox) -> None:
    job = box.submit({"requirements.txt": "--no-index\nno-such-package\n"}, retries=1)
    box.begin(job)
    until(lambda: box.storage.jobs.get(job.id).state == "pending", "the job waits again", 60)
    assert box.storage.jobs.get(job.id).not_before > time.time()


def test_an_image_without_python_is_told(box: PreparingBox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    archive = subprocess.run(["tar", "-C", tmp_path, "-c", "file"], check=True, capture_output=True).stdout
    name = f"spud-test/empty:{secrets.token_hex(4)}"
    subprocess.run(["docker", "import", "-", name], input=archive, check=True, capture_output=True)
    job = box.submit({"requirements.txt": "numpy"}, image=name)
    box.begin(job)
    verdict = box.ended(job).verdict
    docker("rmi", name)
    assert verdict
    assert "the image has no python3" in verdict.message


def test_the_image_of_an_earlier_attempt_is_never_replaced(box: PreparingBox) -> None:
    job = box.submit()
    with box.storage.database.transaction() as connection:
        connection.execute("UPDATE job SET image_digest = ?", ("sha256:" + "0" * 64,))
    box.begin(job)
    verdict = box.ended(job).verdict
    assert verdict
    assert "in which it ran before, is gone" in verdict.message


class HangingIndex(ThreadingHTTPServer):
    """A package index that answers never."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.set()
                index.released.wait(120)

        super().__init__(("0.0.0.0", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def requirements(self) -> Code:
        gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        url = f"http://{gateway}:{self.server_port}/simple"
        return {"requirements.txt": f"--index-url {url}\n--trusted-host {gateway}\nanything\n"}


@pytest.fixture
def index() -> Iterator[HangingIndex]:
    index = HangingIndex()
    yield index
    index.released.set()
    index.shutdown()


def test_a_cancelled_job_ends_at_once_and_the_work_with_the_last(
    box: PreparingBox, index: HangingIndex
) -> None:
    jobs = [box.submit(index.requirements()) for _ in range(2)]
    attempts = [box.begin(job) for job in jobs]
    assert index.asked.wait(60)
    for job, attempt, left in zip(jobs, attempts, (1, 0), strict=True):
        box.storage.jobs.request_cancel(job.id, box.ada)
        box.storage.lifecycle.stop(job.id, "cancelled", "cancelled by ada")  # type: ignore[arg-type]
        box.preparer.cancel(attempt)
        verdict = box.storage.jobs.get(job.id).verdict
        assert verdict
        assert verdict.message == "cancelled by ada before it started"
        until(lambda left=left: len(box.containers()) == left, f"{left} containers are left")  # type: ignore[misc]


def test_an_installation_has_a_time_limit(tmp_path: Path, index: HangingIndex) -> None:
    box = PreparingBox(tmp_path, SPUD_IMAGES_BUILD_TIMEOUT_SECONDS="3")
    job = box.submit(index.requirements())
    box.begin(job)
    verdict = box.ended(job).verdict
    assert verdict
    assert "not installed within 3 s" in verdict.message
    until(lambda: box.containers() == [], "no container is left")


def test_what_a_dead_scheduler_left_is_swept_and_made_anew(box: PreparingBox, index: HangingIndex) -> None:
    name = f"{box.prefix}-{box.storage.box.store_id()[:8]}-layer-0123456789abcdef"
    docker("run", "--detach", "--name", name, "spud/base", "sleep", "600")
    job = box.submit(of_wheel("greeting"))
    attempt = box.begin(job)
    assert box.image(job)
    assert box.containers() == []
    box.new_preparer().prepare(box.storage.jobs.get(job.id), attempt)
    assert [event.text for event in box.storage.jobs.events(job.id)].count("its image is ready") == 1


def test_only_two_are_made_at_once_and_the_others_say_so(box: PreparingBox, index: HangingIndex) -> None:
    jobs = []
    for number in range(3):
        code = index.requirements()
        code["requirements.txt"] = f"{code['requirements.txt']!s}other-{number}\n"
        jobs.append(box.submit(code))
        box.begin(jobs[-1])
    until(lambda: len(box.containers()) == 2, "two are being made")
    told = {"its image, behind 2 others that are being made", "its image: pip install"}
    until(lambda: set(waiting(box, jobs)) == told, "all say why")


def waiting(box: PreparingBox, jobs: list[Job]) -> list[str | None]:
    return [box.storage.jobs.get(job.id).waiting_for for job in jobs]


def test_a_job_that_is_being_stopped_is_not_prepared(box: PreparingBox) -> None:
    job = box.submit(of_wheel("greeting"))
    attempt = box.storage.lifecycle.begin_image(job.id, "boot", "its image is being made")
    assert attempt
    box.storage.lifecycle.stop(job.id, "cancelled", "cancelled by ada")  # type: ignore[arg-type]
    box.preparer.prepare(box.storage.jobs.get(job.id), attempt)
    assert box.storage.jobs.get(job.id).state is JobState.FINISHED
