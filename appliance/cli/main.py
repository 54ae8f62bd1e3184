"""The command `spud`. Each subcommand is imported only when it is called, so that none slows the others."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from appliance import __version__
from appliance.cli.examples import examples
from appliance.cli.output import printable
from appliance.errors import ConfigError, InvalidRequest, SpudError

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a subcommand is, and its line in the list of commands."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, LazyCommand] = {
    "run": LazyCommand("run", "run", "Run a script or command as a job and follow its log."),
    "submit": LazyCommand("submit", "submit", "Submit a script or command as a job and return at once."),
    "list": LazyCommand("list", "list_jobs", "List jobs: those under way and the newest finished ones."),
    "show": LazyCommand("show", "show", "Show everything that is recorded of a job."),
    "logs": LazyCommand("logs", "logs", "Print or follow what a job has written."),
    "cancel": LazyCommand("cancel", "cancel", "Cancel jobs."),
    "retry": LazyCommand("retry", "retry", "Run finished jobs again."),
    "change": LazyCommand("change", "change", "Change the priority, the time limit or the name of a job."),
    "fetch": LazyCommand("fetch", "fetch", "Download what a job has kept."),
    "gpus": LazyCommand("gpus", "gpus", "Show the GPUs and their jobs; release one from quarantine."),
    "drain": LazyCommand("drain", "drain", "Let no further job start."),
    "resume": LazyCommand("drain", "resume", "Let jobs start again."),
    "bench": LazyCommand("bench", "bench", "Run the headline benchmarks as jobs."),
    "data": LazyCommand("data", "data", "List and import the data sets that jobs can mount."),
    "image": LazyCommand("image", "image", "Build and list the images that jobs run in."),
    "secret": LazyCommand("secret", "secret", "Set, list and remove the secrets that jobs can use."),
    "prune": LazyCommand("prune", "prune", "Remove what finished jobs have left."),
    "backup": LazyCommand("backup", "backup", "Write the store into one file while Spud runs."),
    "restore": LazyCommand("restore", "restore", "Bring the store back from a backup."),
    "user": LazyCommand("user", "user", "Add users, give and revoke tokens."),
    "audit": LazyCommand("audit", "audit", "Show who did what."),
    "up": LazyCommand("up", "up", "Run all of Spud on this machine without systemd."),
    "down": LazyCommand("down", "down", "Stop what `spud up` runs."),
    "scheduler": LazyCommand("scheduler", "scheduler", "Run the process that starts jobs."),
    "exporter": LazyCommand("exporter", "exporter", "Run the process that serves metrics."),
    "web": LazyCommand("web", "web", "Run the process that serves the page and the API."),
}


class LazyGroup(click.Group):
    """The group whose commands are listed in COMMANDS; turns errors into one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None when there is none of that name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module = importlib.import_module(f"appliance.cli.{place.module}")
        command: click.Command = getattr(module, place.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every expected error ends as a sentence on stderr."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except SpudError as error:
            click.echo(f"Error: {printable(error.message)}", err=True)
            # 2: what was asked for is wrong, asking again the same way fails again
            ctx.exit(2 if isinstance(error, ConfigError | InvalidRequest) else 1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)
        except BrokenPipeError:
            _drop_stdout()
            ctx.exit(_PIPE_CLOSED)
        return result


def _drop_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader of our output has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tolerate_narrow_terminals() -> None:
    """Print `?` for characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


@click.group(
    cls=LazyGroup,
    epilog=examples(
        "spud run train.py                       run a script and follow its log",
        "spud submit --gpus 2 --time 8h train.py",
        "spud list",
        "spud logs -f 17",
    ),
)
@click.version_option(__version__, prog_name="spud")
def main() -> None:
    """Spud runs your training scripts on the GPUs of its box, each in a container of its own.

    `spud COMMAND --help` explains a command.
    """
    _tolerate_narrow_terminals()


if __name__ == "__main__":
    main(prog_name="spud")
