from __future__ import annotations

import json
import secrets
import shlex
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.config import EngineSettings, GpusSettings
from appliance.containers.arguments import ContainerArguments, Mount
from appliance.containers.command_line import command_line
from appliance.containers.docker_engine import DockerEngine

GIB = 1024**3

ARGUMENTS = ContainerArguments(
    name="spud-17-1",
    image="spud/base",
    command=("python3", "-c", "print('a b')"),
    environment={"A": "x 'y' \"z\"\nline", "HOME": "/home/job"},
    secrets={"API_KEY": "hunter2"},
    labels={"spud.job": "17"},
    uid=1_900_000_001,
    gid=1_900_000_001,
    mounts=(Mount(Path("/spud,store/1"), "/workspace"), Mount(Path("/data/x"), "/data/x", is_read_only=True)),
    gpu_uuids=("GPU-1", "GPU-2"),
    cpus=1.5,
    memory_bytes=GIB,
    pids=100,
    shm_bytes=GIB // 4,
    network="bridge",
    log_bytes=GIB,
)


def words(arguments: ContainerArguments, injection: str = "auto") -> list[str]:
    return shlex.split(command_line(arguments, injection).replace("\\\n", ""))


def values(option: str, given: list[str]) -> list[str]:
    return [value for name, value in pairwise(given) if name == option]


@pytest.mark.unit
def test_a_secret_stands_by_its_name() -> None:
    given = words(ARGUMENTS)
    assert "API_KEY" in values("--env", given)
    assert "hunter2" not in " ".join(given)


@pytest.mark.unit
def test_it_is_not_taken_for_the_jobs_own_container() -> None:
    assert {"--name", "--label"}.isdisjoint(words(ARGUMENTS))


@pytest.mark.unit
def test_each_option_has_its_line() -> None:
    lines = command_line(ARGUMENTS, "auto").splitlines()
    assert lines[0] == "docker run --rm \\"
    assert "  --memory 1073741824 \\" in lines
    assert lines[-1] == "  spud/base python3 -c 'print('\"'\"'a b'\"'\"')'"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("injection", "options"),
    [
        ("auto", ["--gpus", '"device=GPU-1,GPU-2"']),
        ("cdi", ["--device", "nvidia.com/gpu=GPU-1", "--device", "nvidia.com/gpu=GPU-2"]),
    ],
)
def test_gpus_come_by_their_uuids(injection: str, options: list[str]) -> None:
    given = words(ARGUMENTS, injection)
    assert given[given.index(options[0]) :][: len(options)] == options


@pytest.mark.docker
def test_the_engine_makes_the_same_container_of_it(tmp_path: Path) -> None:
    store, other = tmp_path / "a,b", tmp_path / "x"
    for folder in (store, other):
        folder.mkdir()
    name = f"spud-test-{secrets.token_hex(4)}"
    mounts = (Mount(store, "/workspace"), Mount(other, "/data/x", is_read_only=True))
    arguments = replace(ARGUMENTS, name=name, mounts=mounts)
    settings = GpusSettings(injection="environment")
    DockerEngine(EngineSettings(), settings, "test").create(arguments)
    by_hand = command_line(arguments, "environment")
    by_hand = by_hand.replace("docker run --rm", f"docker create --name {name}-hand")
    environment = {"API_KEY": "hunter2", "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-c", by_hand], check=True, capture_output=True, env=environment)
    ours, theirs = (facts(one) for one in (name, f"{name}-hand"))
    subprocess.run(["docker", "rm", name, f"{name}-hand"], check=True, capture_output=True)
    assert ours == theirs


def facts(name: str) -> dict[str, object]:
    """Return what decides how a container runs; its name, its labels and where its log goes do not."""
    found = json.loads(subprocess.run(["docker", "inspect", name], check=True, capture_output=True).stdout)[0]
    host = {key: value or None for key, value in found["HostConfig"].items()}
    for key in ("LogConfig", "ContainerIDFile", "ConsoleSize", "RestartPolicy"):
        host.pop(key, None)
    config = {
        key: found["Config"][key] or None for key in ("User", "Cmd", "Entrypoint", "WorkingDir", "Image")
    }
    return {**host, **config, "Env": sorted(found["Config"]["Env"])}
