"""How fast a job's log goes from the engine into the store, and from there to who follows it.

Usage: python -m tests.bench.logs [--mb 100] [--json]

One container writes the lines. Engine: its API is read to the end, once with the docker SDK and once on
the connection that the pump has, and nothing is done with what comes. Pump: the same log is copied into a
file. Resume: the file is whole already and is counted. Follower: `spud web` and `spud logs -f` serve and
print that file. In one run, since all depends on the machine. Needs a Docker engine and the image spud/base.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from appliance.config import EngineSettings, GpusSettings
from appliance.containers.docker_engine import DockerEngine
from appliance.containers.log_connection import log_pieces
from appliance.executors.log_pump import LogPump
from appliance.jobs.log import read_cursor
from appliance.users.user import Role
from tests.web.box import WebBox, process

NAME = f"spud-bench-log-{os.getpid()}"
LINE_BYTES = 100
LIMIT = 10**12
WRITE = """
import sys
lines = (b"x" * {width} + b"\\n") * 1000
for _ in range({count}):
    sys.stdout.buffer.write(lines)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=100, help="output of the job (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="spud-bench-") as folder:
        result = measure(Path(folder), options.mb)
    report(result, as_json=options.json)


def measure(folder: Path, megabytes: int) -> dict[str, float]:
    box = WebBox(folder, SPUD_JOBS_MIN_FREE_BYTES="0")
    token = box.token("ada", Role.ADMIN)
    attempt = box.start(box.submit("ada"))
    log = box.storage.job_directory(attempt).log
    settings = EngineSettings()
    with container(megabytes):
        sdk_s = seconds(lambda: read_with_sdk(settings.socket))
        engine_s = seconds(lambda: read_bare(settings.socket))
        pump = LogPump(DockerEngine(settings, GpusSettings(), "bench"), NAME, log, LIMIT)
        pump_s = seconds(pump.finish)
    box.finish(attempt)
    resume_s = seconds(lambda: read_cursor(log))
    with process("web", box.environ, f"{box.url}/healthz") as web:
        before = resident_mb(web.pid)
        follow_s, printed = follow({"SPUD_URL": box.url, "SPUD_TOKEN": token})
        after = resident_mb(web.pid)
    if printed != megabytes * 10**6:
        sys.exit(f"The follower got {printed:,} bytes of {megabytes * 10**6:,}.")
    return {
        "engine_sdk_mb_s": megabytes / sdk_s,
        "engine_bare_mb_s": megabytes / engine_s,
        "pump_mb_s": megabytes / pump_s,
        "resume_s": resume_s,
        "log_mb": log.stat().st_size / 1e6,
        "follower_mb_s": megabytes / follow_s,
        "web_rss_before_mb": before,
        "web_rss_after_mb": after,
    }


@contextmanager
def container(megabytes: int) -> Iterator[None]:
    """Run the job that writes, to its end."""
    script = WRITE.format(width=LINE_BYTES - 1, count=megabytes * 10**6 // (1000 * LINE_BYTES))
    limits = ["--log-opt", "max-size=100m", "--log-opt", "max-file=100"]
    command = ["docker", "run", "--name", NAME, *limits, "spud/base", "python3", "-c", script]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", NAME], check=True, stdout=subprocess.DEVNULL)


def read_with_sdk(socket: str) -> None:
    client = docker.APIClient(base_url=socket, version="auto", timeout=600)
    for _ in client.logs(NAME, stream=True, timestamps=True):
        pass


def read_bare(socket: str) -> None:
    for _ in log_pieces(socket, NAME, {"stdout": 1, "stderr": 1, "timestamps": 1}):
        pass


def follow(environ: dict[str, str]) -> tuple[float, int]:
    """Return the seconds from the first byte that `spud logs -f` prints to the last, and their number."""
    command = [sys.executable, "-m", "appliance.cli", "logs", "-f", "1"]
    with subprocess.Popen(
        command, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as follower:
        assert follower.stdout is not None
        printed = len(follower.stdout.read(1))
        began = time.monotonic()
        while piece := follower.stdout.read1(1024**2):  # type: ignore[attr-defined]
            printed += len(piece)
    return time.monotonic() - began, printed


def resident_mb(pid: int) -> float:
    """Return a process's largest resident memory so far (proc(5), VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def report(result: dict[str, float], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: round(value, 2) for name, value in result.items()}))
        return
    print(f"engine, read with the docker SDK  {result['engine_sdk_mb_s']:7.1f} MB/s")
    print(f"engine, read as the pump reads    {result['engine_bare_mb_s']:7.1f} MB/s")
    print(f"pump, into the store              {result['pump_mb_s']:7.1f} MB/s")
    print(f"count {result['log_mb']:.0f} MB to resume           {result['resume_s']:7.2f} s")
    print(f"web and spud logs -f, in a pipe   {result['follower_mb_s']:7.1f} MB/s   (bar: at least 50)")
    print(
        f"largest memory of the web process {result['web_rss_before_mb']:7.1f} MB before,"
        f" {result['web_rss_after_mb']:.1f} MB after"
    )


if __name__ == "__main__":
    main()
