"""What Schemathesis does beside its own checks: looks for words in answers that are nobody's business."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

from tests.fuzz.served_box import ADMINISTRATOR, OTHER, OTHER_SECRET, OTHERS_JOBS, USER

FOLDER_VARIABLE = "SPUD_FUZZED_FOLDER"
"""Names the folder that the box keeps everything in; no answer may tell it."""
USER_VARIABLE = "SPUD_FUZZED_AS"
"""Names the user whose token the fuzzer has."""
ANONYMOUS_VARIABLE = "SPUD_FUZZED_WITHOUT_TOKEN"
"""Set when the fuzzer has no token."""

_NEVER = (
    "Traceback (most recent call last)",
    'File "/',
    "site-packages",
    "sqlite3.",
    "root:x:0:0",
    OTHER_SECRET,
)


@schemathesis.check
def answers_tell_nothing_of_the_inside(_ctx: Any, response: Any, case: Any) -> None:
    """Fail for an answer with a traceback, a path of the box, a file of the box or a secret's value."""
    # A command that starts the container anew names its mounts: that is what it is for.
    folder = () if case.operation.path.endswith("/command") else (os.environ[FOLDER_VARIABLE],)
    for word in (*_NEVER, *folder):
        assert word not in response.text, f"The answer holds {word}"


@schemathesis.check
def refusals_are_one_sentence(_ctx: Any, response: Any, case: Any) -> None:
    """Fail for an error without a word for programs and a line of text for people."""
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    error = response.json()["error"]
    assert error["code"].isidentifier()
    assert len(error["message"]) > 10, error
    assert error["message"].endswith((".", "--help")) or ": " in error["message"], error
    assert error["message"].isprintable(), error


@schemathesis.check
def nothing_is_done_without_a_token(_ctx: Any, response: Any, _case: Any) -> None:
    """Fail for any other answer than 401 to a request without token, but for what waitress cannot read."""
    if ANONYMOUS_VARIABLE in os.environ:
        assert response.status_code in (400, 401, 413, 431)


@schemathesis.check
def jobs_of_others_are_missing(_ctx: Any, response: Any, case: Any) -> None:
    """Fail for any success with a job of another user's, unless the fuzzer is an administrator."""
    job_id = str((case.path_parameters or {}).get("job_id"))
    if os.environ.get(USER_VARIABLE) == USER and job_id in map(str, OTHERS_JOBS) and case.method != "OPTIONS":
        assert response.status_code >= 400, f"job {job_id} is {OTHER}'s"
    if os.environ.get(USER_VARIABLE) == USER:
        assert f'"owner":"{OTHER}"' not in response.text


@schemathesis.hook
def filter_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Leave the administrator's own tokens alone, with which the fuzzer goes on."""
    return not path_parameters or path_parameters.get("name") != ADMINISTRATOR
