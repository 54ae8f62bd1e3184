from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import Settings
from appliance.containers.arguments import ContainerArguments, container_arguments, passwd
from appliance.jobs.directory import JobDirectory
from appliance.users.user import Role, User
from tests.factories import make_attempt, make_job

pytestmark = pytest.mark.unit

ADA = User(1, "ada", Role.USER, 1234, 1234, 0.0)


def arguments(gpu_uuids: tuple[str, ...] = (), **values: object) -> ContainerArguments:
    attempt = make_attempt(17, 2, gpu_uuids=gpu_uuids)
    directory = JobDirectory.of(Path("/var/lib/spud"), 17, 2)
    return container_arguments(make_job(17, **values), attempt, ADA, directory, "spud/base", 1000, Settings())


def test_name_and_labels_lead_back_to_the_attempt() -> None:
    assert arguments().name == "spud-17-2"
    assert arguments().labels == {
        "spud.job": "17",
        "spud.attempt": "2",
        "spud.owner": "ada",
        "spud.token": "token-17-2",
        "spud.gpus": "",
    }


def test_a_job_without_gpu_sees_none() -> None:
    assert arguments().environment["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_gpus_are_named_by_uuid() -> None:
    assert arguments(("GPU-1", "GPU-2")).environment["NVIDIA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_the_users_variables_cannot_replace_spuds() -> None:
    environment = arguments(env={"HOME": "/root", "MINE": "1"}).environment
    assert (environment["HOME"], environment["MINE"]) == ("/home/job", "1")


def test_data_is_mounted_read_only_and_by_name() -> None:
    mount = arguments(data=["mnist"]).mounts[-1]
    assert (str(mount.source), mount.target, mount.is_read_only) == (
        "/var/lib/spud/data/mnist",
        "/data/mnist",
        True,
    )


def test_memory_left_open_spares_a_tenth_for_the_box() -> None:
    assert arguments().memory_bytes == 900


def test_the_owner_has_a_name_in_the_container() -> None:
    assert "ada:x:1234:1234::/home/job:/bin/bash" in passwd(ADA)
