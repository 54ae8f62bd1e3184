from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli.reference import reference

pytestmark = pytest.mark.unit


def test_page_of_the_command_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text() == reference(), "write it anew: python -m appliance.cli.reference > docs/cli.md"
