"""The options of `spud run` and `spud submit`, and the job that they describe."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.errors import InvalidRequest

Function = TypeVar("Function", bound=Callable[..., Any])

_COMMAND = "spud.command"  # where JobCommand leaves what follows `--`
_INTERPRETERS = {".py": "python3", ".sh": "bash"}
_SPEC_OPTIONS = (
    *("gpus", "gpu_memory", "gpu_model", "cpus", "memory", "image", "data", "env", "secrets", "time"),
    *("priority", "name", "retries", "retry_on", "requeue", "requirements"),
)
_TYPO_RATIO = 0.85  # similarity from which an unknown option counts as a misspelt one of ours

_OPTIONS = (
    click.option(
        "--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs for the job alone; default 0."
    ),
    click.option(
        "--gpu-memory", metavar="SIZE", help="GPU memory needed, such as 6G; others may share the card then."
    ),
    click.option("--gpu-model", metavar="NAME", help='Part of the name of the card, such as "GTX 1070".'),
    click.option("--cpus", type=float, metavar="N", help="Cores the job may use, such as 2 or 0.5."),
    click.option("--memory", metavar="SIZE", help="Host memory the job may use, such as 8G."),
    click.option("--image", metavar="NAME", help="Image to run in; the box has a default."),
    click.option(
        "--data", multiple=True, metavar="NAME", help="Data set to mount at /data/NAME. Repeatable."
    ),
    click.option(
        "--env",
        multiple=True,
        metavar="K=V",
        help="Environment variable; K alone takes its value from yours. Repeatable.",
    ),
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME",
        help="Secret of yours, as a variable of that name. Repeatable.",
    ),
    click.option(
        "--requirements",
        metavar="FILE",
        help="Python packages to install; default requirements.txt, or pyproject.toml.",
    ),
    click.option("--no-requirements", is_flag=True, help="Install nothing."),
    click.option("--time", metavar="TIME", help="Limit such as 2h or 90m, after which the job is stopped."),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        metavar="N",
        help="Times to try again after a fault of the box; default 0.",
    ),
    click.option(
        "--retry-on",
        multiple=True,
        metavar="REASON",
        help="Reason to try again for as well, such as user_error. Repeatable.",
    ),
    click.option(
        "--no-requeue", is_flag=True, help="Do not start it again after the box restarted under it."
    ),
    click.option("--priority", type=int, metavar="N", help="Higher starts first; default 0."),
    click.option(
        "--name", metavar="NAME", help="What the job is called in lists; default the script's name."
    ),
    click.option(
        "--file",
        type=click.Path(path_type=Path),
        metavar="JOB.YAML",
        help="Read the job from a file; its keys are these options' names and `command`. Options win.",
    ),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as asked for: the keys of its spec, the folder that travels, the script in it if there is one."""

    spec: Mapping[str, object]
    folder: Path
    script: str | None


class JobCommand(click.Command):
    """A command that takes `[OPTIONS] SCRIPT [ARGS]` or `[OPTIONS] -- COMMAND`.

    Options may stand behind the script as well. Those that Spud does not know go to the script, and so
    does everything behind `--`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set aside what follows the first `--`, which click would merge with the rest."""
        if "--" in args:
            position = args.index("--")
            args, ctx.meta[_COMMAND] = args[:position], args[position + 1 :]
        rest = super().parse_args(ctx, args)
        self._check_typos(ctx)
        return rest

    def _check_typos(self, ctx: click.Context) -> None:
        known = [name for parameter in self.params for name in parameter.opts if name.startswith("--")]
        words: tuple[str, ...] = ctx.params.get("words", ())
        for position, word in enumerate(words):
            option = word.split("=")[0]
            close = difflib.get_close_matches(option, known, n=1, cutoff=_TYPO_RATIO)
            if not word.startswith("-") or (position > 0 and words[0][:1] != "-" and not close):
                continue
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"No such option: {option}.{hint} Options of the script go behind --", ctx)


def job_options(function: Function) -> Function:
    """Add the options and the arguments `[SCRIPT [ARGS]…]` of a job."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return click.argument(
        "words", nargs=-1, type=click.UNPROCESSED, metavar="[SCRIPT [ARGS]... | -- COMMAND...]"
    )(function)


JOB_CONTEXT = {"ignore_unknown_options": True}


def wanted_job(ctx: click.Context) -> Wanted:
    """Return the job that the command line describes; raises InvalidRequest."""
    words: tuple[str, ...] = ctx.params["words"]
    file: Path | None = ctx.params["file"]
    behind: list[str] | None = ctx.meta.get(_COMMAND)
    spec = read_job_file(file) if file else {}
    folder, script = (file.parent if file else Path()), None
    if words:
        folder, script, command = script_command(Path(words[0]))
        spec["command"] = [*command, *words[1:], *(behind or ())]
    elif behind:
        spec["command"] = behind
    elif not file:
        raise InvalidRequest("Name a script to run, or a command behind --, as in: spud run train.py")
    return Wanted(spec | _given(ctx.params, spec, folder), folder.absolute(), script)


def script_command(script: Path) -> tuple[Path, str, list[str]]:
    """Return the folder of a script, its name there and the command that runs it; raises InvalidRequest."""
    if script.is_dir():
        raise InvalidRequest(f"{script} is a folder. Name the script in it, such as {script / 'train.py'}")
    if not script.exists():
        raise InvalidRequest(
            f"There is no script {script}. Check the name, or run a command with: spud run -- COMMAND"
        )
    interpreter = _INTERPRETERS.get(script.suffix)
    if interpreter:
        return script.parent, script.name, [interpreter, script.name]
    if not os.access(script, os.X_OK):
        raise InvalidRequest(
            f"{script} is neither .py nor .sh nor executable."
            f" Make it executable with: chmod +x {script}, or name its program: spud run -- PROGRAM {script}"
        )
    return script.parent, script.name, [f"./{script.name}"]


def read_job_file(path: Path) -> dict[str, object]:
    """Return the keys in a job.yaml; raises InvalidRequest. The API judges the keys."""
    import yaml  # slow, and seldom needed

    try:
        values = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    except OSError as error:
        raise InvalidRequest(f"Cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not valid YAML{_place(error)}.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InvalidRequest(f"{path} must hold keys with values, such as: command: [python3, train.py]")
    return values


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f", line {mark.line + 1}: {problem}" if mark else f": {problem}"


def _given(options: Mapping[str, Any], spec: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Return the options that were given, in the form of a spec; variables are added to the file's."""
    switches = {
        "requeue": False if options["no_requeue"] else None,
        "requirements": _requirements(options, folder),
    }
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name in _SPEC_OPTIONS
        if (value := {**options, **switches}[name]) not in (None, ())
    }
    if "env" in given:
        in_file = spec.get("env")
        given["env"] = (in_file if isinstance(in_file, dict) else {}) | parse_env(options["env"])
    return given


def _requirements(options: Mapping[str, Any], folder: Path) -> str | None:
    """Return the file's path in the code, empty for none; raises InvalidRequest when it is not there."""
    name: str | None = options["requirements"]
    if options["no_requirements"]:
        if name:
            raise InvalidRequest("--requirements and --no-requirements contradict each other; leave one out.")
        return ""
    if not name:
        return None
    for path in (Path(name), folder / name):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return path.resolve().relative_to(folder.resolve()).as_posix()
    raise InvalidRequest(f"--requirements: there is no file {name} in {folder.resolve()}, which travels.")


def parse_env(settings: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of `K=V` or `K`; raises InvalidRequest for a K that the user's own lacks."""
    variables = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator and name not in environ:
            raise InvalidRequest(
                f"--env {name}: your environment has no {name}. Give a value: --env {name}=VALUE"
            )
        variables[name] = value if separator else environ[name]
    return variables
