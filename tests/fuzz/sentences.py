"""What every refusal must be."""

from __future__ import annotations

from appliance.errors import SpudError


def assert_is_one_sentence(error: SpudError, names: str = "") -> None:
    """Assert that people can read the message: one printable line of bearable length, which names that."""
    message = error.message
    assert message.isprintable(), repr(message)
    assert 10 < len(message) < 2100, len(message)
    assert message[-1] in ".?" or ": " in message, message
    assert names in message
