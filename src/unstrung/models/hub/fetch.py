"""What of a repository on the hub is fetched, and how: it goes on where it stopped, and no byte counts before it is checked.

huggingface_hub itself begins a file anew when its process has ended, so the bytes are fetched here; where they lie, who may have
them and what they are called is its business.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from unstrung.card import ModelCard
from unstrung.errors import MissingWeights, UnstrungError

Hear = Callable[[int], None]  # is told how many bytes more are done

WEIGHTS = ".safetensors"
SHARDED = f"{WEIGHTS}.index."  # in the names of files that say in which others weights are
SINGLE = (WEIGHTS, ".gguf")  # of what one file alone may be fetched
KEPT = (WEIGHTS, ".json", ".txt", ".model", ".tiktoken", ".jinja")
# what these hold runs when it is read
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".pdparams")
INDEX = "model_index.json"
INDEXES = (INDEX, "modular_model_index.json")
VARIANT = re.compile(
    r".+?(?:-\d{5}-of-\d{5})?\.(?P<a>[a-z][a-z0-9_]*)(?:-\d{5}-of-\d{5})?\.safetensors|.+\.safetensors\.index\.(?P<b>\w+)\.json"
)
BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
TRIES = 3  # that bring no byte, one after the other, before a connection is given up
CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a repository. `blob` names what it holds: its SHA-256 where Git LFS has it, else Git's own SHA-1."""

    name: str
    size: int
    blob: str

    @property
    def folder(self) -> str:
        """Return the folder that it lies in; "." is the repository itself."""
        return str(PurePosixPath(self.name).parent)


def find_files(card: ModelCard, revision: str) -> tuple[str, list[File]]:
    """Ask the hub for a revision's commit and its files; "" is the default branch as it is now."""
    from huggingface_hub import HfApi

    assert card.repo_id
    with in_words(card, revision):
        info = HfApi(library_name="unstrung").model_info(card.repo_id, revision=revision or None, files_metadata=True, timeout=30)
    files = [
        File(it.rfilename, it.lfs.size, it.lfs.sha256) if it.lfs else File(it.rfilename, it.size or 0, it.blob_id or "")
        for it in info.siblings or ()
    ]
    for file in files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or ".." in path.parts or "\\" in file.name or not BLOB.fullmatch(file.blob):
            raise UnstrungError(
                "bad_repository", "model", f"{card.repo_id} names a file '{file.name}' that can't be stored; left alone."
            )
    return info.sha or revision, files


def read_indexes(card: ModelCard, commit: str, files: Iterable[File], folder: Path) -> dict[str, Any]:
    """Return what a repository says of itself, by the files' names: its parts, and in which files their weights are.

    What is not in its folder already is asked for, and not kept: what goes into the cache comes later, and is checked.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    assert card.repo_id
    found: dict[str, Any] = {}
    for file in sorted(files, key=lambda file: file.name != INDEX):
        if file.name != INDEX and (SHARDED not in file.name or not _is_part(file, found.get(INDEX))):
            continue
        place = folder / "snapshots" / commit / file.name
        if place.exists() and digest(place, file.blob) == file.blob:
            said = place.read_bytes()
        else:
            with in_words(card, commit):
                url = hf_hub_url(card.repo_id, file.name, revision=commit)
                answer = get_session().get(url, headers=build_hf_headers(library_name="unstrung"), timeout=30)
                hf_raise_for_status(answer)
                said = answer.content
        with suppress(ValueError):  # what can't be read chooses nothing; where it is fetched, each byte is checked
            found[file.name] = json.loads(said)
    return found


def choose(
    card: ModelCard, files: Iterable[File], variant: str = "", indexes: Mapping[str, Any] = MappingProxyType({})
) -> list[File]:
    """Return the files that a pipeline is loaded from; refuse what has its weights only as pickles.

    Small ones first, and at the very end the one by which others know a pipeline, for then it is whole.

    Of each folder's weights those of the variant ("fp16"), or the plain ones where it has none of that; from a repository that is
    a pipeline no single files of weights at the top, which hold the same again. Of what `read_indexes` tells: only the folders
    that are parts of it, and where weights lie in several files, those and no other cut of the same.
    """
    files = [file for file in files if _is_part(file, indexes.get(INDEX))]
    pipeline = any(file.name in INDEXES for file in files)
    kept = [
        file
        for file in files
        if file.name.endswith(KEPT) and not (pipeline and file.folder == "." and file.name.endswith(WEIGHTS))
    ]
    have = {file.folder for file in kept if file.name.endswith(WEIGHTS)}
    configured = {file.folder for file in files if PurePosixPath(file.name).name == "config.json"}
    pickled = sorted(file.name for file in files if file.name.endswith(PICKLES))
    # beside single files may lie what nobody loads; a folder with a configuration is a part of the pipeline
    configured -= {"."} if pipeline else set()
    bad = [
        name for name in pickled if (folder := str(PurePosixPath(name).parent)) not in have and (not have or folder in configured)
    ]
    if bad:
        words = (
            f"{card.repo_id} has weights only as a pickle ({bad[0]}), which can run anything when it is read: it is not fetched. "
        )
        raise UnstrungError(
            "only_pickles", "model", words + "Ask its makers for safetensors, or take another: unstrung models list"
        )
    if not have:
        raise UnstrungError("no_weights", "model", f"{card.repo_id} holds no weights as safetensors: see 'unstrung models list'.")
    kept = [file for file in kept if _variant(file) in (None, _wanted(kept, file.folder, variant))]
    names, cuts = {file.name for file in kept}, dict[str, set[str]]()
    for file in kept:
        if (cut := _cut(file, indexes.get(file.name))) and cut <= names:
            cuts[file.folder] = cuts.get(file.folder, set()) | cut
    kept = [file for file in kept if not file.name.endswith(WEIGHTS) or file.name in cuts.get(file.folder, names)]
    return sorted(kept, key=lambda file: (file.name in INDEXES, file.name.endswith(WEIGHTS), file.name))


def pick(card: ModelCard, files: Iterable[File], name: str) -> list[File]:
    """Return one file of a repository, as a LoRA is."""
    files = list(files)
    found = [file for file in files if file.name == name]
    if not found:
        there = ", ".join(file.name for file in files if file.name.endswith(SINGLE)) or "none"
        raise UnstrungError("no_weights", "model", f"{card.repo_id} holds no file '{name}'. It holds: {there}.")
    return found


def head(path: Path) -> dict[str, Any]:
    """Return what a safetensors file says of its tensors: JSON, after eight bytes of its length. Raises `ValueError` for none."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 1 < size < path.stat().st_size:
            raise ValueError(f"{path} is no safetensors file")
        return {name: said for name, said in json.loads(file.read(size)).items() if name != "__metadata__"}


def billions(head: Mapping[str, Any]) -> float:
    """Return how many billions of numbers the tensors have that a file's head tells of."""
    return sum(math.prod(one["shape"]) for one in head.values()) / 1e9


def is_weights(file: File) -> bool:
    """Say whether a file holds weights, or says in which others they are."""
    return file.name.endswith(WEIGHTS) or SHARDED in PurePosixPath(file.name).name


def _is_part(file: File, index: Any) -> bool:
    """Say whether a file lies at the top, or in a folder that a pipeline's index names; without one all do."""
    named = index.items() if isinstance(index, dict) else ()
    parts = {name for name, made_by in named if isinstance(made_by, list) and any(made_by)}  # [null, null] is left empty
    return not parts or file.folder == "." or PurePosixPath(file.name).parts[0] in parts


def _cut(file: File, index: Any) -> set[str]:
    """Return the files that an index of weights names."""
    placed = index.get("weight_map") if isinstance(index, dict) else None
    return {str(PurePosixPath(file.folder, str(name))) for name in placed.values()} if isinstance(placed, dict) else set()


def variant_of(name: str) -> str:
    """Return of which variant a file of weights is, by its name; "" is the plain one."""
    found = VARIANT.fullmatch(name)
    return (found["a"] or found["b"]) if found else ""


def _variant(file: File) -> str | None:
    """Return of which variant a file of weights is; None where it is something else."""
    return variant_of(PurePosixPath(file.name).name) if is_weights(file) else None


def _wanted(files: list[File], folder: str, variant: str) -> str:
    there = {_variant(file) for file in files if file.folder == folder and file.name.endswith(WEIGHTS)}
    known = sorted(found for found in there if found is not None)
    return next((found for found in (variant, "", *known) if found in known), "")


def settle(card: ModelCard, commit: str, file: File, folder: Path, hear: Hear) -> bool:
    """Put a file into a cached repository's folder, unless it is there; return False where what was there was wrong."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    assert card.repo_id
    place, blob = folder / "snapshots" / commit / file.name, folder / "blobs" / file.blob
    right = True
    if place.exists():
        if right := digest(place, file.blob) == file.blob:
            hear(file.size)
            return True
        place.unlink()
    lock = Path(constants.HF_HUB_CACHE) / ".locks" / folder.name / f"{file.blob}.lock"
    for made in (lock.parent, blob.parent):
        made.mkdir(parents=True, exist_ok=True)
    with in_words(card, commit):
        with WeakFileLock(lock):
            if blob.exists() and digest(blob, file.blob) != file.blob:
                blob.unlink()
                right = False
            if blob.exists():
                hear(file.size)
            else:
                _download(card, commit, file, blob, hear)
        # finds the bytes by their name and only links them to the commit, as every other program does
        hf_hub_download(card.repo_id, file.name, revision=commit, library_name="unstrung")
    if not place.is_symlink():  # where links can't be made it was copied
        blob.unlink(missing_ok=True)
    return right


def _download(card: ModelCard, commit: str, file: File, blob: Path, hear: Hear) -> None:
    """Fetch a file's bytes, from where an earlier attempt stopped, and give it its name once they are right."""
    from httpx2 import TransportError
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    assert card.repo_id
    url = hf_hub_url(card.repo_id, file.name, revision=commit)
    part = part_of(blob)
    part.touch()
    if part.stat().st_size > file.size:
        part.write_bytes(b"")
    hear(had := part.stat().st_size)
    silent = 0
    while had < file.size:
        lost: Exception | None = None
        try:
            _go_on(url, part, file.size, hear)
        except TransportError as error:
            lost = error
        except HfHubHTTPError as error:
            if error.response.status_code not in (429, 500, 502, 503, 504):
                raise
            lost = error
        before, had = had, part.stat().st_size
        silent = 0 if had > before else silent + 1
        if silent == TRIES:
            raise lost or TransportError("nothing came")
        if had < file.size:
            time.sleep(1 + silent)
    if digest(part, file.blob) != file.blob:
        part.unlink()
        words = f"{file.name} of {card.repo_id} is not what the hub says it is (its digest is another); it was thrown away. "
        raise UnstrungError("wrong_bytes", "model", words + f"Fetch it again with: unstrung models pull {card.id}")
    part.replace(blob)


def _go_on(url: str, part: Path, size: int, hear: Hear) -> None:
    """Fetch what of a file is missing, as far as one connection brings it."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    had = part.stat().st_size
    headers = {**build_hf_headers(library_name="unstrung"), "Accept-Encoding": "identity"}  # a range counts bytes as they are
    if had:
        headers["Range"] = f"bytes={had}-"
    with (
        get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as answer,
        part.open("ab") as out,
    ):
        hf_raise_for_status(answer)
        if had and answer.status_code != 206:  # it has no ranges, and begins anew
            out.truncate(0)
            hear(-had)
            had = 0
        for come in answer.iter_bytes():  # as it comes: what is gathered first is lost with the connection
            chunk = come[: size - had]
            out.write(chunk)
            had += len(chunk)
            hear(len(chunk))
            if had == size:
                return


def part_of(blob: Path) -> Path:
    """Return where a file's bytes are while they are not all there; other programs know such names for what they are."""
    return blob.with_name(f"{blob.name}.incomplete")


def digest(path: Path, like: str = "", hear: Hear | None = None) -> str:
    """Return a file's SHA-256, or Git's SHA-1 of it where `like` is one."""
    found = hashlib.sha256()
    if len(like) == 40:
        found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            if hear:
                hear(len(chunk))
    return found.hexdigest()


@contextmanager
def in_words(card: ModelCard, revision: str) -> Iterator[None]:
    """Say in one line, with what to do next, why the hub gives nothing.

    What the library says of it is not passed on: it names addresses that may be signed, and headers.
    """
    from httpx2 import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError
    from huggingface_hub.errors import RepositoryNotFoundError as NotFoundError

    repo, page = card.repo_id, f"{constants.ENDPOINT}/{card.repo_id}"
    again = f"unstrung models pull {card.id}"
    gated = f"{repo} is given only to who has agreed to its terms: agree on {page}, set HF_TOKEN to your token, then: {again}"
    try:
        yield
    except GatedRepoError:
        raise UnstrungError("gated", "model", gated) from None
    except RevisionNotFoundError:
        words = f"revision is '{revision}', which {repo} does not have: take a commit from {page}/commits/main, or leave it out."
        raise UnstrungError("unknown_revision", "revision", words) from None
    except NotFoundError:
        words = f"The hub knows no {repo}, or does not show it to you: look at {page}; where it is private, set HF_TOKEN."
        raise UnstrungError("not_on_hub", "model", words) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise UnstrungError("gated", "model", gated) from None
        if status == 404:
            words = f"The hub has lost a file of {repo} at {revision or 'its newest commit'}: look at {page}."
            raise UnstrungError("not_on_hub", "model", words) from None
        raise UnstrungError("hub_failed", "model", f"The hub answered {status} for {repo}: go on later with: {again}") from None
    except (HTTPError, LocalEntryNotFoundError) as error:  # the second is what the library makes of the first
        words = f"The hub ({constants.ENDPOINT}) can't be reached or broke off ({type(error).__name__}); what came is kept. "
        raise UnstrungError("hub_unreachable", "model", words + f"Look at the network, then go on with: {again}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            words = f"The disk of {constants.HF_HUB_CACHE} is full; what came is kept. Make room, then go on with: {again}"
            raise UnstrungError("disk_full", "model", words) from None
        words = f"{constants.HF_HUB_CACHE} can't be written to ({error.strerror or type(error).__name__}): "
        raise UnstrungError("cache_unwritable", "model", words + f"let HF_HOME name another folder, then: {again}") from None


def need_hub() -> None:
    """Refuse in words what needs huggingface_hub where that is not installed, and have it tell nobody who runs it."""
    from importlib.util import find_spec

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # must be set before it is imported
    if find_spec("huggingface_hub") is None:
        raise MissingWeights("Models from the Hugging Face hub need what the default install leaves out: pip install '.[hub]'")
