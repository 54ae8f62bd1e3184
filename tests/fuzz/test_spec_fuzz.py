"""Whatever is sent as a job gets one sentence, or a job that survives the store and has Spud's container."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from appliance.cli.job_options import JOB_CONTEXT, JobCommand, job_options, wanted_job
from appliance.config import Settings
from appliance.containers.arguments import ContainerArguments, container_arguments
from appliance.errors import InvalidRequest
from appliance.jobs import quantity
from appliance.jobs.directory import JobDirectory
from appliance.jobs.spec import JobSpec, parse_duration, parse_size, parse_spec
from appliance.users.user import Role, User
from tests.factories import make_attempt, make_job
from tests.fuzz.effort import cases
from tests.fuzz.sentences import assert_is_one_sentence
from tests.fuzz.values import JOBS, SCALARS, WISHES

pytestmark = pytest.mark.unit

OWNER = User(1, "ada", Role.USER, 1234, 1234, 0.0)
STORE = Path("/var/lib/spud")


def accepted(values: object) -> JobSpec:
    """Return the job; a refusal is looked at and ends the case."""
    try:
        return parse_spec(values)
    except InvalidRequest as error:
        assert_is_one_sentence(error)
        assume(False)
        raise


@cases(300)
@given(WISHES)
def test_any_wish_is_a_job_or_a_sentence(values: object) -> None:
    try:
        spec = parse_spec(values)
    except InvalidRequest as error:
        assert_is_one_sentence(error)
    else:
        assert spec.command
        assert spec.title


@cases(80)
@given(JOBS)
def test_a_job_survives_json(values: dict[str, object]) -> None:
    spec = accepted(values)
    text = spec.model_dump_json()
    assert JobSpec.model_validate_json(text) == spec
    assert parse_spec(json.loads(text)) == spec


@cases(50)
@given(JOBS)
def test_a_job_survives_the_command_line(values: dict[str, object]) -> None:
    spec = accepted(values)
    assume(not spec.requirements)  # which must be a file in the folder
    assert parse_spec(wished(options(spec))) == spec


@cases(80)
@given(JOBS, st.integers(0, 3))
@example({"command": ["x"], "env": {"CUDA_VISIBLE_DEVICES": "0,1"}}, 1)
def test_a_container_is_spuds_whatever_the_job_says(values: dict[str, object], gpus: int) -> None:
    spec = accepted(values)
    uuids = tuple(f"GPU-{number}" for number in range(gpus))
    container = contained(spec, uuids)
    assert [(str(mount.source), mount.target, mount.is_read_only) for mount in container.mounts] == [
        (f"{STORE}/jobs/17/2/workspace", "/workspace", False),
        (f"{STORE}/jobs/17/2/output", "/output", False),
        (f"{STORE}/jobs/17/checkpoints", "/checkpoints", False),
        (f"{STORE}/jobs/17/2/home", "/home/job", False),
        (f"{STORE}/jobs/17/2/passwd", "/etc/passwd", True),
        *((f"{STORE}/data/{name}", f"/data/{name}", True) for name in spec.data),
    ]
    assert all("/" not in name and name not in (".", "..") for name in spec.data)
    assert len({mount.target for mount in container.mounts}) == len(container.mounts)
    assert "CUDA_VISIBLE_DEVICES" not in container.environment
    plain = contained(JobSpec(command=("x",)), uuids)
    for name, value in plain.environment.items():
        assert name == "PYTHONUNBUFFERED" or container.environment[name] == value
    told = ("name", "image", "secrets", "labels", "uid", "gid", "gpu_uuids", "pids", "shm_bytes", "network")
    for field in told:
        assert getattr(container, field) == getattr(plain, field)


@cases(300)
@given(SCALARS)
def test_a_size_and_a_time_are_numbers_or_wrong(text: object) -> None:
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(ValueError):
            assert type(parse(text)) is int


@cases(50)
@given(st.integers(1, 10 * 366 * 86_400))
def test_a_time_is_read_as_it_is_told(seconds: int) -> None:
    assert parse_duration(quantity.duration(seconds)) == seconds


def contained(spec: JobSpec, gpu_uuids: tuple[str, ...]) -> ContainerArguments:
    job = make_job(17, **json.loads(spec.model_dump_json()))
    attempt = make_attempt(17, 2, gpu_uuids=gpu_uuids)
    return container_arguments(
        job, attempt, OWNER, JobDirectory.of(STORE, 17, 2), "spud/base", 10**10, Settings()
    )


def options(spec: JobSpec) -> list[str]:
    """Return the words behind `spud submit` that ask for this job."""
    single = (
        "gpus",
        "gpu_memory",
        "gpu_model",
        "cpus",
        "memory",
        "image",
        "time",
        "priority",
        "name",
        "retries",
    )
    words = [
        f"--{key.replace('_', '-')}={getattr(spec, key)}" for key in single if getattr(spec, key) is not None
    ]
    words += [f"--data={name}" for name in spec.data]
    words += [f"--secret={name}" for name in spec.secrets]
    words += [f"--retry-on={reason}" for reason in spec.retry_on]
    words += [f"--env={name}={value}" for name, value in spec.env.items()]
    words += [] if spec.requeue else ["--no-requeue"]
    words += ["--no-requirements"] if spec.requirements == "" else []
    return [*words, "--", *spec.command]


def wished(words: list[str]) -> object:
    """Return the job that the command line describes."""

    @click.command(cls=JobCommand, context_settings=JOB_CONTEXT)
    @job_options
    @click.pass_context
    def submit(ctx: click.Context, /, **_: object) -> object:
        return wanted_job(ctx).spec

    return submit.main(words, standalone_mode=False)
