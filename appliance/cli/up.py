"""`spud up`: all of Spud on a machine without systemd."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import click

from appliance.cli import instance
from appliance.cli.examples import examples
from appliance.cli.local_user import box_url
from appliance.cli.log_file import LogFile, open_log, rotate_if_large
from appliance.cli.output import note
from appliance.cli.processes import processes
from appliance.cli.supervisor import Write, supervise
from appliance.config import Settings, load_settings, split_address
from appliance.errors import SpudError, Unavailable
from appliance.scheduler import lock

_READY_WITHIN_S = 120.0
_SETTLES_IN_S = 1.0  # who finds its port taken has ended by then
_PROBE_TIMEOUT_S = 2.0
_POLL_S = 0.1


@click.command(epilog=examples("spud up", "sudo spud up --detach"))
@click.option("--detach", is_flag=True, help="Go on in the background, once all three answer.")
@click.option(
    "--run-directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Where the process id is kept; default {instance.RUN_DIRECTORY}, else run/ in the store.",
)
@click.option(
    "--log-directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the logs to files there instead of the terminal;"
    f" with --detach default {instance.LOG_DIRECTORY}, else log/ in the store.",
)
def up(detach: bool, run_directory: Path | None, log_directory: Path | None) -> None:  # noqa: FBT001
    """Run scheduler, exporter and web on a machine without systemd, until Ctrl-C or: spud down.

    A process that dies is started again. Started by root on an installed box, each process runs under its
    own account. Jobs run on in their containers when Spud ends, and are found again when it starts.
    """
    settings = load_settings()
    store = settings.store.directory
    place = run_directory or instance.run_directory(store)
    if instance.running_pid(place) or lock.is_held(store / lock.FILE_NAME):
        click.echo(f"Spud is already running at {box_url(settings)}")
    elif detach:
        _start_in_background(settings, place, log_directory or instance.log_directory(store))
        click.echo(f"Spud is running at {box_url(settings)}")
    else:
        with instance.hold(place):
            note(f"Starting Spud at {box_url(settings)}")
            supervise(processes(settings), _files(log_directory) if log_directory else _to_terminal())


def _start_in_background(settings: Settings, place: Path, logs: Path) -> None:
    """Start `spud up` as a daemon and wait until all of Spud answers; raises its error if it does not."""
    path = logs / "up.log"
    command = [
        sys.executable,
        "-m",
        "appliance.cli",
        "up",
        f"--run-directory={place}",
        f"--log-directory={logs}",
    ]
    rotate_if_large(path)
    with open_log(path) as log:
        begin = log.tell()
        daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + _READY_WITHIN_S
    ready_since: float | None = None
    while ready_since is None or time.monotonic() - ready_since < _SETTLES_IN_S:
        if daemon.poll() is not None:
            raise SpudError(_last_error(path, begin) or f"Spud could not start. See {path}")
        if time.monotonic() > deadline:
            raise Unavailable(f"Spud has not come up within {_READY_WITHIN_S:.0f} s. See {logs}")
        if ready_since is None and is_ready(settings):
            ready_since = time.monotonic()
        time.sleep(_POLL_S)


def is_ready(settings: Settings) -> bool:
    """Return whether scheduler, exporter and web all answer."""
    return (
        lock.is_held(settings.store.directory / lock.FILE_NAME)
        and _listens(settings.exporter.listen)
        and _is_healthy(settings.web.listen)
    )


def _listens(address: str) -> bool:
    try:
        socket.create_connection(_reachable(address), _PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _is_healthy(address: str) -> bool:
    connection = http.client.HTTPConnection(*_reachable(address), timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(address: str) -> tuple[str, int]:
    host, port = split_address(address)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104  compared, not bound


def _last_error(path: Path, begin: int) -> str | None:
    with path.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode("utf-8", "replace").splitlines()
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return errors[-1] if errors else None


def _to_terminal() -> Write:
    """Return what prints lines on our stdout, each with its process's name before it."""
    turn = threading.Lock()

    def write(name: str, line: bytes) -> None:
        with turn:
            sys.stdout.buffer.write(f"{name:9} | ".encode() + line)
            sys.stdout.buffer.flush()

    return write


def _files(directory: Path) -> Write:
    """Return what appends lines to a file for each process."""
    files = {name: LogFile(directory / f"{name}.log") for name in ("scheduler", "exporter", "web")}

    def write(name: str, line: bytes) -> None:
        files[name].write(line)

    return write
