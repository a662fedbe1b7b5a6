"""The verbs for models that are elsewhere: a host of the Videos API is given a name here, and forgotten."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from unstrung.cli.talk import Json, print_json, say
from unstrung.errors import MissingWeights

places_app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="What the model is called here: letters, digits and . _ -")]


@places_app.command("add")
def models_add(
    name: Name,
    url: Annotated[str, typer.Option(help="Where /videos follows, as https://films.example.org/v1.")],
    model: Annotated[str | None, typer.Option(help="A model's name there; unset, the host chooses.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The variable that holds your token there, as FILMS_KEY.")] = None,
    keyring: Annotated[bool, typer.Option("--keyring", help="Your token there is in the system's keyring.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow http over a network, where all on the way can read key and prompts.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what has this name.")] = False,
    as_json: Json = False,
) -> None:
    """Make a host that speaks the Videos API a model of this name."""
    from unstrung.models.remote.places import Named, add
    from unstrung.plugins import cards

    named = Named(name, url.strip().rstrip("/"), model, key_env, keyring, insecure)
    add(named, cards(), force)
    try:
        named.open()
    except MissingWeights as error:
        say(error.message)
    if as_json:
        return print_json({**asdict(named), "file": str(named.file)})
    print(f"{name}  {named.url}")
    say(f'prompts and pictures go to {named.host} with: unstrung "a red fox" --model {name}')


@places_app.command("forget")
def models_forget(name: Name) -> None:
    """Forget a host that was added; what it has made stays, here and there, and so does a key in the keyring."""
    from unstrung.models.remote.places import forget

    forget(name)
