"""How much is tried: always the same cases, or, with SPUD_FUZZ_EFFORT=20, twenty times as many new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EFFORT = int(os.environ.get("SPUD_FUZZ_EFFORT", "0"))
"""0 is what every run of the tests does: no chance is in it, so that it cannot fail now and then."""


def cases(usual: int) -> settings:
    """Return the decorator for a property that is tried so many times."""
    return settings(
        max_examples=usual * max(1, EFFORT),
        derandomize=EFFORT == 0,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
