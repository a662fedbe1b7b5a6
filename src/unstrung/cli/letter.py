"""The verbs for the host's open letter: who has signed it, and whether a log of signatures is whole."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unstrung.cli.jobs import StoreUrl, open_store
from unstrung.cli.talk import Json, print_json, say
from unstrung.errors import InvalidRequest, UnstrungError

if TYPE_CHECKING:
    from unstrung.jobs.letter import Letter, Report, Signature

letter_app = typer.Typer(no_args_is_help=True, help="See who signed the host's open letter, and check the signatures.")
LetterFile = Annotated[Path | None, typer.Option("--letter", help="Only signatures of this text; default: of all texts.")]


@letter_app.command("list")
def letter_list(
    letter: LetterFile = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    store_url: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """List who has signed."""
    store = open_store(store_url)
    from unstrung.jobs.letter import page

    found = page(store, _read(letter), limit=limit, newest_first=True)
    if as_json:
        return print_json({"signatures": [signature.to_dict() for signature in found]})
    for signature in found:
        print(_line(signature))


@letter_app.command("count")
def letter_count(letter: LetterFile = None, store_url: StoreUrl = None, as_json: Json = False) -> None:
    """Count signatures by how their signers proved who they are."""
    store = open_store(store_url)
    from unstrung.jobs.letter import count

    counts = count(store, _read(letter))
    if as_json:
        return print_json({"counts": counts, "signatures": sum(counts.values())})
    for kind, number in counts.items():
        print(f"{kind:>10}  {number}")
    print(f"{'all':>10}  {sum(counts.values())}")


@letter_app.command("export")
def letter_export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to, as log.jsonl; default: stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    store_url: StoreUrl = None,
) -> None:
    """Write the whole log as JSON lines, with all that is needed to check it."""
    store = open_store(store_url)
    from unstrung.jobs.letter import lines
    from unstrung.media.codec import check_target

    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        sys.stdout.writelines(lines(store))
        return
    check_target(output, force, ".jsonl")
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(store))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    print(output)


@letter_app.command("check")
def letter_check(
    file: Annotated[Path, typer.Argument(help="A log, as 'unstrung letter export' or /v1/letter/log gives it.")],
    letter: LetterFile = None,
    as_json: Json = False,
) -> None:
    """Verify a log of anybody's, without asking its host: that it is whole, and every key's signature; else exit with 2."""
    try:
        from unstrung.jobs.letter import check_lines
    except ImportError:
        raise UnstrungError("not_installed", None, "Checking needs more: pip install '.[serve,ui]'") from None
    text = _read(letter)
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as log:
            report = check_lines(log)
    except OSError as error:
        raise InvalidRequest("file", f"file is '{file}', which can't be read: {error.strerror}.") from None
    if as_json:
        return print_json(_document(report, text))
    print(f"{report.lines} lines, whole; the last one's digest is {report.head}")
    for digest, counts in report.counts.items():
        if text is None or text.digest == digest:
            print(f"letter {digest}: " + ", ".join(f"{number} by {kind}" for kind, number in counts.items() if number))
    say(f"verified {report.checked} signatures of keys; that {report.witnessed} pages and addresses were proven, their host says")


def _read(letter: Path | None) -> Letter | None:
    from unstrung.jobs.letter import read_letter

    return read_letter(letter) if letter is not None else None


def _document(report: Report, letter: Letter | None) -> dict[str, object]:
    counts = {digest: found for digest, found in report.counts.items() if letter is None or letter.digest == digest}
    rest = {"lines": report.lines, "head": report.head, "checked": report.checked, "witnessed": report.witnessed}
    return {**rest, "counts": counts}


def _line(signature: Signature) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(signature.at))
    return f"{signature.number}  {when}  {signature.name}  {signature.kind}  {signature.signer}  of {signature.letter[:12]}"
