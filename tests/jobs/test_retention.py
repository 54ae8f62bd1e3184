from __future__ import annotations

import pytest

from appliance.config import RetentionSettings
from appliance.jobs.retention import Kind, Left, Limits, removals, unused_images

pytestmark = pytest.mark.unit

DAY = 86_400.0
NOW = 100 * DAY
FOR_EVER = Limits(None, None, None, None, None)


def left(job_id: int, kind: Kind = Kind.WORKSPACE, age_days: float = 1.0, size: int = 10) -> Left:
    return Left(job_id, kind, NOW - age_days * DAY, size)


def going(things: list[Left], limits: Limits) -> list[tuple[int, Kind]]:
    return [(removal.left.job_id, removal.left.kind) for removal in removals(things, limits, NOW)]


def limits(**values: float) -> Limits:
    return Limits.of(RetentionSettings.model_validate({"workspace_days": 0, "image_days": 0, **values}))


def test_by_default_workspaces_go_after_a_week_and_results_stay() -> None:
    things = [left(1, kind, age_days=8) for kind in Kind] + [left(2, age_days=6.9)]
    assert going(things, Limits.of(RetentionSettings())) == [(1, Kind.WORKSPACE)]


def test_nothing_goes_without_limits() -> None:
    assert going([left(number, kind, 9999) for number, kind in enumerate(Kind)], FOR_EVER) == []


def test_each_kind_has_an_age_of_its_own() -> None:
    things = [left(1, kind, age_days=5) for kind in Kind]
    assert going(things, limits(artifact_days=4)) == [(1, Kind.RESULTS)]
    assert going(things, limits(log_days=4)) == [(1, Kind.LOG)]


def test_the_oldest_goes_first() -> None:
    things = [left(1, age_days=8), left(2, age_days=10), left(3, age_days=9)]
    assert [job for job, _ in going(things, limits(workspace_days=1))] == [2, 3, 1]


def test_too_much_takes_workspaces_before_results_and_the_oldest_first() -> None:
    things = [left(1, Kind.RESULTS, 9), left(1, Kind.WORKSPACE, 9), left(2, Kind.WORKSPACE, 2), left(3)]
    assert going(things, limits(max_bytes=25)) == [(1, Kind.WORKSPACE), (2, Kind.WORKSPACE)]
    assert going(things, limits(max_bytes=5)) == [
        (1, Kind.WORKSPACE),
        (2, Kind.WORKSPACE),
        (3, Kind.WORKSPACE),
        (1, Kind.RESULTS),
    ]


def test_what_is_too_old_counts_no_more_among_what_is_too_much() -> None:
    things = [left(1, age_days=9, size=100), left(2, age_days=1, size=20)]
    assert going(things, limits(workspace_days=7, max_bytes=20)) == [(1, Kind.WORKSPACE)]


def test_what_takes_no_space_makes_none() -> None:
    assert going([left(1, size=0), left(2, size=30)], limits(max_bytes=1)) == [(2, Kind.WORKSPACE)]


def test_the_reason_is_told() -> None:
    (old,) = removals([left(1, age_days=8)], limits(workspace_days=7), NOW)
    (much,) = removals([left(1, age_days=8)], limits(max_bytes=9), NOW)
    assert (old.why, much.why) == ("older than 7 days", "jobs keep more than 9 bytes")


def test_a_prune_shortens_ages_and_spares_results_unless_they_are_named() -> None:
    kept = Limits.of(RetentionSettings())
    hour = 3600.0
    things = [left(1, kind, age_days=0.5) for kind in Kind]
    assert going(things, kept.shortened(hour, with_results=False)) == [(1, Kind.WORKSPACE)]
    assert {kind for _, kind in going(things, kept.shortened(hour, with_results=True))} == set(Kind)


def test_a_prune_never_keeps_longer_than_the_settings() -> None:
    short = limits(workspace_days=1).shortened(30 * DAY, with_results=False)
    assert going([left(1, age_days=2)], short) == [(1, Kind.WORKSPACE)]


def test_images_that_were_not_used_for_long_go_longest_first() -> None:
    used = {"a": NOW - 31 * DAY, "b": NOW - 40 * DAY, "c": NOW - 29 * DAY, "d": NOW}
    assert unused_images(used, limits(image_days=30), NOW) == ("b", "a")
    assert unused_images(used, FOR_EVER, NOW) == ()
