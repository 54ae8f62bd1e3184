"""Building on the real engine, through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.containers.docker import DockerImages
from appliance.errors import NotFound, Unavailable

pytestmark = pytest.mark.docker
SOCKET = "unix:///var/run/docker.sock"
DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG LOCK\nRUN echo lock ${LOCK} && id -un\n"


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Path]:
    """Two recipes: spud/test-parent, written by a script, and spud/test-child on it."""
    parent, child = tmp_path / "images/test-parent", tmp_path / "images/test-child"
    parent.mkdir(parents=True)
    child.mkdir()
    (parent / "image.toml").write_text('version = "1"\nchanges = ["ENV FROM_RECIPE=yes"]\n')
    (parent / "build.py").write_text(SCRIPT)
    (child / "image.toml").write_text('version = "2"\nparent = "base"\nvariants = ["cpu"]\n')
    (child / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "images/base").symlink_to(Path(__file__).parents[2] / "images/base")
    yield tmp_path / "images"
    engine = DockerImages(SOCKET)
    for record in engine.list("spud.image"):
        for tag in record.tags:
            if tag.startswith("spud/test-"):
                engine.remove(tag)


SCRIPT = """import io, sys, tarfile
print("Step 1/2 : Write one file", flush=True)
with tarfile.open(sys.argv[1], "w") as archive:
    archive.addfile(tarfile.TarInfo("hello"), io.BytesIO())
"""


def spud_image(images: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance.cli", "image", *arguments]
    environment = {**os.environ, "SPUD_IMAGES_DIRECTORY": str(images), "TMPDIR": str(images), **variables}
    return subprocess.run(command, text=True, capture_output=True, env=environment)


def built(images: Path, name: str) -> dict[str, object]:
    done = spud_image(images, "build", name, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_script_becomes_an_image_with_labels(images: Path) -> None:
    assert built(images, "test-parent")["image"] == "spud/test-parent:1"
    record = DockerImages(SOCKET).find("spud/test-parent:latest")
    assert record
    assert record.labels["spud.image"] == "test-parent"
    assert record.labels["spud.version"] == "1"


def test_an_unchanged_image_is_not_built_again(images: Path) -> None:
    first, second = built(images, "test-parent"), built(images, "test-parent")
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["id"] == second["id"]


def test_a_changed_file_builds_it_again(images: Path) -> None:
    first = built(images, "test-parent")
    (images / "test-parent/note").write_text("changed")
    second = built(images, "test-parent")
    assert second["changed"] is True
    assert first["id"] != second["id"]


def test_the_image_of_before_does_not_stay_behind(images: Path) -> None:
    first = built(images, "test-parent")
    (images / "test-parent/note").write_text("changed")
    built(images, "test-parent")
    assert DockerImages(SOCKET).find(str(first["id"])) is None


def test_a_dockerfile_that_is_none_is_one_sentence(images: Path) -> None:
    (images / "test-child/Dockerfile").write_text("NONSENSE\n")
    done = spud_image(images, "build", "test-child")
    assert done.returncode == 1
    assert "failed before its first step: dockerfile parse error" in done.stderr


def test_a_child_stands_on_its_parent_and_knows_its_variant(images: Path) -> None:
    done = spud_image(images, "build", "test-child")
    assert done.stdout == "spud/test-child:2-cpu is built.\n"
    assert "[4/8] RUN echo lock ${LOCK} && id -un\n" in done.stderr


def test_a_failed_step_says_which_and_why(images: Path) -> None:
    (images / "test-child/Dockerfile").write_text(
        f"{DOCKERFILE}RUN echo 'E: no such package' >&2; exit 100\n"
    )
    done = spud_image(images, "build", "test-child")
    assert done.returncode == 1
    assert "Error: Building spud/test-child failed at step 5/9 (RUN echo" in done.stderr
    assert "no such package. The whole log: " in done.stderr
    log = Path(done.stderr.rpartition("The whole log: ")[2].strip())
    assert "E: no such package" in log.read_text()


def test_a_failed_script_says_which_step_and_why(images: Path) -> None:
    (images / "test-parent/build.py").write_text(
        "print('Step 1/2 : Try')\nraise SystemExit('E: no mirror')\n"
    )
    done = spud_image(images, "build", "test-parent")
    assert done.returncode == 1
    assert "failed at step 1/2 (Try): no mirror." in done.stderr


def test_an_image_of_ones_own_serves_as_base(images: Path) -> None:
    spud_image(images, "build", "test-parent")
    done = spud_image(images, "build", "test-parent", "--base-image", "spud/test-parent:1")
    assert done.stdout == "spud/test-parent:1 is up to date.\n"


def test_a_base_image_that_nobody_has_is_one_sentence(images: Path) -> None:
    done = spud_image(images, "build", "test-parent", "--base-image", "localhost:9/none")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: The image localhost:9/none could not be pulled: ")


def test_without_an_engine_it_is_one_sentence(images: Path) -> None:
    done = spud_image(images, "build", "base", SPUD_ENGINE_SOCKET="unix:///nowhere.sock")
    assert done.returncode == 1
    assert done.stderr == "Error: No Docker engine answers at unix:///nowhere.sock. Start it and try again.\n"


def test_list_names_what_was_built(images: Path) -> None:
    built(images, "test-parent")
    listed = json.loads(spud_image(images, "list", "--json").stdout)
    assert "spud/test-parent:1" in [tag for image in listed for tag in image["tags"]]


def test_pull_of_an_unknown_image_says_why() -> None:
    with pytest.raises(NotFound, match="could not be pulled"):
        list(DockerImages(SOCKET).pull("localhost:9/none:latest"))


def test_connect_says_that_no_engine_answers() -> None:
    with pytest.raises(Unavailable, match="No Docker engine answers"):
        DockerImages("unix:///nowhere.sock")
