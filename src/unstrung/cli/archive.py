"""The verbs by which everything leaves and comes back: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unstrung.cli.jobs import StoreUrl, data_folder, open_store
from unstrung.cli.talk import Json, Talk, print_json, say

Owner = Annotated[str | None, typer.Option(help="Whose; default: everybody's, and nobody's.")]
NewOwner = Annotated[str | None, typer.Option(help="Whom to give all of it to; default: whose it was.")]


def export_(
    output: Annotated[Path, typer.Argument(help="A new folder, or a file that ends in .tar.")],
    owner: Owner = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Write films, recipes and prompts as standard files, for another machine or for good."""
    store = open_store(store_url)
    from unstrung.jobs.archive import export_to

    with Talk(as_json) as talk:
        made = export_to(store, data_folder(), output, owner, force=force, emit=talk.emit)
    if made["lost"]:
        say(f"lost or damaged before this, and left out: the films of {', '.join(made['lost'])}")
    if as_json:
        return print_json(made)
    print(output)
    say(f"{made['jobs']} jobs, {made['clips']} films; taken in again with: unstrung import {output}")


def import_(
    path: Annotated[Path, typer.Argument(help="What 'unstrung export' wrote.")],
    owner: NewOwner = None,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Take in what was exported; what is here already stays as it is."""
    store = open_store(store_url)
    from unstrung.jobs.restore import import_from

    with Talk(as_json) as talk:
        made = import_from(store, data_folder(), path, owner, emit=talk.emit)
    if as_json:
        return print_json(made)
    say(f"{made['jobs']} jobs and {made['clips']} films are new, {made['here_already']} jobs were here already")
