"""Masking: the values of secrets are replaced wherever a job writes them. Pure."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from urllib.parse import quote, quote_plus

_SHORTEST = 4
"""Shorter values are left alone: to replace every `1` or `yes` would hide the log, not the secret."""


def masker(secrets: Mapping[str, str]) -> Callable[[bytes], bytes] | None:
    """Return what replaces the secrets' values in a piece of text; None when there is nothing to replace.

    A value is found as it is, line by line, and as JSON, URLs, base64 and hexadecimal write it. What a job
    makes of it in any other way, such as a hash or letters in reverse, cannot be found.
    """
    names: dict[bytes, str] = {}
    for name, value in secrets.items():
        for form in _forms(value):
            names.setdefault(form, name)
    if not names:
        return None
    pattern = re.compile(_any_of(sorted(names)))
    marks = {form: f"[secret {name}]".encode() for form, name in names.items()}
    return lambda text: pattern.sub(lambda match: marks[match.group()], text)


def _any_of(forms: Sequence[bytes]) -> bytes:
    """Return a pattern of sorted texts that matches the longest of those that are there.

    Common beginnings stand once: of a plain list of alternatives, each would be tried at each character.
    """
    tails = []
    for _, group in groupby(forms, lambda form: form[:1]):
        alike = list(group)
        begin = os.path.commonprefix(alike) or b""  # noqa: RUF071  of texts, not of paths
        rest = _any_of([form[len(begin) :] for form in alike]) if begin and len(alike) > 1 else b""
        tails.append(re.escape(begin) + rest)
    return tails[0] if len(tails) == 1 else b"(?:" + b"|".join(reversed(tails)) + b")"


def longest_form(secrets: Mapping[str, str]) -> int:
    """Return the bytes of the longest text that the masker may replace."""
    return max((len(form) for value in secrets.values() for form in _forms(value)), default=0)


def _forms(value: str) -> set[bytes]:
    """Return every text that stands for a value, none shorter than what is worth masking."""
    whole = value.strip()
    forms = {line.strip().encode(errors="surrogateescape") for line in (value, whole, *value.splitlines())}
    for text in (value, whole) if len(whole) >= _SHORTEST else ():
        forms.update(_encoded(text, text.encode(errors="surrogateescape")))
    return {form for form in forms if len(form) >= _SHORTEST}


def _encoded(text: str, raw: bytes) -> Iterator[bytes]:
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogateescape")
    yield repr(text)[1:-1].encode(errors="backslashreplace")
    yield ascii(text)[1:-1].encode()
    yield quote(raw, safe="").encode()
    yield quote(raw).encode()
    yield quote_plus(raw).encode()
    yield raw.hex().encode()
    yield base64.b64encode(raw)
    yield base64.urlsafe_b64encode(raw)
    for offset in range(3):
        yield from _base64(raw, offset)


def _base64(raw: bytes, offset: int) -> Iterator[bytes]:
    """Yield the part of the base64 that a value always has when `offset` bytes (mod 3) stand before it.

    So a value is found inside of a longer encoded text too, such as the `user:password` of basic
    authentication. The characters at both ends depend on the neighbours and are left out.
    """
    encoded = base64.b64encode(b"\0" * offset + raw)
    first = (offset * 8 + 5) // 6
    last = (offset + len(raw)) * 8 // 6
    for form in (encoded[first:last], encoded[first:last].replace(b"+", b"-").replace(b"/", b"_")):
        if len(form) >= _SHORTEST:
            yield form
