"""Run a command with a Docker engine: with_engine.py COMMAND [ARGUMENT …].

Where no engine answers, one is started for the command and ended after it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from docker import APIClient
from docker.errors import DockerException

SOCKET = "unix:///var/run/docker.sock"
LOG = Path("/var/log/dockerd-tests.log")


def answers() -> bool:
    """Return whether an engine answers on the usual socket."""
    try:
        return bool(APIClient(SOCKET, version="auto").ping())
    except DockerException:
        return False


def start() -> subprocess.Popen[bytes]:
    """Start an engine and wait until it answers; ends the program when it does not within a minute."""
    print("No Docker engine answers; starting one for the tests", flush=True)
    with LOG.open("wb") as log:
        engine = subprocess.Popen(["dockerd"], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not answers():
        if engine.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"dockerd did not start; see {LOG}")
        time.sleep(0.2)
    return engine


def main() -> int:
    """Run the command given as arguments and return its exit code."""
    engine = None if answers() else start()
    try:
        return subprocess.run(sys.argv[1:], check=False).returncode
    finally:
        if engine:
            engine.terminate()
            engine.wait()


if __name__ == "__main__":
    sys.exit(main())
