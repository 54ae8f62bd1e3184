from __future__ import annotations

import pytest

from appliance.errors import InvalidRequest

pytestmark = pytest.mark.unit


def test_a_quoted_control_code_reaches_no_terminal() -> None:
    error = InvalidRequest("No file \x1b[31mred\n\ud800. Check the name: größe.")
    assert error.message == str(error) == r"No file \x1b[31mred\n\ud800. Check the name: größe."


def test_an_endless_message_keeps_beginning_and_end() -> None:
    message = InvalidRequest(f"No file {'x' * 10**6}. Check the name.").message
    assert message.startswith("No file xxx")
    assert message.endswith("… " + "x" * 483 + ". Check the name.")
