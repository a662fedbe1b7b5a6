"""Everything that an owner has, as standard files: a folder or a plain tar of films, previews, recipes and jobs.

The manifest is written last and holds every file's SHA-256, so that what was cut off is seen to be so. `restore` reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from sqlalchemy import func, select

from unstrung import __version__
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.events import Emit, Progress, ignore
from unstrung.job import JobError, Status
from unstrung.jobs.store import Store, StoredClip
from unstrung.jobs.tables import clips, jobs, uploads
from unstrung.jobs.uploads import list_uploads

FORMAT, VERSION = "unstrung-export", 1
MANIFEST, JOBS, UPLOADS = "manifest.json", "jobs.jsonl", "uploads.jsonl"
ID = "[A-Za-z0-9_-]{1,80}"
NAME = re.compile(
    rf"README\.txt|(jobs|uploads)\.jsonl|clips/{ID}\.(mp4|json)|previews/{ID}\.(webp|jpg|png)|uploads/{ID}\.(png|mp4)"
)
FOLDERS = ("clips", "previews", "uploads")
OURS = ("README.txt", JOBS, UPLOADS, MANIFEST, *FOLDERS)
PREVIEWS = (".webp", ".jpg", ".png")
CHUNK, BLOCK = 2**20, 512  # bytes: read at once; of a tar
SMALL_FILES, LINE = 2**18, 2**12  # bytes that a film's pictures and recipe, and a job's line, are thought to take
README = """\
This is everything that was exported from Unstrung, an open program that makes films from sentences: the films with their
recipes inside (clips/*.mp4), the same recipes as text (clips/*.json), small pictures of them (previews/), what was asked for,
a job a line (jobs.jsonl), and what films were made from (uploads/, with a line each in uploads.jsonl). Nothing but a video
player is needed to watch them; "unstrung show FILE" says how a film was made, and "unstrung import" takes all of it in again.
"""
LOST = JobError("clip_lost", "Its film was lost or damaged before it was exported: it can be tried again.")

Entry = tuple[str, int, Iterator[bytes]]  # a file's name, its size, and its bytes


class Export:
    """What an owner has, or everybody where that is None, file by file. It is what it was at the moment each was read."""

    def __init__(self, store: Store, folder: Path, owner: str | None, emit: Emit = ignore) -> None:
        self.store, self.folder, self.owner = store, folder, owner
        self.counts = {"jobs": 0, "clips": 0, "previews": 0, "uploads": 0}
        self.lost: list[str] = []  # jobs whose film is not as it was made
        self._files: dict[str, dict[str, Any]] = {}
        self._emit = emit

    def entries(self) -> Iterator[Entry]:
        """Yield every file, the manifest last; each must be read to its end before the next is asked for."""
        yield self._text("README.txt", README)
        with tempfile.SpooledTemporaryFile(max_size=16 * CHUNK) as lines:
            ids = self._ids()
            for done, id in enumerate(ids):
                self._emit(Progress("export", done, len(ids)))
                yield from self._job(id, lines)
            size = lines.tell()
            lines.seek(0)
            yield JOBS, size, self._read(JOBS, lines, size)
        yield from self._uploads()
        manifest = {
            "format": FORMAT, "schema_version": VERSION, "created_at": time.time(), "unstrung": __version__, "owner": self.owner,
            "counts": self.counts, "files": self._files,
        }  # fmt: skip
        yield self._text(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))

    def size(self) -> int:
        """Return about how much all of it will take."""
        films, held = func.count(clips.c.job_id), func.coalesce(func.sum(clips.c.bytes), 0)
        query = select(func.count(), films, held).select_from(jobs.outerjoin(clips, jobs.c.id == clips.c.job_id))
        with self.store.reading() as connection:
            lines, made, taken = connection.execute(self._mine(query)).one()
            sent = select(func.coalesce(func.sum(uploads.c.bytes), 0))
            taken += connection.execute(sent if self.owner is None else sent.where(uploads.c.owner == self.owner)).scalar_one()
        return int(taken) + int(made) * SMALL_FILES + int(lines) * LINE

    def _ids(self) -> list[str]:
        query = self._mine(select(jobs.c.id).order_by(jobs.c.created_at, jobs.c.id))
        with self.store.reading() as connection:
            return list(connection.execute(query).scalars())

    def _mine(self, query: Any) -> Any:
        return query if self.owner is None else query.where(jobs.c.owner == self.owner)

    def _job(self, id: str, lines: IO[bytes]) -> Iterator[Entry]:
        job, clip, film = self.store.find(id, self.owner), None, None
        if job is None:
            return  # removed meanwhile
        if job.status is Status.COMPLETED:
            clip = self.store.clip(id)
            film = _film(self.folder / "clips" / clip.file, clip) if clip else None
            if film is None:
                if self.store.find(id) is None:
                    return
                self.lost.append(id)
                job = replace(job, status=Status.FAILED, error=LOST)
        kept = None
        if clip is not None and film is not None:
            with film:
                yield f"clips/{id}.mp4", clip.bytes, self._read(f"clips/{id}.mp4", film, clip.bytes)
            recipe = json.dumps(json.loads(clip.recipe.to_json()), indent=2, ensure_ascii=False)
            yield self._text(f"clips/{id}.json", recipe + "\n")
            kept = {"sha256": clip.sha256, "bytes": clip.bytes, "created_at": clip.created_at}
            self.counts["clips"] += 1
        for suffix in PREVIEWS[:2] if film else PREVIEWS[2:]:  # of what was canceled, its last preview is all there is
            path = self.folder / "previews" / f"{id}{suffix}"
            if path.is_file():
                yield self._text(f"previews/{id}{suffix}", path.read_bytes())
                self.counts["previews"] += 1
        row = {**job.to_dict(), "clip": kept}
        del row["worker"]  # a machine's name, and no business of another
        lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self.counts["jobs"] += 1

    def _uploads(self) -> Iterator[Entry]:
        kept = []
        for upload in list_uploads(self.store, self.owner):
            try:
                file = (self.folder / "uploads" / upload.file).open("rb")
            except FileNotFoundError:
                continue  # removed meanwhile
            with file:
                yield f"uploads/{upload.file}", upload.bytes, self._read(f"uploads/{upload.file}", file, upload.bytes)
            kept.append(json.dumps(asdict(upload), ensure_ascii=False) + "\n")
        self.counts["uploads"] = len(kept)
        yield self._text(UPLOADS, "".join(kept))

    def _text(self, name: str, content: str | bytes) -> Entry:
        data = content.encode() if isinstance(content, str) else content
        return name, len(data), self._read(name, io.BytesIO(data), len(data))

    def _read(self, name: str, file: IO[bytes], size: int) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), size
        while left and (part := file.read(min(CHUNK, left))):
            digest.update(part)
            left -= len(part)
            yield part
        if left:
            raise UnstrungError("cut_short", None, f"'{name}' became shorter while it was exported: try again.")
        self._files[name] = {"bytes": size, "sha256": digest.hexdigest()}


def tar_of(export: Export) -> Iterator[bytes]:
    """Yield a tar of all of it, piece by piece."""
    for name, size, parts in export.entries():
        info = tarfile.TarInfo(name)
        info.size, info.mtime = size, int(time.time())
        yield info.tobuf(tarfile.GNU_FORMAT)
        yield from parts
        yield bytes(-size % BLOCK)
    yield bytes(2 * BLOCK)


def export_to(
    store: Store, folder: Path, target: Path, owner: str | None = None, *, force: bool = False, emit: Emit = ignore
) -> dict[str, Any]:
    """Write all of it to a folder, or to a tar where the name ends so; whole or absent. Return what was written.

    Raises `InvalidRequest` for the field "output" where something is there and no `force`, or may not be replaced, and
    `UnstrungError` for a full disk.
    """
    export, as_tar = Export(store, folder, owner, emit), target.suffix == ".tar"
    _check_target(target, as_tar, force)
    check_room(target.absolute().parent, export.size(), "output", "Exporting")
    part = target.absolute().with_name(f".unstrung-{secrets.token_hex(8)}.part")
    try:
        (_write_tar if as_tar else _write_folder)(export, part)
        _publish(part, target.absolute())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnstrungError("not_writable", "output", f"output is '{target}', which can't be written: {reason}.") from error
    finally:
        _remove(part)
    return {"path": str(target), "owner": owner, **export.counts, "lost": export.lost}


def check_room(folder: Path, needed: int, field: str, doing: str) -> None:
    """Raise `UnstrungError` where a folder's disk has less room than is needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        needs, has = _size(needed), _size(free)
        words = f"{doing} takes about {needs}, and the disk of '{folder}' has {has} left: free some, or choose another."
        raise UnstrungError("disk_full", field, words)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_tar(export: Export, part: Path) -> None:
    with part.open("xb") as file:
        for piece in tar_of(export):
            file.write(piece)
    sync(part)


def _write_folder(export: Export, part: Path) -> None:
    for name in FOLDERS:
        (part / name).mkdir(parents=True)
    for name, _, parts in export.entries():
        with (part / name).open("xb") as file:
            for piece in parts:
                file.write(piece)
        sync(part / name)


def _check_target(target: Path, as_tar: bool, force: bool) -> None:
    if not target.absolute().parent.is_dir():
        raise InvalidRequest(
            "output", f"output is '{target}', but there is no folder '{target.absolute().parent}': make it first."
        )
    if not (target.exists() or target.is_symlink()):
        return
    if not force:
        raise InvalidRequest("output", f"output is '{target}', which exists: add --force to replace it.", "output_exists")
    earlier = target.is_dir() and {file.name for file in target.iterdir()} <= set(OURS)
    if target.is_symlink() or not (target.is_file() if as_tar else earlier):
        words = f"output is '{target}', which is no earlier export, and so is not replaced: choose another name."
        raise InvalidRequest("output", words, "output_exists")


def _publish(part: Path, target: Path) -> None:
    if target.is_dir():
        old = target.with_name(f".unstrung-{secrets.token_hex(8)}.old")
        target.rename(old)
        part.rename(target)
        shutil.rmtree(old)
    else:
        part.replace(target)
    if os.name == "posix":
        sync(target.parent)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


def _film(path: Path, clip: StoredClip) -> IO[bytes] | None:
    """Open a film that is as it was made; None where it is lost or damaged."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == clip.bytes and hashlib.file_digest(file, "sha256").hexdigest() == clip.sha256:
        file.seek(0)
        return file
    file.close()
    return None


def _size(amount: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9)):
        if amount >= size:
            return f"{amount / size:.1f} {unit}"
    return f"{amount / 1e6:.0f} MB"
