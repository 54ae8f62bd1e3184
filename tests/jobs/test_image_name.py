from __future__ import annotations

import pytest

from appliance.config import ImagesSettings
from appliance.jobs.box import Image
from appliance.jobs.image_name import find_local, is_allowed, local_names, refusal

pytestmark = pytest.mark.unit

IMAGES = [
    Image("spud/base:latest", "sha256:1", 1),
    Image("spud/layer:0123456789abcdef", "sha256:2", 1),
    Image("debian:12", "sha256:3", 1),
    Image("localhost:5000/team/net:1", "sha256:4", 1),
]
LOCAL = {image.name: image for image in IMAGES}


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("base", "sha256:1"),
        ("spud/base", "sha256:1"),
        ("debian:12", "sha256:3"),
        ("docker.io/library/debian:12", "sha256:3"),
        ("localhost:5000/team/net:1", "sha256:4"),
    ],
)
def test_an_image_is_found_by_each_of_its_names(name: str, digest: str) -> None:
    image = find_local(name, LOCAL)
    assert image is not None
    assert image.digest == digest


@pytest.mark.parametrize(
    "name",
    [
        "debian",
        "spud/layer:0123456789abcdef",
        "docker.io/spud/layer:0123456789abcdef",
        "layer:0123456789abcdef",
        "sha256:" + "1" * 64,
    ],
)
def test_no_other_name_finds_one(name: str) -> None:
    assert find_local(name, LOCAL) is None


def test_a_digest_stays_as_it_is() -> None:
    assert "debian@sha256:12" in local_names("debian@sha256:12")


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("python:3.12", "*"),
        ("nvcr.io/nvidia/tensorflow:25.02", "spud/*, nvcr.io/*"),
        ("python", "python:*"),
        ("python:3.12", "docker.io/library/*"),
        ("docker.io/library/python:3.12", "python:*"),
        ("team/net", "docker.io/team/*"),
        ("python@sha256:12", "python@sha256:*"),
    ],
)
def test_pattern_allows_the_name_in_each_way_to_write_it(name: str, patterns: str) -> None:
    assert is_allowed(name, patterns)


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("evil.example/python:3.12", "python:*"),
        ("evil.example/nvcr.io/x", "nvcr.io/*"),
        ("localhost:5000/library/x", "docker.io/*"),
        ("python", ""),
    ],
)
def test_pattern_allows_nothing_else(name: str, patterns: str) -> None:
    assert not is_allowed(name, patterns)


def test_an_image_of_a_registry_is_taken() -> None:
    assert refusal("python:3.12", IMAGES, ImagesSettings()) is None


def test_spuds_own_image_needs_no_permission() -> None:
    assert refusal("base", IMAGES, ImagesSettings(allowed="nvcr.io/*")) is None


def test_the_default_image_needs_no_permission() -> None:
    assert refusal("mine", IMAGES, ImagesSettings(allowed="nvcr.io/*", default="mine")) is None


@pytest.mark.parametrize("name", ["python:3.12", "debian:12"])
def test_an_image_that_is_not_allowed_is_refused_with_those_that_are(name: str) -> None:
    assert "It takes Spud's own and nvcr.io/*" in str(
        refusal(name, IMAGES, ImagesSettings(allowed="nvcr.io/*"))
    )


def test_without_pull_an_absent_image_is_refused_with_those_that_are_there() -> None:
    reason = str(refusal("python:3.12", IMAGES, ImagesSettings(pull=False)))
    assert "There are: base, debian:12, localhost:5000/team/net:1." in reason


def test_other_peoples_requirements_are_refused() -> None:
    reason = str(refusal("spud/layer:0123456789abcdef", IMAGES, ImagesSettings()))
    assert "belongs to the requirements of other jobs" in reason
