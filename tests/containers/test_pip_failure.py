"""What pip 23 to 26 print when they fail, recorded."""

from __future__ import annotations

import pytest

from appliance.containers.pip_failure import pip_failure

pytestmark = pytest.mark.unit

ABSENT = """ERROR: Could not find a version that satisfies the requirement nmupy (from versions: none)
ERROR: No matching distribution found for nmupy"""
CONFLICT = """ERROR: Cannot install a==1 and b==2 \
because these package versions have conflicting dependencies.
The conflict is caused by:
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/"""
UNREACHABLE = """WARNING: Retrying (Retry(total=0)) after connection broken \
by 'NewConnectionError('<pip._vendor>: \
Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)
ERROR: No matching distribution found for numpy"""
BUILD = """Collecting old-thing (from -r requirements.txt (line 1))
  Getting requirements to build wheel: finished with status 'error'
  error: subprocess-exited-with-error

  \u00d7 Getting requirements to build wheel did not run successfully.
  │ exit code: 1
  ╰─> [20 lines of output]
      Traceback (most recent call last):
        File "setup.py", line 3, in <module>
      ModuleNotFoundError: No module named 'Cython'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed to build 'old-thing' when getting requirements to build wheel"""
FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
NO_PYTHON = "[FATAL tini (7)] exec python3 failed: No such file or directory"


@pytest.mark.parametrize(
    ("output", "message", "advice"),
    [
        (ABSENT, "the requirement nmupy (from versions: none)", "Check name and version in requirements.txt"),
        (CONFLICT, "Cannot install a==1 and b==2", "Loosen the versions in requirements.txt"),
        (UNREACHABLE, "the package index could not be reached", "PIP_INDEX_URL"),
        (BUILD, "old-thing could not be built: ModuleNotFoundError: No module named 'Cython'", "Correct"),
        (FULL, "[Errno 28] No space left on device", "Free some space"),
        (NO_PYTHON, "the image has no python3", "Choose an image with Python"),
        ("", "pip ended with exit code 2", "Correct requirements.txt"),
    ],
)
def test_a_failure_names_the_cause_and_the_next_step(output: str, message: str, advice: str) -> None:
    failure = pip_failure(output.splitlines(), 2, "requirements.txt")
    assert message in failure.message
    assert advice in failure.advice


def test_pips_own_lines_are_the_evidence() -> None:
    assert pip_failure(ABSENT.splitlines(), 1, "x").evidence == tuple(ABSENT.splitlines())
