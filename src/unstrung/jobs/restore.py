"""Take an export in again. What is inside may be anybody's: nothing is believed before it was checked.

First all of it is read and held against its manifest and against the store; only then is anything written. A film is in its
place before the job that owns it is in the store, so whoever is killed leaves whole jobs, and the next try does the rest.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.events import Emit, Progress, ignore
from unstrung.job import Job, JobError, Status
from unstrung.jobs.archive import (
    BLOCK,
    CHUNK,
    FOLDERS,
    FORMAT,
    ID,
    JOBS,
    MANIFEST,
    NAME,
    PREVIEWS,
    UPLOADS,
    VERSION,
    check_room,
    sync,
)
from unstrung.jobs.store import Store, StoredClip
from unstrung.jobs.uploads import LONGEST_NAME, Upload, add_upload, find_upload
from unstrung.recipe import Recipe
from unstrung.request import Request

MOST_MANIFEST, MOST_LINE = 2**28, 2**25  # bytes
BATCH = 100  # jobs that are added at once
OWNER = re.compile(r"[\w.@+-]{1,64}")  # what a token's owner may be called
# how the files begin that an export has
HEADS = {".mp4": (4, b"ftyp"), ".webp": (8, b"WEBP"), ".jpg": (0, b"\xff\xd8\xff"), ".png": (0, b"\x89PNG")}

Arrival = tuple[Job, StoredClip | None]


class Source(Protocol):
    """A folder or a tar: the sizes of the files in it that an export can have, and their bytes."""

    sizes: dict[str, int]

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""


class FolderSource:
    """A folder; links are not followed, and what no export has is not looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[str, int] = {}
        for folder in ("", *FOLDERS):
            there = root / folder
            if there.is_dir() and not (folder and there.is_symlink()):
                for file in os.scandir(there):
                    name = f"{folder}/{file.name}" if folder else file.name
                    if _expected(name):
                        if not file.is_file(follow_symlinks=False):
                            _damaged(f"'{name}' is not a plain file")
                        self.sizes[name] = file.stat(follow_symlinks=False).st_size

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        handle = os.open(self.root / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                _damaged(f"'{name}' is not a plain file")
            yield from _pieces(file, self.sizes[name], name)


class TarSource:
    """A plain tar. Only headers are believed, each by itself: extended ones, which can say anything, are passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self._at: dict[str, int] = {}
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            while any(block := file.read(BLOCK)):
                try:
                    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
                except (tarfile.HeaderError, UnicodeDecodeError):
                    raise _foreign(path) from None
                at, name = file.tell(), info.name.removeprefix("./")
                if info.size < 0 or at + info.size > end:
                    _damaged("it is cut short")
                if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    if not _expected(name) or name in self.sizes:
                        _damaged(f"it holds {name[:100]!r}, which no export has")
                    self.sizes[name], self._at[name] = info.size, at
                elif not (_is_ours(name.rstrip("/")) if info.isdir() else info.type in b"xg"):
                    _damaged(f"it holds {name[:100]!r}, which is no plain file")
                file.seek(-(-info.size // BLOCK) * BLOCK, os.SEEK_CUR)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        with self.path.open("rb") as file:
            file.seek(self._at[name])
            yield from _pieces(file, self.sizes[name], name)


def import_from(store: Store, folder: Path, path: Path, owner: str | None = None, *, emit: Emit = ignore) -> dict[str, Any]:
    """Add what an export holds, or give it to an owner; return how much was new, and how much was here already.

    Raises `UnstrungError`, and changes nothing then, for what is no export, damaged or of a newer version, for a full disk,
    and where an id is here with other content or is somebody else's.
    """
    if owner is not None and not OWNER.fullmatch(owner):
        raise InvalidRequest("owner", f"owner is {owner!r}; it must be 1 to 64 letters, digits and . _ @ + -")
    source = _open(path)
    files = _manifest(source, path)
    new: set[str] = set()
    arrivals = 0
    for done, (name, known) in enumerate(files.items()):
        emit(Progress("check", done, len(files)))
        _check_file(source, name, known)
    for job, clip in _arrivals(source, files, owner):
        arrivals += 1
        _check_sources(store, job)
        if not holds(store, job, clip):
            if job.id in new:
                _damaged(f"job {job.id} is there twice")
            new.add(job.id)
    sent = [upload for upload in _uploads(source, files, owner) if not _has(store, upload)]
    new |= {upload.id for upload in sent}
    needed = sum(source.sizes[name] for name in files if name.partition("/")[2].rpartition(".")[0] in new)
    folder.mkdir(parents=True, exist_ok=True)
    check_room(folder, needed, "store", "Importing")
    made = _Taking(store, folder, source)
    for upload in sent:
        made.take_upload(upload, files[f"uploads/{upload.file}"]["sha256"])
    for done, (job, clip) in enumerate(_arrivals(source, files, owner)):
        emit(Progress("import", done, arrivals))
        if job.id in new:
            made.take(job, clip)
    made.finish()
    return {
        "path": str(path),
        "owner": owner,
        "jobs": made.jobs,
        "clips": made.clips,
        "uploads": len(sent),
        "here_already": arrivals - made.jobs,
    }


def holds(store: Store, job: Job, clip: StoredClip | None) -> bool:
    """Say whether a job is here already; raise `UnstrungError` where its id is here for something else.

    A job that has not become a film here is not the one that has, where that is what comes.
    """
    here = store.find(job.id)
    if here is None:
        return False
    if here.owner != job.owner:
        words = f"'{here.owner}' has a job {job.id} here already" if here.owner else f"Job {job.id} is here already, and nobody's"
        raise UnstrungError("id_taken", "id", f"{words}: nothing was imported. Give the owner with --owner.")
    if here.request == job.request:
        film = store.clip(job.id)
        if clip is None or (film is not None and film.sha256 == clip.sha256):
            return True
        if film is None and here.status is not Status.IN_PROGRESS:
            return False
    raise UnstrungError("id_taken", "id", f"Job {job.id} is here already with other content: nothing was imported.")


def _check_sources(store: Store, job: Job) -> None:
    """Raise `UnstrungError` where a job would be made from something that its owner may not see."""
    for condition in job.request.conditions:
        video, upload = store.find(condition.source), find_upload(store, condition.source)
        if any(here.owner != job.owner for here in (video, upload) if here) and not (video and video.public):
            words = f"Job {job.id} is made from {condition.source}, which is somebody else's here: nothing was imported."
            raise UnstrungError("id_taken", "id", words)


def _has(store: Store, upload: Upload) -> bool:
    """Say whether an upload is here already; raise `UnstrungError` where its id is here for something else."""
    here = find_upload(store, upload.id)
    if here is None or here == upload:
        return here is not None
    raise UnstrungError("id_taken", "id", f"'{upload.id}' is here already, with another owner or content: nothing was imported.")


class _Taking:
    """Puts films in their places and then, some at a time, adds the jobs that own them."""

    def __init__(self, store: Store, folder: Path, source: Source) -> None:
        self.store, self.source = store, source
        self.films, self.previews = folder / "clips", folder / "previews"
        self.jobs = self.clips = 0
        self._batch: list[Arrival] = []
        self.uploads = folder / "uploads"
        for there in (self.films, self.previews, self.uploads):
            there.mkdir(parents=True, exist_ok=True)

    def take(self, job: Job, clip: StoredClip | None) -> None:
        """Put a job's files in their places; it becomes one of the store's with its batch."""
        # no worker gives a file such a name, nor does any other import: nothing that is there is ever overwritten
        if clip is not None:
            clip = replace(clip, file=f"{job.id}-i{secrets.token_hex(4)}.mp4")
        self._batch.append((job, clip))
        if clip is not None:
            self._copy(f"clips/{job.id}.mp4", self.films / clip.file, clip.sha256)
        for suffix in PREVIEWS:
            if f"previews/{job.id}{suffix}" in self.source.sizes:
                self._copy(f"previews/{job.id}{suffix}", self.previews / f"{job.id}{suffix}")
        if len(self._batch) == BATCH:
            self.finish()

    def take_upload(self, upload: Upload, sha256: str) -> None:
        """Put what was sent in its place, and then into the store."""
        self._copy(f"uploads/{upload.file}", self.uploads / upload.file, sha256)
        with self.store.changing() as connection:
            add_upload(connection, upload)

    def finish(self) -> None:
        """Add the jobs whose files are in their places."""
        batch, self._batch = self._batch, []
        for job, _ in batch:
            here = self.store.find(job.id, job.owner)
            if here is not None:  # its film was not made here: the whole job comes instead
                if here.status is Status.QUEUED:
                    self.store.cancel(job.id)
                self.store.remove(job.id)
        self.store.bring(batch)
        self.jobs += len(batch)
        self.clips += sum(clip is not None for _, clip in batch)

    def _copy(self, name: str, target: Path, sha256: str | None = None) -> None:
        part = target.with_name(f".unstrung-{secrets.token_hex(8)}.part")
        digest = hashlib.sha256()
        try:
            with part.open("xb") as file:
                for piece in self.source.read(name):
                    digest.update(piece)
                    file.write(piece)
            if sha256 not in (None, digest.hexdigest()):
                raise UnstrungError("changed", "path", f"'{name}' changed while it was imported: import it again.")
            sync(part)
            part.replace(target)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnstrungError("not_writable", "store", f"'{target}' can't be written: {reason}.") from error
        finally:
            part.unlink(missing_ok=True)


def _open(path: Path) -> Source:
    if not path.exists():
        raise InvalidRequest("path", f"path is '{path}', and nothing is there.", "no_such_file")
    if not (path.is_dir() or path.is_file()):
        raise _foreign(path)
    try:
        source: Source = FolderSource(path) if path.is_dir() else TarSource(path)
    except OSError as error:
        words = f"path is '{path}', which can't be read: {(error.strerror or str(error)).lower()}."
        raise InvalidRequest("path", words, "not_readable") from error
    if MANIFEST not in source.sizes or JOBS not in source.sizes:
        raise _foreign(path)
    return source


def _manifest(source: Source, path: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of every file."""
    if source.sizes[MANIFEST] > MOST_MANIFEST:
        _damaged("its manifest is too large")
    manifest = _json(b"".join(source.read(MANIFEST)), MANIFEST)
    if manifest.get("format") != FORMAT:
        raise _foreign(path)
    version, files = manifest.get("schema_version"), manifest.get("files")
    if not isinstance(version, int) or version > VERSION:
        words = f"The export has version {version}; this program reads up to {VERSION}: upgrade it."
        raise UnstrungError("newer_export", "path", words)
    if not isinstance(files, dict):
        _damaged("its manifest lacks its files")
    for name in files.keys() ^ (source.sizes.keys() - {MANIFEST}):
        # in a folder other things may lie about; what is missing is missing, and what is not in the list was put there later
        _damaged(f"'{name[:100]}' is missing" if name in files else f"'{name[:100]}' is not in its manifest")
    return files


def _check_file(source: Source, name: str, known: Any) -> None:
    if not isinstance(known, dict) or known.get("bytes") != source.sizes[name]:
        _damaged(f"'{name}' is not as long as its manifest says")
    digest, head = hashlib.sha256(), b""
    for piece in source.read(name):
        head = head or piece[:16]
        digest.update(piece)
    if digest.hexdigest() != known.get("sha256"):
        _damaged(f"'{name}' is not what its manifest says")
    at, word = HEADS.get(Path(name).suffix, (0, b""))
    if not head[at:].startswith(word):
        _damaged(f"'{name}' is not what its name says")


def _arrivals(source: Source, files: dict[str, dict[str, Any]], owner: str | None) -> Iterator[Arrival]:
    """Yield the jobs, each with its clip where it has one, as they shall be here."""
    for number, line in enumerate(_lines(source), 1):
        try:
            yield _arrival(source, files, _json(line, JOBS), owner)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InvalidRequest):
            _damaged(f"line {number} of {JOBS} is no job")


def _arrival(source: Source, files: dict[str, dict[str, Any]], row: dict[str, Any], owner: str | None) -> Arrival:
    id, status, error, kept = row["id"], Status(row["status"]), row["error"], row["clip"]
    whose = row["owner"] if owner is None else owner
    _need(re.fullmatch(ID, id), whose is None or OWNER.fullmatch(whose), (status is Status.COMPLETED) == (kept is not None))
    _need(row["remixed_from_video_id"] is None or re.fullmatch(ID, row["remixed_from_video_id"]))
    now, waits = time.time(), status in (Status.QUEUED, Status.IN_PROGRESS)
    # no time is after now, or work that took less than nothing would let its owner go before all others
    created, completed = min(_number(row["created_at"]), now), None if waits else min(_number(row["completed_at"]), now)
    started = None if completed is None or row["started_at"] is None else min(_number(row["started_at"]), completed)
    request = Request.from_dict(row["request"])
    _need(all(isinstance(condition.source, str) for condition in request.conditions))
    _need(_text(request.model), isinstance(row["progress"], int), 0 <= row["progress"] <= 100, isinstance(row["attempt"], int))
    job = Job(
        id, request, created, status=Status.QUEUED if waits else status, progress=0 if waits else row["progress"],
        owner=whose, draft=row["draft"] is True, public=row["public"] is True, seconds=_number(row["seconds"]),
        estimate=_number(row["estimate"]), started_at=started, completed_at=completed,
        expires_at=None if row["expires_at"] is None else _number(row["expires_at"]),
        error=JobError(_text(error["code"]), _text(error["message"])) if error and not waits else None,
        remixed_from_video_id=row["remixed_from_video_id"], attempt=0 if waits else min(max(row["attempt"], 0), 99),
    )  # fmt: skip
    if kept is None:
        return job, None
    film, recipe = files[f"clips/{id}.mp4"], files[f"clips/{id}.json"]
    _need(film["sha256"] == kept["sha256"], recipe["bytes"] <= MOST_LINE)
    text = b"".join(source.read(f"clips/{id}.json")).decode()
    _json(text, f"clips/{id}.json")
    clip = StoredClip(id, whose, "", film["bytes"], film["sha256"], Recipe.from_json(text), _number(kept["created_at"]))
    return job, clip


def _uploads(source: Source, files: dict[str, dict[str, Any]], owner: str | None) -> Iterator[Upload]:
    """Yield what was sent, as it shall be here."""
    for number, line in enumerate(_lines(source, UPLOADS) if UPLOADS in source.sizes else (), 1):
        try:
            row = _json(line, UPLOADS)
            whole = {name: row[name] for name in ("bytes", "width", "height", "num_frames", "fps")}
            _need(all(type(value) is int and value > 0 for value in whole.values()), re.fullmatch(ID, row["id"]))
            whose = row["owner"] if owner is None else owner
            _need(whose is None or OWNER.fullmatch(whose), row["kind"] in ("image", "video", "character"))
            name = None if row["name"] is None else _text(row["name"])[:LONGEST_NAME]
            upload = Upload(row["id"], whose, row["kind"], name, created_at=_number(row["created_at"]), **whole)
            _need(files[f"uploads/{upload.file}"]["bytes"] == upload.bytes)
        except (KeyError, TypeError, ValueError, AttributeError):
            _damaged(f"line {number} of {UPLOADS} is nothing that was sent")
        yield upload


def _lines(source: Source, name: str = JOBS) -> Iterator[bytes]:
    rest = b""
    with closing(source.read(name)) as pieces:  # type: ignore[type-var]
        for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > MOST_LINE:
                _damaged(f"a line of {name} is too long")
    if rest:
        yield rest


def _pieces(file: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    while size and (piece := file.read(min(CHUNK, size))):
        size -= len(piece)
        yield piece
    if size:
        _damaged(f"'{name}' is cut short")


def _expected(name: str) -> bool:
    return name == MANIFEST or NAME.fullmatch(name) is not None


def _is_ours(folder: str) -> bool:
    return folder in ("", ".", *FOLDERS)


def _json(text: bytes | str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()  # neither NaN nor half a character
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        _damaged(f"{name} can't be read")
    return data


def _need(*conditions: object) -> None:
    if not all(conditions):
        raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:  # which PostgreSQL does not take
        raise ValueError
    return value


def _damaged(what: str) -> NoReturn:
    raise UnstrungError("bad_export", "path", f"The export is damaged: {what}. Nothing was imported.")


def _foreign(path: Path) -> UnstrungError:
    words = f"'{path}' is no export of this program, or was cut off: it has no {MANIFEST}. Make one with: unstrung export"
    return UnstrungError("no_export", "path", words)
