from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.cli.log_file import LogFile, rotate_if_large
from appliance.errors import SpudError

pytestmark = pytest.mark.unit


def test_a_log_at_its_limit_moves_up_and_begins_anew(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", largest_bytes=100)
    for number in range(60):
        log.write(b"line %02d .............................\n" % number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "web.log").read_bytes().splitlines()[-1].startswith(b"line 59")
    kept = b"".join((tmp_path / name).read_bytes() for name in reversed(names))
    numbers = [int(line[5:7]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 60)), "no line is lost between the files"


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_bytes(b"x" * 95)
    LogFile(path, largest_bytes=100).write(b"a new line\n")
    assert path.read_bytes() == b"a new line\n"
    assert (tmp_path / "web.log.1").stat().st_size == 95


def test_a_line_longer_than_the_limit_is_kept_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", largest_bytes=100)
    log.write(b"y" * 500 + b"\n")
    assert (tmp_path / "web.log").stat().st_size == 501


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", largest_bytes=4000)

    def write() -> None:
        for _ in range(200):
            log.write(b"a line of a thread\n")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in tmp_path.iterdir():
        assert set(path.read_bytes().splitlines()) == {b"a line of a thread"}
        assert path.stat().st_size <= 4000


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "web.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpudError, match="Cannot write"):
        LogFile(tmp_path / "web.log")
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_of_the_daemon_itself_is_rotated_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    path.write_bytes(b"x" * 101)
    rotate_if_large(path, largest_bytes=100)
    assert not path.exists()
    assert (tmp_path / "up.log.1").exists()
