"""Masking: the values of secrets are replaced wherever a job writes them. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
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
    # Longest first: of two secrets that begin alike, the longer one is the one that is there.
    longest_first = sorted(names, key=lambda form: (-len(form), form))
    pattern = re.compile(b"|".join(re.escape(form) for form in longest_first))
    marks = {form: f"[secret {name}]".encode() for form, name in names.items()}
    return lambda text: pattern.sub(lambda match: marks[match.group()], text)


def longest_form(secrets: Mapping[str, str]) -> int:
    """Return the bytes of the longest text that the masker may replace."""
    return max((len(form) for value in secrets.values() for form in _forms(value)), default=0)


def _forms(value: str) -> Iterator[bytes]:
    """Yield every text that stands for a value, none shorter than what is worth masking."""
    seen = set()
    for text in _texts(value):
        raw = text.encode(errors="surrogateescape")
        if len(raw.strip()) < _SHORTEST:
            continue
        for form in (raw, *_encoded(text, raw)):
            if form not in seen:
                seen.add(form)
                yield form


def _texts(value: str) -> Iterator[str]:
    """Yield the whole value and each of its lines, since a log has lines."""
    yield value
    for line in value.splitlines():
        yield line.rstrip()
    yield value.strip()


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
