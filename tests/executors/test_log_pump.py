from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.containers.engine import ContainerEngine
from appliance.executors.log_pump import LogPump
from appliance.jobs.log import SPUD_PREFIX, TRUNCATED_MARK, Kind, LogRecord, append_notice, read

pytestmark = pytest.mark.unit

STAMPS = [f"2026-11-21T09:00:0{second}.00000000{second}Z".encode() for second in range(10)]


class RecordedEngine:
    """An engine whose log holds these records; followed, it breaks off after some of them."""

    def __init__(self, records: list[LogRecord], breaks_after: int | None = None) -> None:
        self.records = records
        self.breaks_after = breaks_after
        self.reads = 0

    def log_batches(self, _name: str, *, follow: bool) -> Iterator[list[LogRecord]]:
        self.reads += 1
        records = self.records[: self.breaks_after] if follow else self.records
        for start in range(0, len(records), 3):
            yield records[start : start + 3]

    def logs(self, _name: str, *, tail: int) -> Iterator[LogRecord]:
        yield from self.records[-tail:]


def pump_of(engine: RecordedEngine, log: Path, limit: int = 10**9, **options: Any) -> LogPump:
    return LogPump(cast(ContainerEngine, cast(Any, engine)), "spud-1-1", log, limit, **options)


def full(stamp: bytes, text: bytes) -> LogRecord:
    return LogRecord(stamp, Kind.FULL, text)


def part(stamp: bytes, text: bytes) -> LogRecord:
    return LogRecord(stamp, Kind.PART, text)


def text(log: Path) -> bytes:
    return b"".join(piece for _, piece in read(log))


def followed(records: list[LogRecord], log: Path, limit: int = 10**9, **options: Any) -> bytes:
    pump_of(RecordedEngine(records), log, limit, **options).follow()
    return text(log)


def finished(records: list[LogRecord], log: Path, limit: int = 10**9, **options: Any) -> bytes:
    pump_of(RecordedEngine(records), log, limit, **options).finish()
    return text(log)


def output(records: list[LogRecord]) -> bytes:
    return b"".join(record.text + (b"\n" if record.kind is Kind.FULL else b"") for record in records)


TWO_STREAMS = [
    part(STAMPS[1], b"bar 1\r"),
    full(STAMPS[3], b"epoch 1"),
    part(STAMPS[1], b"bar 2\r"),  # the parts of a line bear the time of its first
    full(STAMPS[2], b"epoch 2"),
    part(STAMPS[1], b"bar 3\r"),
]
LONG_LINE = [part(STAMPS[4], b"x" * 16_384) for _ in range(64)] + [full(STAMPS[4], b"end")]
CASES = {"two streams": TWO_STREAMS, "long line": LONG_LINE, "same time": [full(STAMPS[0], b"a")] * 5}
MANY = [full(STAMPS[1], b"line %06d" % number) for number in range(60_000)]
LIMIT = 4_000


@pytest.mark.parametrize("records", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("cut", range(1, 5))
def test_a_pump_that_resumes_loses_and_doubles_nothing(
    tmp_path: Path, records: list[LogRecord], cut: int
) -> None:
    log = tmp_path / "output.log"
    followed(records[:cut], log)
    assert followed(records, log) == output(records)
    assert finished(records, log) == output(records)


def test_a_line_torn_by_a_death_comes_whole(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(full(STAMPS[0], b"one").encode() + full(STAMPS[0], b"two").encode()[:-2])
    assert followed([full(STAMPS[0], b"one"), full(STAMPS[0], b"two")], log) == b"one\ntwo\n"


def test_what_spud_wrote_before_is_not_taken_for_output(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    append_notice(log, "Installing numpy\nInstalled.")
    expected = SPUD_PREFIX + b"Installing numpy\n" + SPUD_PREFIX + b"Installed.\n" + output(MANY)
    followed(MANY[:7], log)
    assert finished(MANY, log) == expected


@pytest.mark.parametrize("records", [*CASES.values(), []], ids=[*CASES.keys(), "nothing"])
@pytest.mark.parametrize("breaks_after", [0, 1, 3, None])
def test_what_the_engine_broke_off_is_fetched_at_the_end(
    tmp_path: Path, records: list[LogRecord], breaks_after: int | None
) -> None:
    pump = pump_of(RecordedEngine(records, breaks_after), tmp_path / "output.log")
    pump.follow()
    pump.finish()
    assert text(tmp_path / "output.log") == output(records)


def test_parts_that_are_all_equal_are_no_proof_of_a_whole_log(tmp_path: Path) -> None:
    parts = [part(STAMPS[1], b"=" * 100) for _ in range(200)]
    pump = pump_of(RecordedEngine(parts, breaks_after=100), tmp_path / "output.log")
    pump.follow()
    pump.finish()
    assert text(tmp_path / "output.log") == b"=" * 20_000


def test_a_log_that_came_whole_is_not_read_again(tmp_path: Path) -> None:
    engine = RecordedEngine(MANY)
    pump = pump_of(engine, tmp_path / "output.log")
    pump.follow()
    pump.finish()
    assert engine.reads == 1


def test_beyond_the_limit_the_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    kept = followed(MANY, log, LIMIT)
    assert kept.endswith(SPUD_PREFIX + TRUNCATED_MARK + b"\n")
    assert kept.startswith(output(MANY[:80]))
    whole = finished(MANY, log, LIMIT)
    end = whole.removeprefix(kept)
    told = re.match(rb"\[spud\] ([\d,]+) bytes were left out; the end follows\.\n", end)
    assert told
    end = end[told.end() :]
    assert end.endswith(b"line 059999\n")
    assert len(end) > 25_000
    head = kept.removesuffix(SPUD_PREFIX + TRUNCATED_MARK + b"\n")
    assert int(told[1].replace(b",", b"")) == len(output(MANY)) - len(head) - len(end)


def test_the_last_word_on_standard_error_is_kept(tmp_path: Path) -> None:
    error = LogRecord(STAMPS[1], Kind.FULL, b"out of memory", is_error=True)
    whole = finished([*MANY[:500], error, *MANY[500:]], tmp_path / "output.log", LIMIT)
    assert whole.endswith(b"line 059999\n[spud] The end of its standard error:\nout of memory\n")


def test_little_beyond_the_limit_is_kept_whole(tmp_path: Path) -> None:
    records = [full(STAMPS[2], b"x" * 100) for _ in range(10)]
    whole = finished(records, tmp_path / "output.log", 400)
    assert whole.replace(SPUD_PREFIX + TRUNCATED_MARK + b"\n", b"") == output(records)


def test_a_container_that_is_gone_leaves_the_log_as_it_is(tmp_path: Path) -> None:
    whole = finished(MANY, tmp_path / "output.log", LIMIT)
    assert finished([], tmp_path / "output.log", LIMIT) == whole


def test_the_mark_ends_a_line_that_has_no_end(tmp_path: Path) -> None:
    kept = followed(LONG_LINE, tmp_path / "output.log", 40_000)
    assert kept == b"x" * 32_768 + b"\n" + SPUD_PREFIX + TRUNCATED_MARK + b"\n"


@pytest.mark.parametrize("cut_at", [5, 3_000, 3_990, 4_050, 4_100, 4_200, 9_000, -3, -500, -90_000])
def test_a_death_at_any_byte_of_a_cut_log_changes_nothing(tmp_path: Path, cut_at: int) -> None:
    whole, log = tmp_path / "whole.log", tmp_path / "output.log"
    pump = pump_of(RecordedEngine(MANY), whole, LIMIT)
    pump.follow()
    pump.finish()
    log.write_bytes(whole.read_bytes()[:cut_at])
    died = pump_of(RecordedEngine(MANY), log, LIMIT)
    died.finish()
    assert text(log) == text(whole)
    died.finish()
    assert text(log) == text(whole)


def masking(secret: bytes) -> dict[str, Any]:
    return {
        "mask": lambda piece: piece.replace(secret, b"[secret A]"),
        "longest_masked_bytes": len(secret),
    }


def cut_in_two(secret: bytes, at: int) -> list[LogRecord]:
    """A secret of which so many bytes stand in the first part of a line, and an error's line in between."""
    head, tail = secret[:at], secret[at:]
    return [
        part(STAMPS[1], b"x" * (16_384 - at) + head),
        full(STAMPS[2], b"warning with " + secret),
        part(STAMPS[1], (tail + b"y" * 16_384)[:16_384]),
        full(STAMPS[1], b"end " + secret),
    ]


@pytest.mark.parametrize("at", [1, 5, 9])
@pytest.mark.parametrize("died_after", [0, 1, 2, 3])
def test_a_secret_cut_in_two_by_a_long_line_is_masked(tmp_path: Path, at: int, died_after: int) -> None:
    secret, log = b"hunter2-00", tmp_path / "output.log"
    records = cut_in_two(secret, at)
    followed(records[:died_after], log, **masking(secret))
    written = finished(records, log, **masking(secret))
    assert b"hunter" not in written
    assert written.count(b"[secret A]") == 3
    line = written.replace(b"warning with [secret A]\n", b"")
    assert line == b"x" * (16_384 - at) + b"[secret A]" + b"y" * (16_384 - 10 + at) + b"end [secret A]\n"


def test_a_secret_longer_than_a_part_is_masked(tmp_path: Path) -> None:
    secret = bytes(range(65, 91)) * 1_260  # 32 KiB
    long_line = b"x" * 100 + secret + b"y" * 100_000
    parts = [part(STAMPS[1], long_line[start : start + 16_384]) for start in range(0, len(long_line), 16_384)]
    written = finished(parts, tmp_path / "output.log", **masking(secret))
    assert written == b"x" * 100 + b"[secret A]" + b"y" * 100_000


def test_a_masked_line_without_end_is_kept(tmp_path: Path) -> None:
    options = masking(b"epoch") | {"longest_masked_bytes": 100}
    pump = pump_of(RecordedEngine(TWO_STREAMS), tmp_path / "output.log", **options)
    pump.follow()
    pump.finish()
    written = text(tmp_path / "output.log")
    assert written == b"[secret A] 1\n[secret A] 2\nbar 1\rbar 2\rbar 3\r"
