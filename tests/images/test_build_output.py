"""Steps, downloads and the reason of a failure, read from what builds print."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from appliance.containers.build_output import BuildOutput, Line, Step, Transfer

pytestmark = pytest.mark.unit

PIP_FAILURE = """Step 9/16 : RUN pip install --requirement /opt/locks/cpu.txt
 ---> Running in 8d3d2ac3a3f6
\x1b[91mERROR: Could not find a version that satisfies the requirement tensorflow-cpu==9.9
ERROR: No matching distribution found for tensorflow-cpu==9.9
\x1b[0mRemoving intermediate container 8d3d2ac3a3f6
"""
APT_FAILURE = """Step 2/3 : Install python3
I: running apt-get update...
E: Failed to fetch main/binary-amd64/Packages  Temporary failure resolving 'mirror'
E: apt-get update failed
"""
PYTHON_FAILURE = """Step 15/16 : RUN python3 -c "import tensorflow"
Traceback (most recent call last):
  File "<string>", line 1, in <module>
ModuleNotFoundError: No module named 'tensorflow'
"""


def test_steps_are_numbered() -> None:
    assert BuildOutput().feed("Step 2/7 : RUN true\n") == [Step(2, 7, "RUN true")]


def test_an_unfinished_line_waits_for_its_end() -> None:
    output = BuildOutput()
    assert output.feed("Step 2/7 : RU") == []
    assert output.feed("N true\n") == [Step(2, 7, "RUN true")]


def test_bytes_belong_to_the_package_that_is_downloaded() -> None:
    events = BuildOutput().feed("Downloading tf.whl (9 MB)\nProgress 5 of 9\n")
    assert events == [Line("Downloading tf.whl (9 MB)"), Transfer("tf.whl", 5, 9)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            PIP_FAILURE,
            "step 9/16 (RUN pip install --requirement /opt/locks/cpu.txt): Could not find a version",
        ),
        (APT_FAILURE, "step 2/3 (Install python3): Failed to fetch main/binary-amd64/Packages"),
        (PYTHON_FAILURE, "ModuleNotFoundError: No module named 'tensorflow'"),
        ("Step 1/1 : RUN x\n ---> Running in 1\nx: not found\n", "step 1/1 (RUN x): x: not found"),
        ("Step 1/1 : RUN x\n", "step 1/1 (RUN x): exit code 5"),
        ("", "before its first step: exit code 5"),
    ],
)
def test_failure_names_the_step_and_the_first_cause(text: str, sentence: str) -> None:
    output = BuildOutput()
    output.feed(text)
    assert sentence in output.failure("exit code 5")


def test_an_error_of_an_earlier_step_is_not_the_cause() -> None:
    output = BuildOutput()
    output.feed("Step 1/2 : RUN a\nERROR: harmless\nStep 2/2 : RUN b\nb: not found\n")
    assert output.failure("exit code 127").endswith("(RUN b): b: not found")


def test_an_output_without_end_costs_neither_memory_nor_time() -> None:
    output, began = BuildOutput(), time.process_time()
    tracemalloc.start()
    for _ in range(1000):
        assert output.feed("x" * 16_384) == []
    for _ in range(20):
        output.feed("a package's build\n" * 5000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * 1024**2
    assert time.process_time() - began < 5
