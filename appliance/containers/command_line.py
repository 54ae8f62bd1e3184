"""The `docker run` that is the same as a job's container, for people to run by hand on the box. Pure."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator

from appliance.containers.arguments import WORKSPACE, ContainerArguments, Mount

_GPU_LIMITS = ("memlock=-1", "stack=67108864")


def command_line(arguments: ContainerArguments, injection: str) -> str:
    """Return the command with an option per line, quoted for a shell.

    It has no name and no labels, so that it is not taken for the job's own container. Secrets stand
    in it by name; their values come from the environment of whoever runs it. `injection` is `[gpus]`'s.
    """
    options = " \\\n  ".join(" ".join(map(shlex.quote, option)) for option in _options(arguments, injection))
    return f"docker run --rm \\\n  {options} \\\n  {shlex.join([arguments.image, *arguments.command])}\n"


def _options(arguments: ContainerArguments, injection: str) -> Iterator[tuple[str, ...]]:
    yield ("--init",)
    yield "--user", f"{arguments.uid}:{arguments.gid}"
    yield "--workdir", WORKSPACE
    yield "--entrypoint", ""
    yield "--cap-drop", "ALL"
    yield "--security-opt", "no-new-privileges"
    yield "--network", arguments.network
    yield "--pids-limit", str(arguments.pids)
    yield "--memory", str(arguments.memory_bytes)
    yield "--memory-swap", str(arguments.memory_bytes)
    if arguments.cpus:
        yield "--cpus", f"{arguments.cpus:.9f}".rstrip("0").rstrip(".")
    yield "--shm-size", str(arguments.shm_bytes)
    yield from _gpus(arguments.gpu_uuids, injection)
    for mount in arguments.mounts:
        yield "--mount", _mount(mount)
    for name, value in arguments.environment.items():
        yield "--env", f"{name}={value}"
    for name in arguments.secrets:
        yield "--env", name


def _gpus(uuids: tuple[str, ...], injection: str) -> Iterator[tuple[str, ...]]:
    if not uuids or injection == "environment":
        return
    if injection == "cdi":
        yield from (("--device", f"nvidia.com/gpu={uuid}") for uuid in uuids)
    else:
        # The quotes are docker's: it reads the value as CSV.
        yield "--gpus", f'"device={",".join(uuids)}"'
    yield from (("--ulimit", limit) for limit in _GPU_LIMITS)


def _mount(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, *(["readonly"] if mount.is_read_only else [])])
    return line.getvalue()
