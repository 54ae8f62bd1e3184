"""What strangers send: any JSON, and jobs that are nearly right."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from appliance.jobs.reason import Reason
from appliance.jobs.spec import JobSpec

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats()
    | st.text()
    | st.sampled_from(["", "0", "-1", "1e9", "8G", "2h", "\x00", "\n", "٣G", "\ud800", "x" * 40_000])
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)

_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,12}", fullmatch=True)
_WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_VARIABLES = st.sampled_from(
    ["HOME", "USER", "LOGNAME", "CUDA_DEVICE_ORDER", "PYTHONUNBUFFERED", "PATH", "LD_PRELOAD"]
) | st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_REFUSED = st.sampled_from(["SPUD_JOB_ID", "NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"])
_SIZES = st.integers(16 * 1024**2, 1024**5) | st.from_regex(
    r"[0-9]{1,4}(\.[0-9]{1,3})?[MGmg]i?B?", fullmatch=True
)
_TIMES = st.integers(1, 10**8) | st.from_regex(r"([1-9]d)?([0-9]{1,2}h)?[1-9][0-9]?m", fullmatch=True)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "command": st.lists(_WORDS, min_size=1, max_size=5),
    "name": st.none() | _NAMES,
    "image": st.none() | st.sampled_from(["base", "registry.example/team/image:tag", "a@sha256:0"]),
    "gpus": st.integers(0, 9),
    "gpu_memory": st.none() | _SIZES,
    "gpu_model": st.none() | st.text(min_size=1, max_size=20),
    "cpus": st.none() | st.floats(min_value=0, max_value=1024, exclude_min=True) | st.integers(1, 64),
    "memory": st.none() | _SIZES,
    "time": st.none() | _TIMES,
    "priority": st.integers(-1000, 1000),
    "retries": st.integers(0, 100),
    "retry_on": st.lists(st.sampled_from([str(reason) for reason in Reason]), max_size=3),
    "requeue": st.booleans(),
    "requirements": st.none() | st.sampled_from(["", "requirements.txt", "lib/a.toml", "../x", "/x"]),
    "secrets": st.lists(_VARIABLES, max_size=3),
    "data": st.lists(_NAMES | st.sampled_from(["..", ".", "a/b", "mnist"]), max_size=3),
    "env": st.dictionaries(_VARIABLES, st.text(max_size=8), max_size=4)
    | st.dictionaries(_REFUSED, st.text(max_size=8), max_size=1),
}
"""For every key of a job, values that are mostly allowed."""

JOBS = st.fixed_dictionaries(
    {"command": RIGHT["command"]}, optional={k: RIGHT[k] for k in RIGHT if k != "command"}
)
"""Jobs that may well be accepted."""

WISHES = (
    JSON
    | st.dictionaries(st.sampled_from(sorted(JobSpec.model_fields)) | st.text(), JSON)
    | st.builds(lambda job, key, value: {**job, key: value}, JOBS, st.sampled_from(sorted(RIGHT)), JSON)
)
"""Anything, keys of a job with anything in them, and jobs with one thing wrong."""
