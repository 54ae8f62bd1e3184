"""What jobs leave is removed, on a real engine; a scheduler does not start on a damaged store."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.users.user import Role
from tests.system.running_box import SPUD, RunningBox

pytestmark = pytest.mark.docker

HOSTILE = """
import os
os.makedirs("a/b/c"); open("a/b/c/file", "wb").write(bytes(300_000))
os.mkfifo("pipe"); os.symlink("/etc", "etc"); open(b"\\xff\\xfe", "w").close()
for n in range(1500):
    os.mkdir("d"); os.chdir("d")
os.chdir("/workspace")
os.chmod("a/b", 0); os.chmod("a", 0o500)
open("/output/result.txt", "w").write("42"); os.makedirs("/output/closed"); os.chmod("/output/closed", 0)
print("done")
"""


def test_a_prune_removes_what_a_job_left_and_the_answers_say_so(box: RunningBox) -> None:
    job_id = box.submit(box.script(HOSTILE))
    assert box.wait(job_id)["outcome"] == "succeeded"
    planned = json.loads(box.spud("prune", "--dry-run", "--older-than", "0s", "--json").stdout)
    assert [item["name"] for item in planned["items"] if item["job_id"] == job_id] == [
        f"workspace of job {job_id}"
    ]
    assert planned["total_bytes"] > 300_000 + 1500 * 4096
    workspace = box.storage.directory / "jobs" / str(job_id) / "1" / "workspace"
    assert workspace.exists()

    done = json.loads(box.spud("prune", "--older-than", "0s", "--yes", "--json").stdout)
    assert (done["done_bytes"], done["kept"]) == (planned["total_bytes"], [])
    assert not workspace.exists()
    job = box.job(job_id)
    assert job["attempts"][0]["workspace_removed_at"]
    assert "its workspace was removed by retention" in box.spud("show", str(job_id)).stdout
    box.spud("fetch", str(job_id), "result.txt")
    assert (box.home / f"job-{job_id}" / "output" / "result.txt").read_text() == "42"

    box.spud("prune", "--older-than", "0s", "--results", "--yes")
    assert not (box.storage.directory / "jobs" / str(job_id)).exists()
    for command in (("fetch", str(job_id)), ("logs", str(job_id)), ("retry", str(job_id))):
        refused = box.spud(*command, check=False)
        assert refused.returncode == 1
        assert "by retention" in refused.stderr
    assert box.job(job_id)["outcome"] == "succeeded"


def test_a_running_job_loses_nothing(box: RunningBox) -> None:
    job_id = box.submit(box.script("import time\nopen('file', 'w').write('x')\ntime.sleep(600)"))
    box.wait(job_id, "running")
    box.spud("prune", "--older-than", "0s", "--results", "--yes")
    assert (box.storage.directory / "jobs" / str(job_id) / "1" / "workspace" / "train.py").exists()
    box.spud("cancel", str(job_id))
    box.wait(job_id)


def test_nothing_goes_without_a_yes(box: RunningBox) -> None:
    job_id = box.submit("--", "true")
    box.wait(job_id)
    refused = box.spud("prune", "--older-than", "0s", check=False)
    assert refused.returncode == 1
    assert "Add --yes to do it" in refused.stderr
    assert (box.storage.directory / "jobs" / str(job_id) / "1" / "workspace").exists()


def test_only_administrators_prune(box: RunningBox) -> None:
    refused = box.spud("prune", "--dry-run", check=False, SPUD_TOKEN=box.add_user("eve", Role.USER))
    assert refused.returncode == 1
    assert "Only an administrator" in refused.stderr


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[str]:
    """An image as an installation of requirements would make it."""
    name = f"spud-test-layer:{secrets.token_hex(8)}"
    (tmp_path / "content").write_bytes(os.urandom(3_000_000))
    (tmp_path / "Dockerfile").write_text(
        f"FROM spud/base:latest\nLABEL spud.layer={name}\nCOPY content /content\n"
    )
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, tmp_path],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        check=True,
        capture_output=True,
    )
    yield name
    subprocess.run(["docker", "rmi", name], capture_output=True)


def test_a_layer_goes_when_no_job_has_used_it_for_long(box: RunningBox, layer: str) -> None:
    job_id = box.submit("--image", layer, "--", "true")
    assert box.wait(job_id)["outcome"] == "succeeded"
    planned = json.loads(box.spud("prune", "--dry-run", "--older-than", "0s", "--json").stdout)
    images = {item["name"]: item["bytes"] for item in planned["items"] if item["category"] == "image"}
    assert 3_000_000 <= images[layer] < 10_000_000, "what it shares with its parent is not counted"
    box.spud("prune", "--older-than", "0s", "--yes")
    gone = subprocess.run(["docker", "image", "inspect", layer], capture_output=True)
    assert gone.returncode == 1


def test_a_scheduler_refuses_a_damaged_store_with_the_next_step(own_box: RunningBox) -> None:
    own_box.start("web")
    for _ in range(30):
        own_box.submit("--", "true")
    own_box.stop()
    own_box.storage.database.close()
    with (own_box.storage.directory / "spud.db").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(os.urandom(3 * 4096))
    refused = subprocess.run(
        [*SPUD, "scheduler"], env=own_box._environment, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    (sentence,) = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert "spud.db is damaged" in sentence
    assert sentence.endswith("spud restore FILE --replace")
