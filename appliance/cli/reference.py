"""Writes docs/cli.md from the commands themselves: python -m appliance.cli.reference > docs/cli.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from appliance.cli.main import main

_HEAD = """\
# The command `spud`

Written by `python -m appliance.cli.reference`; change the commands, not this page.

Answers come on stdout, notes and progress on stderr. Exit codes: 0 done, 1 failed, 2 misused;
`spud run` ends with the job's own.

The command speaks to the API alone, so it works from any machine: `SPUD_URL` and `SPUD_TOKEN` say where and
as whom, or the file `~/.config/spud/client.toml` with `url` and `token`. `up`, `down`, `data`, `image`,
`backup`, `restore`, `user add --local` and the three processes work on the box itself and read its settings
([configuration.md](configuration.md)).
"""


def reference() -> str:
    """Return the page: every command with its arguments, options and examples."""
    return _HEAD + "".join(_sections(main, click.Context(main, info_name="spud")))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n\n{_text(command)}\n"
    yield f"\n```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    options = [f"- `{names}`: {text}\n" for names, text in filter(None, records) if text]
    yield from ("\n", *options)
    if command.epilog:
        yield f"\n{_examples(command.epilog)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child:
                yield from _sections(child, click.Context(child, info_name=name, parent=context))


def _text(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _examples(epilog: str) -> str:
    lines = [re.sub(r"^  ", "", line) for line in epilog.splitlines()[2:]]
    return "\n".join(["Examples:", "", "```", *lines, "```"])


if __name__ == "__main__":
    click.echo(reference(), nl=False)
