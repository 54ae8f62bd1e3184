"""Messages of the engine's API at /images/create, recorded from engine 20.10."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from appliance.containers.build_output import Transfer
from appliance.containers.pull import PullFailed, PullProgress, advice

pytestmark = pytest.mark.unit

Message = Mapping[str, object]


def downloading(layer: str, current: int, total: int) -> Message:
    return {"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": total}}


def fed(*messages: Message) -> PullProgress:
    progress = PullProgress("python:3.12")
    for message in messages:
        progress.feed(message)
    return progress


def test_bytes_are_those_of_all_layers() -> None:
    progress = fed(
        {"status": "Pulling from library/python", "id": "3.12"},
        {"status": "Pulling fs layer", "id": "a", "progressDetail": {}},
        downloading("a", 10, 100),
        downloading("b", 5, 50),
        downloading("a", 90, 100),
    )
    assert progress.transfer == Transfer("python:3.12", 95, 150)


def test_a_layer_that_is_there_is_whole() -> None:
    progress = fed(downloading("a", 10, 100), {"status": "Download complete", "id": "a"})
    assert progress.transfer.done_bytes == 100


def test_bytes_that_are_extracted_are_not_counted_again() -> None:
    extracting = {"status": "Extracting", "id": "a", "progressDetail": {"current": 3, "total": 999}}
    assert fed(downloading("a", 10, 100), extracting).transfer == Transfer("python:3.12", 100, 100)


@pytest.mark.parametrize(
    "status",
    ["Status: Downloaded newer image for python:3.12", "Status: Image is up to date for python:3.12"],
)
def test_only_the_last_line_is_success(status: str) -> None:
    fed({"status": "Digest: sha256:12"}, {"status": status}).end()


def test_a_stream_that_breaks_off_is_a_failure() -> None:
    with pytest.raises(PullFailed, match="broke off before the image was whole"):
        fed(downloading("a", 100, 100), {"status": "Pull complete", "id": "a"}).end()


def test_an_error_in_the_stream_is_a_failure() -> None:
    error = "Error response from daemon: Get https://x/v2/: dial tcp 10.0.0.1:443: connect: refused"
    with pytest.raises(PullFailed) as raised:
        fed({"errorDetail": {"message": error}, "error": error})
    assert raised.value.message == (
        "the image python:3.12 could not be pulled: dial tcp 10.0.0.1:443: connect: refused"
    )


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("toomanyrequests: You have reached your pull rate limit.", "limits how often"),
        ("unauthorized: authentication required", "without a login"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            "without a login",
        ),
        ("manifest for x:7 not found: manifest unknown: manifest unknown", "Check the name and the tag"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "this box's processor"),
        ("x509: certificate signed by unknown authority", "does not trust the registry's certificate"),
        ("write /var/lib/docker/tmp/x: no space left on device", "Free some space"),
        ("dial tcp: lookup x on 1.1.1.1:53: no such host", "the engine reaches it"),
        ("something else", "spud retry"),
    ],
)
def test_each_failure_has_its_advice(reason: str, sentence: str) -> None:
    assert sentence in advice(reason)
