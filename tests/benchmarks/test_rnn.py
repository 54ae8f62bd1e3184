"""What the benchmark decides, without TensorFlow: its data, its machine, its transcript, its bar."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from appliance.benchmarks import rnn

pytestmark = pytest.mark.unit


def write_files(folder: Path, content: bytes = b"other images") -> Path:
    for name in rnn.FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def test_a_missing_file_ends_with_2_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rnn.main(["--data", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no train-images-idx3-ubyte.gz" in capsys.readouterr().err


def test_other_files_than_the_published_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(rnn.InputError, match=r"train-images-idx3-ubyte in .* is not the published file"):
        rnn.load_dataset(write_files(tmp_path))


@pytest.mark.parametrize("damaged", [b"no gzip", gzip.compress(b"cut off")[:-4]])
def test_a_damaged_file_is_refused(tmp_path: Path, damaged: bytes) -> None:
    (write_files(tmp_path) / "t10k-labels-idx1-ubyte.gz").write_bytes(damaged)

    with pytest.raises(rnn.InputError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        rnn.load_dataset(tmp_path)


@pytest.mark.parametrize("name", rnn.SHA256)
def test_a_data_set_is_recognised_by_its_four_hashes(name: str) -> None:
    assert rnn.recognise(Path("/data"), rnn.SHA256[name]) == name


def test_a_mixture_of_two_data_sets_is_refused() -> None:
    mixed = (*rnn.SHA256["mnist"][:2], *rnn.SHA256["fashion-mnist"][2:])

    with pytest.raises(rnn.InputError, match="mixes two data sets"):
        rnn.recognise(Path("/data"), mixed)


def test_an_output_that_cannot_be_written_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    assert rnn.main(["--data", str(tmp_path), "--output", str(tmp_path / "file")]) == 2
    assert "Name another folder with --output" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["0", "-1", "many", "1.5"])
def test_a_number_of_steps_is_whole_and_positive(steps: str) -> None:
    with pytest.raises(SystemExit) as ended:
        rnn.parse_options(["--data", "/data", "--steps", steps])
    assert ended.value.code == 2


def test_a_job_writes_where_spud_keeps_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPUD_OUTPUT_DIR", "/kept")

    assert rnn.parse_options(["--data", "/data"]).output == Path("/kept")


def test_the_transcript_has_the_original_form() -> None:
    line = rnn.transcript_line(200, 2.07914, 0.3203125)

    assert line == "Step 200, Minibatch Loss= 2.0791, Training Accuracy= 0.320"


def test_times_have_the_form_of_time() -> None:
    assert rnn.clock(82.601) == "1m22.601s"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (2, [1, 2]), (20, [1, 20]), (45, [1, 20, 40, 45]), (60, [1, 20, 40, 60])],
)
def test_the_loop_stops_at_step_1_every_20th_and_the_last(steps: int, expected: list[int]) -> None:
    assert list(rnn.stops(steps)) == expected


def test_every_displayed_step_is_a_stop() -> None:
    assert set(range(200, 10_001, 200)) <= set(rnn.stops(10_000))


def test_speed_is_measured_after_10_steps_and_2_seconds() -> None:
    calls = [(1, 3.0), (20, 1.0), (20, 0.5), (20, 0.5)]

    assert rnn.steady_rate(calls) == 40.0


def test_a_run_of_the_warm_up_alone_has_no_speed() -> None:
    assert rnn.steady_rate([(1, 3.0), (19, 0.5)]) is None


def test_progress_says_how_fast_and_how_long() -> None:
    assert rnn.progress_line(21, 101, [(1, 3.0), (20, 1.0)]) == "21/101 steps, 20.0 steps/s, 4 s left"


def test_the_bar_is_two_points_below_what_was_seen() -> None:
    assert rnn.accuracy_bar("mnist", 10_000) == pytest.approx(0.855 - 0.02)


def test_between_two_points_the_bar_is_linear_and_beyond_the_last_it_stays() -> None:
    assert rnn.accuracy_bar("mnist", 1_500) == pytest.approx((0.481 + 0.592) / 2 - 0.02, abs=1e-4)
    assert rnn.accuracy_bar("mnist", 50_000) == rnn.accuracy_bar("mnist", 10_000)


def test_too_few_steps_are_not_judged() -> None:
    accuracy = rnn.Accuracy(0.2, 0.2, rnn.accuracy_bar("mnist", 999))

    assert accuracy.is_enough
    assert rnn.verdict(accuracy, "mnist", 999) == "999 steps are too few to judge the accuracy."


def test_less_than_the_bar_does_not_count() -> None:
    accuracy = rnn.Accuracy(0.2, 0.2, 0.6)

    assert not accuracy.is_enough
    assert "0.2000 is below the bar of 0.6000 for 2000 steps on MNIST" in rnn.verdict(accuracy, "mnist", 2000)


@pytest.mark.parametrize(("cores", "shards"), [(1, 1), (2, 2), (3, 2), (4, 4), (48, 4)])
def test_a_batch_is_split_evenly_by_the_cores(cores: int, shards: int) -> None:
    assert rnn.shard_count(cores) == shards
    assert rnn.BATCH % shards == 0


@pytest.mark.parametrize(("limit", "cores"), [("150000 100000", 1.5), ("max 100000", 1e9)])
def test_the_quota_of_cgroup_v2_is_read(tmp_path: Path, limit: str, cores: float) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")

    assert rnn.cpu_quota(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2.0), ("-1", 1e9)])
def test_the_quota_of_cgroup_v1_is_read(tmp_path: Path, quota: str, cores: float) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")

    assert rnn.cpu_quota(tmp_path) == cores


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert rnn.cpu_quota(tmp_path) == 1e9


def test_the_result_is_written_whole(tmp_path: Path) -> None:
    rnn.write_result(tmp_path, {"succeeded": True})

    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert json.loads((tmp_path / "result.json").read_text()) == {"succeeded": True}
