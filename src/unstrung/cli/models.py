"""The verbs for models: which there are, what they may be used for, and their weights on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unstrung.cli.talk import Json, Talk, print_json, say
from unstrung.errors import MissingWeights, UnstrungError

if TYPE_CHECKING:
    from types import ModuleType

    from unstrung.card import ModelCard
    from unstrung.models.hub.memory import Machine

models_app = typer.Typer(no_args_is_help=True, help="See which models there are; fetch, check and remove their weights.")
Name = Annotated[str, typer.Argument(help="Its name; see 'unstrung models list'.")]
WIDTH, TASKS = 120, 30  # characters of a line, and of what a model does in it, at most
FITS = {"yes": "fits", "slowly": "slow", "no": "too large"}


@models_app.command("list")
def models_list(
    installed: Annotated[bool, typer.Option("--installed", help="Only those that can make a film now.")] = False,
    as_json: Json = False,
) -> None:
    """List the models: which are here, whether they fit this machine, the room they take, their licence, what they do."""
    from unstrung.models.hub import memory
    from unstrung.models.hub.shelf import in_bytes
    from unstrung.plugins import cards

    machine = memory.look()
    rows = [{**card.to_dict(), **_here(card, module, machine)} for card, module in cards().values()]
    rows = [row for row in rows if row["installed"] or not installed]
    if as_json:
        return print_json(rows)
    sizes = [in_bytes(row["size_on_disk"]) if row["size_on_disk"] else "-" for row in rows]
    tasks = [_short(", ".join(row["tasks"]), TASKS) for row in rows]
    cells = zip(rows, sizes, tasks, strict=True)
    table = [(row["id"], _state(row), FITS[row["fits"]], size, row["license"], does) for row, size, does in cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line, row in zip(table, rows, strict=True):
        words = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(_short(f"{words}  {row['summary']}", WIDTH))


@models_app.command("show")
def models_show(model: Name, as_json: Json = False) -> None:
    """Say what a model can do, costs and allows."""
    from unstrung.licenses import LICENSES, find_license
    from unstrung.models.hub import memory
    from unstrung.models.hub.shelf import in_bytes
    from unstrung.plugins import find_card

    card, module = find_card(model)
    row, terms = _here(card, module, memory.look()), find_license(card.license)
    if as_json:
        return print_json({**card.to_dict(), **row, "terms": terms.to_dict()})
    low, high = card.limits.min_seconds, card.limits.max_seconds
    print(f"{card.id} ({f'revision {card.revision}, ' if card.revision else ''}{card.license})\n{card.summary}")
    print(f"\ndoes      {', '.join(card.tasks)}\nlength    {low:g} to {high:g} s at {card.fps} fps")
    print(f"sides     {card.limits.min_side} to {card.limits.max_side} pixels")
    print(f"samplers  {', '.join(card.samplers) or 'none to choose from'}")
    print("defaults  " + ", ".join(f"{k} {v}" for k, v in card.defaults.items() if v is not None))
    for name, changes in card.presets.items():
        if changes:
            print(f"preset    {name}: {', '.join(_changed(changes))}")
    if card.repo_id:
        print(f"weights   {card.repo_id}, {_state({**card.to_dict(), **row})}, {in_bytes(row['size_on_disk'])} here")
    print(f"here      {FITS[row['fits']]}" + (f"; how: unstrung doctor --model {card.id}" if hasattr(module, "fits") else ""))
    for name, option in card.options.items():
        print(f"option    {name} = {option.default}: {option.help}")
    if card.repo_id or card.license in LICENSES:  # of a model that runs elsewhere nobody here knows the terms
        print("licence   " + "\n          ".join(terms.lines()))
    for note in card.notes:
        print(f"- {note}")


@models_app.command("pull")
def models_pull(
    model: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the terms of its licence without being asked.")] = False,
    revision: Annotated[str, typer.Option(metavar="COMMIT", help="Another commit than the one that is known to work.")] = "",
    draft: Annotated[bool, typer.Option("--draft", help="What its preset draft needs beside them: LoRAs for few steps.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a model's weights from the Hugging Face hub, and check every byte; what was cut off goes on.

    hf:OWNER/NAME is any repository there, hf:OWNER/NAME/FILE.safetensors one file of it, as a LoRA is. Of NAME@FILE comes all
    but the weights that the file holds.
    """
    from unstrung.models.hub import drafts

    rows = [_pulled(name, yes, revision, quiet=as_json) for name in (drafts(model) if draft else [model])]
    if as_json:
        print_json(rows if draft else rows[0])


def _pulled(model: str, yes: bool, revision: str, quiet: bool) -> dict[str, Any]:
    """Fetch one model's weights, or one file; return what is to be said of it in JSON."""
    from unstrung.models.hub import shelf, spare, without

    card, variant = _on_hub(model)
    if shelf.needs_assent(card) and not shelf.offline():
        _ask(card, yes)
    with Talk(quiet=quiet) as talk:
        try:
            elsewhere, unused = without(model), spare(model)
            folder = shelf.pull(card, talk.emit, revision=revision, variant=variant, without=elsewhere, spare=unused)
        except KeyboardInterrupt:
            say(f"stopped; what came is kept. Go on with: unstrung models pull {card.id}")
            raise typer.Exit(130) from None
    commit, digest = shelf.fingerprint(card)
    here, size = folder / (shelf.file_of(model) or ""), shelf.size(card)
    if not quiet:
        print(here)
        say(f"{card.id} is here, {shelf.in_bytes(size)}, every file as the hub says it is (commit {commit[:12]})")
    known = {"model": card.id, "repo_id": card.repo_id, "revision": commit, "sha256": digest}
    return {**known, "path": str(here), "size_on_disk": size}


@models_app.command("rm")
def models_rm(model: Name, as_json: Json = False) -> None:
    """Remove a model's weights from this machine."""
    from unstrung.models.hub import shelf
    from unstrung.plugins import cards

    card, _ = _on_hub(model)
    freed = shelf.remove(card)
    shared = [other.id for other, _ in cards().values() if other.repo_id == card.repo_id and other.id != card.id]
    if as_json:
        return print_json({"model": card.id, "repo_id": card.repo_id, "bytes_freed": freed, "shared_with": shared})
    print(f"removed {card.repo_id}: {shelf.in_bytes(freed)}")
    if shared:
        say(f"{', '.join(shared)} had the same weights")


@models_app.command("path")
def models_path(model: Name) -> None:
    """Say in which folder a model's weights are."""
    from unstrung.models.hub import shelf, without

    print(shelf.path(_on_hub(model)[0], without(model)) / (shelf.file_of(model) or ""))


@models_app.command("verify")
def models_verify(model: Name, as_json: Json = False) -> None:
    """Read all of a model's files and compare them with what was pulled; exit with 2 where one is missing or changed."""
    from unstrung.models.hub import shelf

    card, _ = _on_hub(model)
    with Talk(quiet=as_json) as talk:
        faults = shelf.verify(card, talk.emit)
    if as_json:
        print_json({"model": card.id, "faults": [asdict(fault) for fault in faults]})
    for fault in faults if not as_json else ():
        print(f"{fault.what}  {fault.file}")
    if faults:
        words = f"{len(faults)} of {card.id}'s files are not what was pulled: mend them with: unstrung models pull {card.id}"
        raise UnstrungError("changed_weights", "model", words)
    say(f"{card.id}: every file is as it was pulled")


def _on_hub(model: str) -> tuple[ModelCard, str]:
    """Return the card of a model with weights on the hub, or of any repository there, and the variant that its module wants."""
    from unstrung.models.hub import shelf
    from unstrung.plugins import find_card

    if model.startswith("hf:"):
        card, variant = shelf.repository(model), ""
    else:
        card, module = find_card(model)
        variant = module.variant(card) if hasattr(module, "variant") else ""
    shelf.on_hub(card)
    return card, variant


def _ask(card: ModelCard, yes: bool) -> None:
    """Show a licence's terms and write down who agrees; refuse where nobody is there to be asked."""
    from unstrung.licenses import find_license
    from unstrung.models.hub import shelf

    terms = find_license(card.license)
    say(f"The weights of {card.id} come under terms, in short:\n  " + "\n  ".join(terms.lines()))
    say(f"  its page: https://huggingface.co/{card.repo_id}")
    if not yes:
        if not sys.stdin.isatty():
            words = f"The licence of {card.id} ({card.license}) waits for somebody to agree: unstrung models pull {card.id} --yes"
            raise UnstrungError("license", "yes", words)
        if not typer.confirm("Do you agree to them?", err=True):
            raise UnstrungError("license", "yes", f"Nothing was fetched: the licence of {card.id} was not agreed to.")
    shelf.agree(card)


def _here(card: ModelCard, module: ModuleType, machine: Machine) -> dict[str, Any]:
    """Say whether a model is on this machine, whether it fits, and how many bytes its weights take."""
    from unstrung.models.hub import shelf
    from unstrung.plugins import check_installed

    fits = module.fits(card, machine) if hasattr(module, "fits") else "yes"
    if card.repo_id:
        return {"installed": shelf.installed(card), "fits": fits, "size_on_disk": shelf.size(card)}
    try:
        check_installed(card, module)
    except MissingWeights:
        return {"installed": False, "fits": fits, "size_on_disk": 0}
    return {"installed": True, "fits": fits, "size_on_disk": 0}


def _state(row: dict[str, Any]) -> str:
    if row["installed"]:
        return "installed"
    if not row["repo_id"]:
        return "not ready"  # 'unstrung doctor' says what it lacks
    return "in part" if row["size_on_disk"] else "available"


def _changed(changes: Mapping[str, Any]) -> list[str]:
    """Return what a preset changes, as words that could be typed."""
    flat = {**changes, **changes.get("options", {})}
    words = [f"{name} {value}" for name, value in flat.items() if name not in ("options", "loras")]
    return words + [f"--lora {source}" for source in changes.get("loras", ())]


def _short(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
