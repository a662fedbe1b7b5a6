"""The verbs for who may ask a served machine: tokens, made and revoked one at a time."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from unstrung.cli.jobs import StoreUrl, open_store
from unstrung.cli.talk import Json, print_json, say
from unstrung.errors import InvalidRequest

if TYPE_CHECKING:
    from unstrung.jobs.tokens import Token

tokens_app = typer.Typer(no_args_is_help=True, help="Give out tokens to those who may ask, and take them back.")
Name = Annotated[str, typer.Argument(help="What the token is called; a name is never used twice.")]


@tokens_app.command("create")
def tokens_create(
    name: Name,
    owner: Annotated[str | None, typer.Option(help="Whose videos it makes and sees; default: the name.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; may be repeated. Default: read and write.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="How many videos may wait or be made at once.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How many seconds of video a day.")] = None,
    storage: Annotated[int | None, typer.Option(help="How many megabytes of clips.")] = None,
    largest: Annotated[str | None, typer.Option(help="The largest picture, as 1280x720.")] = None,
    rate: Annotated[int | None, typer.Option(help="How many questions a minute.")] = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: now, and never again."""
    from unstrung.jobs.limits import Allowance

    store = open_store(store_url)
    from unstrung.jobs.tokens import Tokens

    megabytes = None if storage is None else storage * 10**6
    allowance = Allowance(jobs, seconds, megabytes, None if largest is None else _pixels(largest), rate)
    token, secret = Tokens(store).create(name, owner, scope or ("read", "write"), allowance)
    if as_json:
        return print_json({**token.to_dict(), "token": secret})
    print(secret)
    say(f"'{name}' may {', '.join(token.scopes)} as '{token.owner}'. Keep it: it is shown this once.")
    say(f"take it back with: unstrung tokens revoke {name}")


@tokens_app.command("list")
def tokens_list(store_url: StoreUrl = None, as_json: Json = False) -> None:
    """List tokens, also those that were revoked."""
    store = open_store(store_url)
    from unstrung.jobs.tokens import Tokens

    found = Tokens(store).list()
    if as_json:
        return print_json({"tokens": [token.to_dict() for token in found]})
    for token in found:
        print(_line(token))


@tokens_app.command("revoke")
def tokens_revoke(name: Name, store_url: StoreUrl = None) -> None:
    """End a token, at once and for ever; what its owner has made stays."""
    store = open_store(store_url)
    from unstrung.jobs.tokens import Tokens

    print(_line(Tokens(store).revoke(name)))


def _line(token: Token) -> str:
    limits = ", ".join(f"{name} {value:g}" for name, value in asdict(token.allowance).items() if value is not None)
    state = "in use"
    if token.revoked_at:
        state = time.strftime("revoked %Y-%m-%d %H:%M", time.localtime(token.revoked_at))
    return f"{token.name}  owner {token.owner}  {'+'.join(token.scopes)}  {limits or 'no limits'}  {state}"


def _pixels(size: str) -> int:
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidRequest("largest", f"--largest is '{size}'; it must be like 1280x720.")
    return int(width) * int(height)
