"""Logs as the real engine sends them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import EngineSettings, GpusSettings
from appliance.containers import log_connection
from appliance.containers.docker_engine import DockerEngine
from appliance.containers.engine import EngineUnavailable
from appliance.executors.log_pump import LogPump
from appliance.jobs.log import Kind, read

pytestmark = pytest.mark.docker

NAME = f"spud-test-log-{os.getpid()}"
SCRIPT = """
import sys, time
print('x' * 40000 + 'end', flush=True)
print('an error', file=sys.stderr, flush=True)
print('last', end='', flush=True)
"""
ENGINE = DockerEngine(EngineSettings(), GpusSettings(), "store")


@pytest.fixture
def container() -> Iterator[str]:
    yield NAME
    docker("rm", "-f", NAME)


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("follow", [True, False])
def test_streams_and_parts_come_whole(container: str, follow: bool) -> None:
    docker("run", "--name", container, "spud/base", "python3", "-c", SCRIPT)
    records = list(ENGINE.logs(container, follow=follow))
    kinds = [record.kind for record in records if record.text.startswith(b"x")]
    assert kinds == [Kind.PART, Kind.PART, Kind.FULL]
    line = b"".join(record.text for record in records if record.text.startswith(b"x"))
    assert line == b"x" * 40_000 + b"end"
    assert len({record.timestamp for record in records if record.text.startswith(b"x")}) == 1
    assert sorted((record.kind.value, record.text) for record in records if record.text[:1] in b"al") == [
        (b"F", b"an error"),
        (b"P", b"last"),
    ]


def test_a_followed_log_comes_at_once(container: str) -> None:
    docker("run", "-d", "--name", container, "spud/base", "sh", "-c", "date +%s.%N; sleep 5")
    began = time.monotonic()
    records = next(batch for batch in ENGINE.log_batches(container, follow=True) if batch)
    assert records[0].kind is Kind.FULL
    assert time.monotonic() - began < 3


def test_a_container_that_is_gone_has_no_log() -> None:
    assert list(ENGINE.logs("spud-test-never-was")) == []


def test_an_absent_engine_is_told(tmp_path: Path) -> None:
    engine = DockerEngine(EngineSettings(socket=f"unix://{tmp_path}/none.sock"), GpusSettings(), "store")
    with pytest.raises(EngineUnavailable):
        list(engine.logs("any"))


def test_a_job_that_writes_more_than_is_kept_leaves_its_last_words(container: str, tmp_path: Path) -> None:
    script = "for i in range(200000): print('line', i)\nraise SystemExit('the last words')"
    docker("run", "-d", "--name", container, "spud/base", "python3", "-c", script)
    pump = LogPump(ENGINE, container, tmp_path / "output.log", 10_000)
    pump.follow()
    pump.finish()
    text = b"".join(piece for _, piece in read(tmp_path / "output.log")).decode()
    assert text.startswith("line 0\nline 1\n")
    assert "bytes were left out; the end follows." in text
    assert "line 199999\n" in text
    assert text.endswith("the last words\n")
    assert len(text) < 350_000


def test_a_silent_container_is_told_to_be_silent(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_connection, "SILENCE_S", 0.1)
    docker("run", "--detach", "--name", container, "spud/base", "sh", "-c", "echo a; sleep 2; echo b")
    batches = list(ENGINE.log_batches(container, follow=True))
    assert [record.text for batch in batches for record in batch] == [b"a", b"b"]
    assert [] in batches
