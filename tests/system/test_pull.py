"""Images by name, from a real registry."""

from __future__ import annotations

import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executors.preparing_box import PreparingBox, docker
from tests.system.registry import Registry
from tests.system.running_box import free_port

pytestmark = pytest.mark.docker

BALLAST_BYTES = 24 * 1024**2


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[PreparingBox]:
    box = PreparingBox(tmp_path)
    yield box
    box.clean()


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A local image that no other test has, of one layer that cannot be compressed."""
    (tmp_path / "ballast").write_bytes(os.urandom(BALLAST_BYTES))
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(tmp_path / "ballast", "ballast")
    name = f"spud-test/pulled:{secrets.token_hex(4)}"
    docker("import", str(tmp_path / "root.tar"), name)
    return name


@pytest.fixture
def name(registry: Registry, image: str) -> Iterator[str]:
    """The name of an image that only the registry has."""
    name = f"team/net-{secrets.token_hex(4)}:1"
    registry.push(image, name)
    yield f"{registry.address}/{name}"
    subprocess.run(["docker", "rmi", f"{registry.address}/{name}"], capture_output=True)


def test_an_image_is_fetched_once_for_all_who_wait(box: PreparingBox, registry: Registry, name: str) -> None:
    jobs = [box.submit(image=name) for _ in range(3)]
    attempts = [box.begin(job) for job in jobs]
    found = {box.image(job) for job in jobs}
    assert found == {docker("image", "inspect", "--format", "{{.Id}}", name)}
    assert registry.pulls(name.partition("/")[2].partition(":")[0]) == 1
    for attempt in attempts:
        assert f"[spud] Pulling {name}\n[spud] Pulled {name}: 25 MB in " in box.log(attempt)


def test_what_was_fetched_is_remembered(box: PreparingBox, name: str) -> None:
    job = box.submit(image=name)
    box.begin(job)
    box.image(job)
    assert set(box.storage.box.pulled_images()) == {name}


def test_a_digest_pins_the_image(box: PreparingBox, registry: Registry, image: str) -> None:
    digest = registry.push(image, "team/pinned:1")
    pinned = f"{registry.address}/team/pinned@{digest}"
    job = box.submit(image=pinned)
    box.begin(job)
    assert box.image(job) == docker("image", "inspect", "--format", "{{.Id}}", pinned)
    docker("rmi", pinned)


def verdict_of(box: PreparingBox, name: str) -> tuple[str, str]:
    job = box.submit(image=name)
    box.begin(job)
    verdict = box.ended(job).verdict
    assert verdict
    assert verdict.reason == "image_error"
    return verdict.message, verdict.advice


def test_an_unknown_image_is_told_with_the_registrys_reason(box: PreparingBox, registry: Registry) -> None:
    message, advice = verdict_of(box, f"{registry.address}/team/absent:7")
    assert f"the image {registry.address}/team/absent:7 could not be pulled: " in message
    assert "not found" in message or "manifest unknown" in message
    assert advice.startswith("Check the name and the tag.")


def test_a_registry_that_does_not_answer_is_told(box: PreparingBox) -> None:
    message, advice = verdict_of(box, f"localhost:{free_port()}/team/net")
    assert "connection refused" in message
    assert advice.startswith("Check the registry's name and that the engine reaches it")


def test_half_an_image_is_none(box: PreparingBox, registry: Registry, image: str) -> None:
    registry.push(image, "team/damaged:1")
    registry.newest_layer().unlink()
    name = f"{registry.address}/team/damaged:1"
    message, _ = verdict_of(box, name)
    assert "could not be pulled" in message
    assert box.engine.find(name) is None
    assert box.storage.box.pulled_images() == {}


def test_an_image_that_is_not_allowed_is_not_fetched(tmp_path: Path, registry: Registry, name: str) -> None:
    box = PreparingBox(tmp_path / "box", SPUD_IMAGES_ALLOWED="nvcr.io/*")
    message, advice = verdict_of(box, name)
    assert f"the image {name} is not on this box and is not pulled" in message
    assert "It takes Spud's own and nvcr.io/*." in advice
    assert registry.pulls(name.partition("/")[2].partition(":")[0]) == 0


def test_requirements_come_on_top_of_a_fetched_image(box: PreparingBox, registry: Registry) -> None:
    copy = f"spud-test/copy:{secrets.token_hex(4)}"
    docker("tag", "spud/base", copy)
    registry.push(copy, "team/base:1")
    name = f"{registry.address}/team/base:1"
    job = box.submit({"requirements.txt": "--no-index\n"}, image=name)
    box.begin(job)
    labels = docker("image", "inspect", "--format", "{{.Config.Labels}}", box.image(job))
    docker("rmi", name)
    assert "spud.layer:" in labels
