"""The weights on this machine: pull, verify, find and remove what a card's repository holds.

They lie in the ordinary cache of the Hugging Face hub (`HF_HOME`), where other programs find them. Beside it, in the data folder,
lies what was pulled: the commit, every file's size and SHA-256, and to which licence somebody has agreed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unstrung.card import ModelCard
from unstrung.errors import InvalidRequest, MissingWeights, UnstrungError
from unstrung.events import Emit, Note, Progress, ignore
from unstrung.licenses import LICENSES, find_license
from unstrung.models.hub.fetch import (
    SINGLE,
    File,
    choose,
    digest,
    find_files,
    is_weights,
    need_hub,
    part_of,
    pick,
    read_indexes,
    settle,
)

OFFLINE = ("UNSTRUNG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Record:
    """What was pulled of a repository. `whole` is False while files are still to come."""

    repo_id: str
    commit: str
    asked: str  # the revision that was asked for: the card's, unless somebody chose one
    chosen: bool
    variant: str
    whole: bool
    pulled_at: str
    license: str
    assent: Mapping[str, str] | None
    files: Mapping[str, Mapping[str, Any]]  # by name: size, blob (its name in the cache), sha256 where it is known
    earlier: tuple[str, ...] = field(default=())  # commits that were pulled before this one
    without: tuple[str, ...] = field(default=())  # parts whose weights were left out, for they come from elsewhere


@dataclass(frozen=True)
class Fault:
    """A file that is `missing` or `changed`."""

    file: str
    what: str


def offline() -> bool:
    """Say whether somebody has forbidden this program the network."""
    return _forbidden_by() is not None


def pull(
    card: ModelCard, emit: Emit = ignore, *, revision: str = "", variant: str = "", without: tuple[str, ...] = (),
    spare: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Fetch a card's weights and return their folder; what is here already is checked, and mended where it is not as it was.

    `revision` (a commit) instead of the card's own; `variant`, as "fp16", where the repository has it; `without` the weights of
    some parts, which come from elsewhere, or of `spare` ones, for which nobody has any use. Of a card for one file of a
    repository (hf:OWNER/NAME/FILE), that one. Raise `UnstrungError` where its licence waits for `agree`, the disk is too small,
    or the hub does not give it.
    """
    on_hub(card)
    before, one = _read(card), file_of(card.id)
    if without and before and before.whole and not revision:
        revision = before.commit  # what is here stays what it is
    if name := _forbidden_by():
        words = f"{card.id} can't be pulled, for {name} forbids the network: unset it, then: unstrung models pull {card.id}"
        raise UnstrungError("offline", "model", words)
    if needs_assent(card):
        words = (
            f"{card.id} comes under a licence with terms ({card.license}): read them, then: unstrung models pull {card.id} --yes"
        )
        raise UnstrungError("license", "yes", words)
    asked = revision or card.revision
    commit, listed = find_files(card, asked)
    folder = _folder(card)
    files = pick(card, listed, one) if one else choose(card, listed, variant, read_indexes(card, commit, listed, folder))
    files = [file for file in files if file.folder not in (*without, *spare) or not is_weights(file)]
    if without and before and before.whole and before.commit == commit:  # beside what came of it before
        names = {file.name for file in files}
        files = [*(file for file in listed if file.name in before.files and file.name not in names), *files]
        without = tuple(part for part in without if part in before.without)
    _check_room(card, commit, files, folder)
    earlier = {before.commit, *before.earlier} - {commit} if before else set()
    record = Record(
        repo_id=card.repo_id or "", commit=commit, asked=asked, chosen=bool(revision), variant=variant, whole=False,
        pulled_at=_now(), license=card.license, assent=_assents().get(_assent_key(card)), earlier=tuple(sorted(earlier)),
        without=without,
        files={file.name: {"size": file.size, "blob": file.blob} for file in files},
    )  # fmt: skip
    if not (before and before.whole and before.commit == commit and set(before.files) == set(record.files)):
        _write(card, record)  # before the first byte, so that what is cut off can be removed
    hear = _counter(emit, "pull", sum(file.size for file in files))
    for file in files:
        if not settle(card, commit, file, folder, hear):
            emit(Note("mended", f"{file.name} was not what the hub has: it was fetched anew.", {"file": file.name}))
    snapshot = folder / "snapshots" / commit
    known = {file.name: file.blob if len(file.blob) == 64 else digest(snapshot / file.name) for file in files}
    _write(card, replace(record, whole=True, files={name: {**row, "sha256": known[name]} for name, row in record.files.items()}))
    return snapshot


def installed(card: ModelCard, without: tuple[str, ...] = ()) -> bool:
    """Say whether all of a card's files are here, by their sizes, or all but the weights of some parts; `verify` reads them."""
    from importlib.util import find_spec

    if not card.repo_id or find_spec("huggingface_hub") is None or not (record := _current(card)):
        return False
    here = all(size == record.files[name]["size"] for name, size in _sizes(card, record))
    return record.whole and here and set(record.without) <= set(without)


def path(card: ModelCard, without: tuple[str, ...] = ()) -> Path:
    """Return the folder of a card's weights, for `from_pretrained`; raise `MissingWeights` where they are not all here."""
    on_hub(card)
    record = _current(card)
    if not record or not installed(card, without):
        begun = "only in part" if record else "not"
        raise MissingWeights(f"The weights of {card.id} are {begun} on this machine: unstrung models pull {card.id}")
    return _folder(card) / "snapshots" / record.commit


def variant(card: ModelCard) -> str:
    """Return which variant was pulled, for `from_pretrained`; "" is the plain one."""
    record = _current(card)
    return record.variant if record else ""


def size(card: ModelCard) -> int:
    """Return how many bytes of a card's weights are on this machine, whole files and begun ones."""
    from importlib.util import find_spec

    if not card.repo_id or find_spec("huggingface_hub") is None or not (record := _current(card)):
        return 0
    blobs = _folder(card) / "blobs"
    parts = {part for row in record.files.values() if (part := part_of(blobs / row["blob"])).exists()}
    by_blob = {record.files[name]["blob"]: size or 0 for name, size in _sizes(card, record)}
    return sum(by_blob.values()) + sum(part.stat().st_size for part in parts)


def lacking(card: ModelCard) -> str:
    """Return the commit of what was pulled of a card, where that is not whole; "" where it is, or nothing was."""
    record = _current(card)
    return record.commit if record and not installed(card) else ""


def verify(card: ModelCard, emit: Emit = ignore) -> list[Fault]:
    """Read every file of a card and return those that are missing, or not what was pulled."""
    on_hub(card)
    record = _current(card)
    if not record or not record.whole:
        raise MissingWeights(f"The weights of {card.id} were not pulled to their end: unstrung models pull {card.id}")
    snapshot = _folder(card) / "snapshots" / record.commit
    hear = _counter(emit, "verify", sum(row["size"] for row in record.files.values()))
    faults = []
    for name, row in record.files.items():
        if not (snapshot / name).is_file():
            faults.append(Fault(name, "missing"))
        elif digest(snapshot / name, hear=hear) != row["sha256"]:
            faults.append(Fault(name, "changed"))
    return faults


def fingerprint(card: ModelCard) -> tuple[str, str]:
    """Return what a recipe says of the weights: their commit, and one SHA-256 over the digests of all files of weights.

    It is that of the lines "digest, two spaces, name", sorted by name, as sha256sum prints them; they come from what was written
    down when it was pulled, so that nothing is read.
    """
    record = _current(card)
    path(card, record.without if record else ())
    assert record
    return record.commit, over({name: row["sha256"] for name, row in record.files.items() if name.endswith(SINGLE)})


def over(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 over those of files, by their names, as of the lines that sha256sum prints."""
    return hashlib.sha256("".join(f"{known}  {name}\n" for name, known in sorted(digests.items())).encode()).hexdigest()


def remove(card: ModelCard) -> int:
    """Delete a card's weights, begun ones too, and return how many bytes that freed; other revisions in the cache stay."""
    on_hub(card)
    record = _read(card)
    if not record:
        raise MissingWeights(f"{card.id} was not pulled, so there is nothing to remove: see 'unstrung models list'.")
    from huggingface_hub import scan_cache_dir

    folder = _folder(card)
    before = _occupied(folder)
    for row in record.files.values():
        part_of(folder / "blobs" / row["blob"]).unlink(missing_ok=True)
    here = [commit for commit in (record.commit, *record.earlier) if (folder / "snapshots" / commit).is_dir()]
    if one := file_of(card.id):
        for commit in here:
            _unlink(folder, folder / "snapshots" / commit / one)
    elif here:
        scan_cache_dir().delete_revisions(*here).execute()
    if folder.is_dir() and not any((folder / "snapshots").glob("*")):
        shutil.rmtree(folder)  # files that came, and were not given their place yet
    _place(card).unlink()
    return before - _occupied(folder)


def _unlink(folder: Path, place: Path) -> None:
    """Take one file out of a cached repository, with its bytes where nothing else there leads to them, and folders left empty."""
    blob = place.resolve()
    place.unlink(missing_ok=True)
    if not any(other.resolve() == blob for other in (folder / "snapshots").rglob(place.name)):
        blob.unlink(missing_ok=True)
    for parent in place.parents:
        if parent.name == "snapshots" or (parent.is_dir() and any(parent.iterdir())):
            break
        if parent.is_dir():  # somebody may have deleted it by hand
            parent.rmdir()


def needs_assent(card: ModelCard) -> bool:
    """Say whether somebody has to agree to a card's licence before its weights are fetched."""
    return not find_license(card.license).permissive and _assent_key(card) not in _assents()


def agree(card: ModelCard) -> None:
    """Write down that whoever runs this has agreed to a card's licence, and when; it is not asked for again."""
    assents = {**_assents(), _assent_key(card): {"license": card.license, "model": card.id, "at": _now()}}
    write_json(home() / "assents.json", assents)


def repository(name: str) -> ModelCard:
    """Return a card for any repository, or a file of one: nothing is known of it but where its weights are."""
    repo_id, inside = "/".join(name.removeprefix("hf:").split("/")[:2]), file_of(name)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo_id) or "--" in repo_id or ".." in repo_id or inside == "":
        raise InvalidRequest("model", f"model is '{name}'; a repository of the hub is named as hf:OWNER/NAME.")
    if inside and (not inside.endswith(SINGLE) or not re.fullmatch(r"(?:\w[\w.+-]*/)*\w[\w.+-]*", inside) or ".." in inside):
        words = f"model is '{name}'; one file of a repository is named as hf:OWNER/NAME/FILE{' or '.join(SINGLE)}."
        raise InvalidRequest("model", words)
    return ModelCard(id=name, family="hub", summary="Somebody's repository.", tasks=(), license="see-card", repo_id=repo_id)


def file_of(name: str) -> str | None:
    """Return the file that "hf:OWNER/NAME/FILE" names; None where a name is that of a whole repository."""
    parts = name.split("/", 2)
    return parts[2] if name.startswith("hf:") and len(parts) == 3 else None


def on_hub(card: ModelCard) -> None:
    """Refuse in words a card that has no repository, and say what is missing where the library is."""
    if not card.repo_id:
        words = (
            f"{card.id} has no weights on the hub: it comes in the box, or runs elsewhere. See 'unstrung models show {card.id}'."
        )
        raise InvalidRequest("model", words)
    need_hub()


def _check_room(card: ModelCard, commit: str, files: list[File], folder: Path) -> None:
    needed = 0
    for file in {file.blob: file for file in files}.values():
        blob = folder / "blobs" / file.blob
        if not blob.exists() and not (folder / "snapshots" / commit / file.name).exists():
            needed += file.size - (part_of(blob).stat().st_size if part_of(blob).exists() else 0)
    disk = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(disk).free
    if needed > free:
        words = f"{card.id} needs {in_bytes(needed)} more, and the disk of {folder.parent} has {in_bytes(free)} free: "
        raise UnstrungError("disk_full", "model", words + "make room, or let HF_HOME name a folder on another disk.")


def in_bytes(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _counter(emit: Emit, stage: str, total: int) -> Any:
    done = 0

    def hear(more: int) -> None:
        nonlocal done
        done += more
        emit(Progress(stage, done, total))

    return hear


def _forbidden_by() -> str | None:
    return next((name for name in OFFLINE if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")), None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _assent_key(card: ModelCard) -> str:
    # what nobody here has read may be another text for every model
    return card.license if card.license in LICENSES and card.license != "see-card" else f"{card.license} of {card.repo_id}"


def home() -> Path:
    """Return the folder of all weights on this machine, and of what is known of them."""
    from platformdirs import user_data_path

    return Path(os.environ.get("UNSTRUNG_DATA") or user_data_path("unstrung")) / "weights"


def _folder(card: ModelCard) -> Path:
    from huggingface_hub import constants

    assert card.repo_id
    return Path(constants.HF_HUB_CACHE) / f"models--{card.repo_id.replace('/', '--')}"


def _place(card: ModelCard) -> Path:
    assert card.repo_id
    one = file_of(card.id)  # which has a record of its own: a model is not here because one of its files is
    return home() / f"{card.repo_id.replace('/', '--')}{f'--{one}'.replace('/', '--') if one else ''}.json"


def _assents() -> dict[str, dict[str, str]]:
    place = home() / "assents.json"
    found: dict[str, dict[str, str]] = _read_json(place) if place.exists() else {}
    return found


def _read(card: ModelCard) -> Record | None:
    place = _place(card)
    if not place.exists():
        return None
    try:
        data = _read_json(place)
        lists = {name: tuple(data.get(name, ())) for name in ("earlier", "without")}
        return Record(**{**data, **lists})
    except (TypeError, KeyError):
        words = (
            f"{place} says what was pulled of {card.repo_id}, and can't be read: delete it, then: unstrung models pull {card.id}"
        )
        raise UnstrungError("bad_record", "model", words) from None


def _current(card: ModelCard) -> Record | None:
    """Return what was pulled, unless the card has come to name another commit since and nobody chose this one."""
    record = _read(card)
    return record if record and (record.chosen or card.revision in ("", record.asked, record.commit)) else None


def _sizes(card: ModelCard, record: Record) -> Iterator[tuple[str, int | None]]:
    snapshot = _folder(card) / "snapshots" / record.commit
    for name in record.files:
        yield name, (snapshot / name).stat().st_size if (snapshot / name).is_file() else None


def _occupied(folder: Path) -> int:
    return sum(found.lstat().st_size for found in folder.rglob("*") if found.is_file() and not found.is_symlink())


def _write(card: ModelCard, record: Record) -> None:
    write_json(_place(card), asdict(record))


def _read_json(place: Path) -> Any:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UnstrungError("bad_record", None, f"{place} can't be read: delete it, and pull again.") from None


def write_json(place: Path, data: Any) -> None:
    """Write JSON, whole or not at all; raise `UnstrungError` where that can't be."""
    part = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        part.replace(place)
    except OSError as error:
        words = f"{place.parent} can't be written to ({error.strerror}): let UNSTRUNG_DATA name another folder."
        raise UnstrungError("data_unwritable", None, words) from None
