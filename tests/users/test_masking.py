"""What a job writes of its secrets is replaced, in every form that programs commonly give it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from appliance.users.masking import longest_form, masker

pytestmark = pytest.mark.unit

VALUE = 'p&ss"wo/rd+ä 1'


def mask(text: bytes, **secrets: str) -> bytes:
    masking = masker(secrets)
    assert masking is not None
    return masking(text)


@pytest.mark.parametrize(
    "written",
    [
        VALUE.encode(),
        json.dumps(VALUE)[1:-1].encode(),
        json.dumps(VALUE, ensure_ascii=False)[1:-1].encode(),
        quote(VALUE).encode(),
        quote(VALUE, safe="").encode(),
        quote_plus(VALUE).encode(),
        base64.b64encode(VALUE.encode()),
        base64.urlsafe_b64encode(VALUE.encode()),
        VALUE.encode().hex().encode(),
        ascii(VALUE)[1:-1].encode(),
    ],
)
def test_a_value_is_masked_in_every_common_form(written: bytes) -> None:
    assert mask(b"key=" + written + b".", KEY=VALUE) == b"key=[secret KEY]."


@pytest.mark.parametrize("user", ["a", "ab", "abc", "somebody"])
def test_a_password_is_masked_inside_of_basic_authentication(user: str) -> None:
    header = base64.b64encode(f"{user}:hunter2hunter2:rest".encode())
    masked = mask(header, KEY="hunter2hunter2")
    assert b"[secret KEY]" in masked
    hidden = len(header) - len(masked.replace(b"[secret KEY]", b""))
    assert hidden >= len("hunter2hunter2") * 8 // 6 - 1  # but for bits that the neighbours share


def test_each_line_of_a_value_is_masked_since_logs_have_lines() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----\n"
    assert mask(b"MIIEvQIBADANBgkq", KEY=key) == b"[secret KEY]"


def test_values_too_short_to_tell_from_other_text_are_left_alone() -> None:
    assert masker({"DEBUG": "1", "ANSWER": "yes"}) is None
    assert mask(b"1 yes long", DEBUG="1", KEY="long") == b"1 yes [secret KEY]"


def test_the_largest_secrets_are_masked_too() -> None:
    lines = [f"{number:030d}" for number in range(199)]
    names = [f"KEY_{number}" for number in range(20)]
    masking = masker({name: "\n".join(name + line for line in lines) for name in names})
    assert masking is not None
    assert masking(f"x{names[7]}{lines[100]}x".encode()) == b"x[secret KEY_7]x"


def test_secrets_that_begin_with_each_other_are_all_found() -> None:
    values = ["a" * length for length in range(4, 204)]
    masking = masker({"KEY": "\n".join(values)})
    assert masking is not None
    assert [value for value in values if masking(value.encode()) != b"[secret KEY]"] == []


def test_of_two_secrets_that_begin_alike_the_longer_one_is_named() -> None:
    assert mask(b"token-extended token", A="token", B="token-extended") == b"[secret B] [secret A]"


def test_a_value_is_text_and_no_pattern() -> None:
    assert mask(b"abcd a.*d", KEY="a.*d") == b"abcd [secret KEY]"


def test_no_secret_is_no_masker() -> None:
    assert masker({}) is None


def test_the_longest_form_covers_every_form() -> None:
    forms: list[Callable[[str], str]] = [quote, quote_plus, lambda text: json.dumps(text)[1:-1]]
    assert longest_form({"KEY": VALUE}) >= max(len(form(VALUE)) for form in forms)
    assert longest_form({}) == 0
