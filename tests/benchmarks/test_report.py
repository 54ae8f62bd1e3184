"""Measured and claimed figures stand side by side and are never mixed."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from appliance.benchmarks.report import CLAIMED, binomial_interval, load_result, render, report, to_json

pytestmark = pytest.mark.unit


def result(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "benchmark": "rnn",
        "succeeded": True,
        "verdict": "The accuracy 0.7154 reaches the bar of 0.6920 for 2000 steps.",
        "system": {"cpu": "Some CPU", "cores_available": 2},
        "device": "CPU",
        "workload": {"steps": 2000},
        "dataset": {"title": "Fashion-MNIST", "test_images": 10000},
        "accuracy": {"first_128": 0.75, "all": 0.7154, "bar": 0.692},
        "metrics": [
            {"name": "real", "value": 45.5, "unit": "s"},
            {"name": "user", "value": 80.25, "unit": "s"},
            {"name": "sys", "value": 1.5, "unit": "s"},
            {"name": "steps_per_second", "value": 48.9, "unit": "1/s"},
        ],
    }
    return values | changes


def test_a_measured_run_comes_before_the_claimed_ones() -> None:
    rows = report([load_result(result())]).rows

    assert [row.origin for row in rows] == ["measured", "claimed", "claimed"]
    assert (rows[0].machine, rows[0].dataset) == ("Some CPU, 2 cores", "Fashion-MNIST")


def test_times_are_shown_apart_and_as_time_does() -> None:
    row = report([load_result(result())]).rows[0]

    assert (row.real, row.user, row.sys) == ("0m45.500s", "1m20.250s", "0m1.500s")


def test_the_original_figures_stand_as_they_were_given() -> None:
    box, server = report([]).rows

    assert (box.real, box.user, box.sys) == ("1m22.601s", "1m21.002s", "-")
    assert (server.real, server.user) == ("5m24.519s", "27m32s")
    assert [run.accuracy_first_128 for run in CLAIMED] == [113 / 128, 115 / 128]


def test_claimed_speed_is_steps_over_real_time() -> None:
    for run in CLAIMED:
        assert run.real_s
        assert run.steps_per_second == pytest.approx(run.steps / run.real_s, abs=0.05)


def test_other_steps_and_data_than_the_original_are_named() -> None:
    notes = report([load_result(result())]).notes

    expected = "2,000 steps instead of 10,000, Fashion-MNIST instead of MNIST."
    assert f"Not to be compared with the claimed figures: {expected}" in notes


def test_the_original_work_needs_no_such_note() -> None:
    same = result(workload={"steps": 10_000}, dataset={"title": "MNIST", "test_images": 10_000})

    assert not [note for note in report([load_result(same)]).notes if note.startswith("Not to be compared")]


def test_a_gpu_is_named_instead_of_the_processor() -> None:
    assert load_result(result(device="NVIDIA GeForce GTX 1070 Ti")).machine == "NVIDIA GeForce GTX 1070 Ti"


def test_what_was_too_short_to_measure_is_a_dash() -> None:
    assert report([load_result(result(metrics=[]))]).rows[0].steps_per_second == "-"


def test_the_failed_accuracy_is_said() -> None:
    failed = load_result(result(succeeded=False, verdict="The accuracy 0.1 is below the bar."))

    assert not failed.succeeded
    assert "The accuracy 0.1 is below the bar." in report([failed]).notes


@pytest.mark.parametrize(
    "values", [{}, {"metrics": None}, result(metrics=[{"name": "real", "value": "fast"}])]
)
def test_another_file_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a result of the RNN benchmark"):
        load_result(values)


def test_the_two_claimed_accuracies_do_not_differ() -> None:
    (_, box_high), (server_low, _) = (binomial_interval(hits / 128, 128) for hits in (113, 115))

    assert server_low < box_high


def test_an_interval_stays_within_0_and_1() -> None:
    assert binomial_interval(1.0, 128) == pytest.approx((0.971, 1.0), abs=0.001)
    assert binomial_interval(0.0, 128) == pytest.approx((0.0, 0.029), abs=0.001)


def test_json_marks_what_is_claimed() -> None:
    assert [run["is_claimed"] for run in to_json([load_result(result())])] == [False, True, True]


def test_the_table_fits_a_terminal_of_80_characters() -> None:
    screen = StringIO()
    render(Console(file=screen, width=80), [load_result(result())])

    assert "…" not in screen.getvalue()
    assert max(map(len, screen.getvalue().splitlines())) <= 80
