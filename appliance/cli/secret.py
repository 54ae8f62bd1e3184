"""`spud secret`: values that jobs get as variables and that nothing else shows."""

from __future__ import annotations

import sys

import click

from appliance.cli.client import connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import local_time, note, print_json, table
from appliance.errors import InvalidRequest
from appliance.users.secrets import LARGEST_VALUE_BYTES, check_name


@click.group(
    epilog=examples(
        "spud secret set WANDB_API_KEY",
        "spud secret set SSH_KEY < ~/.ssh/key",
        "spud run --secret WANDB_API_KEY train.py",
    )
)
def secret() -> None:
    """Set, list and remove the secrets that jobs can use.

    A secret is yours alone. A job that names it with --secret gets it as an environment variable; in logs its
    value is replaced by [secret NAME].
    """


@secret.command(
    name="set",
    epilog=examples("spud secret set WANDB_API_KEY", "pass show wandb | spud secret set WANDB_API_KEY"),
)
@click.argument("name")
def set_secret(name: str) -> None:
    """Set the secret NAME: asks for its value, or reads it from stdin.

    A value is never an argument, since other users can see those in the list of processes. One line end at
    the end of stdin is left out.
    """
    check_name(name)
    connect().put(path_of("secrets", name), {"value": _read_value(name)})
    note(f"The secret {name} is set. Use it with: spud run --secret {name} SCRIPT")


@secret.command(name="list", epilog=examples("spud secret list", "spud secret list --json"))
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def list_secrets(as_json: bool) -> None:  # noqa: FBT001
    """List your secrets, without their values."""
    found = connect().get("/secrets")["secrets"]
    if as_json:
        print_json(found)
    elif found:
        click.echo(table(("NAME", "SET"), [(entry["name"], local_time(entry["set_at"])) for entry in found]))
    else:
        note("No secrets yet. Set one with: spud secret set NAME")


@secret.command(epilog=examples("spud secret remove WANDB_API_KEY"))
@click.argument("name")
def remove(name: str) -> None:
    """Remove a secret; jobs that run keep it until they end."""
    connect().delete(path_of("secrets", name))
    note(f"The secret {name} is removed.")


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    data = sys.stdin.buffer.read(LARGEST_VALUE_BYTES + 3)
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidRequest("The secret is not UTF-8 text. Encode it, as with: base64 FILE") from None
