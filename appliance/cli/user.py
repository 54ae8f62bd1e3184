"""`spud user`: who may use the box."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.client import connect, path_of
from appliance.cli.examples import examples
from appliance.cli.output import local_time, note, plural, print_json, table
from appliance.errors import InvalidRequest

_HEADERS = ("NAME", "ROLE", "TOKENS", "SINCE")
_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(epilog=examples("spud user add alice", "spud user list", "spud user revoke alice"))
def user() -> None:
    """Add users, give and revoke tokens (administrators).

    A user proves to be one by a token, which is shown once when it is made.
    """


@user.command(
    epilog=examples(
        "spud user add alice", "sudo spud user add alice --role admin --local --sign-in-file FILE"
    )
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["admin", "user"]),
    default="user",
    show_default=True,
    help="Admins see and change all.",
)
@click.option(
    "--local", is_flag=True, help="On the box itself, in its store; needs no token but rights on it."
)
@click.option(
    "--sign-in-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --local: keep the token in this file, which is left alone while its token is valid.",
)
@_json_option
def add(name: str, role: str, local: bool, sign_in_file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Add a user and print the first token."""
    if local:
        from appliance.cli.local_user import ensure_user  # the API's users need no store here

        answer = ensure_user(name, role, sign_in_file)
    elif sign_in_file:
        raise InvalidRequest("--sign-in-file needs --local.")
    else:
        answer = connect().post("/users", {"name": name, "role": role})
    if as_json:
        print_json(answer)
    elif "token" in answer:
        _print_token(name, str(answer["token"]))
    else:
        click.echo(f"{name} is signed in by {sign_in_file}.")


@user.command(epilog=examples("spud user token alice"))
@click.argument("name")
@_json_option
def token(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Give a user another token; the earlier ones stay valid."""
    answer = connect().post(path_of("users", name, "tokens"))
    if as_json:
        print_json(answer)
    else:
        _print_token(name, answer["token"])


@user.command(name="list", epilog=examples("spud user list", "spud user list --json"))
@_json_option
def list_users(as_json: bool) -> None:  # noqa: FBT001
    """List the users, their roles and their number of valid tokens."""
    users = connect().get("/users")["users"]
    if as_json:
        print_json(users)
        return
    rows = [(u["name"], u["role"], str(u["tokens"]), local_time(u["created_at"])) for u in users]
    click.echo(table(_HEADERS, rows, right=("TOKENS",)))


@user.command(epilog=examples("spud user revoke alice"))
@click.argument("name")
@_json_option
def revoke(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Revoke all tokens of a user at once; jobs and files stay."""
    answer = connect().delete(path_of("users", name, "tokens"))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Revoked {plural(answer['revoked'], 'token')} of {name}.")


def _print_token(name: str, token: str) -> None:
    note(f"The token of {name}, shown only now. For the client: SPUD_TOKEN, or ~/.config/spud/client.toml")
    click.echo(token)
