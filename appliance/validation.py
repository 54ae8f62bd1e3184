"""Turn what is wrong with a user's keys and values into one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

_BOUNDS = {"greater_than": "more than {gt}", "greater_than_equal": "at least {ge}"}
_BOUNDS |= {"less_than": "less than {lt}", "less_than_equal": "at most {le}"}


def unknown_name(name: str, known: Iterable[str], what: str) -> str:
    """Return the sentence for an unknown name, with the closest known one as the next step."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f'Did you mean "{close[0]}"?' if close else f"Known are: {', '.join(names)}."
    return f"Unknown {what}. {hint}"


def first_reason(error: ValidationError) -> str:
    """Return why the first bad value was refused, without pydantic's own wording, as part of a sentence."""
    first = error.errors()[0]
    if bound := _BOUNDS.get(first["type"]):
        return f"should be {bound.format(**first['ctx'])}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{reason[0].lower()}{reason[1:]}".rstrip(".")
