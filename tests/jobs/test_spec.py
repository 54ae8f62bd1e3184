from __future__ import annotations

import pytest

from appliance.errors import InvalidRequest
from appliance.jobs.spec import parse_duration, parse_size, parse_spec
from tests.factories import make_spec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 * 1024**3), ("512M", 512 * 1024**2), ("1.5g", 3 * 1024**3 // 2), (7, 7), ("7", 7)],
)
def test_sizes_are_powers_of_1024(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1d", 86400), (5, 5)]
)
def test_durations_add_up(text: str | int, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gpu": 1}, 'Unknown key "gpu" in the job. Did you mean "gpus"'),
        ({"gpus": "two"}, "gpus: 'two' should be a valid integer"),
        ({"gpus": -1}, "gpus: -1 should be at least 0"),
        ({"memory": "lots"}, "memory: 'lots' must be a size such as 8G"),
        ({"memory": "1K"}, "memory: '1K' must be at least 16M and at most 1024T"),
        ({"time": "0"}, "time: '0' must be at least 1s"),
        ({"time": "3661d"}, "at most 3660d"),
        ({"cpus": 0}, "cpus: 0 should be more than 0"),
        ({"retry_on": ["segfault"]}, "retry_on: 'segfault' must be one of user_error, gpu_out_of_memory"),
        ({"retry_on": ["ok"]}, "retry_on: 'ok' must be one of user_error"),
        ({"time": "soon"}, "time: 'soon' must be a time such as 2h"),
        ({"time": ""}, "time: '' must be a time such as 2h"),
        ({"command": []}, "command .*should have at least 1 item"),
        ({"command": ["a\0b"]}, "command: .* has a NUL character"),
        ({"image": "../etc"}, "image: '../etc' must be the name of an image"),
        ({"data": ["../etc"]}, "data: '../etc' must be at most 63"),
        ({"env": {"NVIDIA_VISIBLE_DEVICES": "all"}}, "env .*which Spud sets itself"),
        ({"env": {"a b": "c"}}, "env .*no variable can have"),
        ({"cpus": float("nan")}, "cpus: nan "),
        ({"data": ["mnist", "mnist"]}, "data names mnist twice; leave one out"),
        ({"gpus": True}, "gpus: True must be a number"),
        ({"cpus": True}, "cpus: True must be a number"),
        ({"memory": True}, "memory: True must be a size"),
        ({"time": False}, "time: False must be a time"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        make_spec(**values)


def test_a_job_without_command_says_what_to_give() -> None:
    with pytest.raises(InvalidRequest, match="The job has no command"):
        parse_spec({"gpus": 1})


def test_a_job_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be a mapping"):
        parse_spec(["train.py"])


def test_a_job_is_called_by_its_script() -> None:
    assert make_spec(command=["python3", "src/train.py", "--fast"]).title == "train.py"


def test_a_spec_survives_the_store() -> None:
    spec = make_spec(memory="8G", time="2h", env={"A": "1"}, data=["mnist"])
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
