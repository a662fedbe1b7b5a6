"""Files that were uploaded, or that batches wrote: rows in the store, bytes in the data folder under `files/<id>`.

The id is ours; a client's file name is text and nothing else. A file is there whole or not at all: its bytes are written
under a temporary name, synced and renamed, and its row comes last. What has no row is nobody's, and is swept away.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select

from unstrung.errors import InvalidRequest
from unstrung.jobs.limits import Allowance, check_storage
from unstrung.jobs.store import NotFound, Store
from unstrung.jobs.tables import files

PURPOSES = ("batch", "vision", "user_data")  # of what is uploaded; what a batch wrote is "batch_output"
PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
LINES_KIND = "application/jsonl"
KEPT_SECONDS = (3600, 30 * 86400)  # the shortest and the longest time that can be asked for
STRAY_SECONDS = 3600.0  # how old a file without a row must be to be nobody's: one that is being written has none yet


@dataclass(frozen=True)
class Caps:
    """The most that an upload may be."""

    batch_bytes: int = 200 * 10**6
    lines: int = 50_000
    picture_bytes: int = 32 * 2**20


@dataclass(frozen=True)
class StoredFile:
    """A file that somebody owns; `kind` is its media type. Times are seconds since 1970."""

    id: str
    owner: str | None
    purpose: str
    filename: str
    kind: str
    bytes: int
    created_at: float
    expires_at: float | None


class NoSuchFile(NotFound):
    """There is no such file, it is somebody else's, or its time is over."""

    def __init__(self, id: str) -> None:
        super(NotFound, self).__init__("not_found", "file_id", f"There is no file '{id}': see GET /v1/files.")


def new_id() -> str:
    """Return a file's id that nobody can guess."""
    return f"file-{secrets.token_hex(16)}"


def path_of(folder: Path, id: str) -> Path:
    """Return where a file's bytes are."""
    assert re.fullmatch(r"file-[0-9a-f]{32}", id)
    return folder / "files" / id


def sniff(head: bytes) -> str | None:
    """Return a picture's media type from its first bytes; None where they are no PNG, JPEG or WebP."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in PICTURES.items() if head.startswith(magic)), None)


def write(folder: Path, id: str, parts: Iterable[bytes]) -> int:
    """Put bytes where a file's bytes are, whole or not at all; return how many."""
    path = path_of(folder, id)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{id}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as out:
            out.writelines(parts)
            out.flush()
            os.fsync(out.fileno())
            size = out.tell()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # so that the name too survives a power cut
        handle = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return size


def add(connection: Connection, file: StoredFile) -> None:
    """Say whose the bytes are that have been written."""
    connection.execute(insert(files).values(asdict(file)))


def keep(
    store: Store, folder: Path, data: BinaryIO, *, owner: str | None, purpose: str, filename: str, kind: str,
    seconds: int | None = None, allowance: Allowance | None = None, now: float | None = None,
) -> StoredFile:  # fmt: skip
    """Keep what was uploaded, for as long as `seconds` or until it is deleted.

    Raises `InvalidRequest` for a name that is none, and `OverLimit` where it is more than the owner may have.
    """
    now = time.time() if now is None else now
    if not filename or len(filename) > 255 or not filename.isprintable():
        raise InvalidRequest("file", f"The file's name is {filename[:40]!r}; it must be 1 to 255 printable characters.")
    id = new_id()
    size = write(folder, id, iter(lambda: data.read(2**20), b""))
    file = StoredFile(id, owner, purpose, filename, kind, size, now, None if seconds is None else now + seconds)
    try:
        with store.changing() as connection:
            if allowance is not None:
                check_storage(connection, owner, allowance, size)
            add(connection, file)
    except BaseException:
        path_of(folder, id).unlink(missing_ok=True)
        raise
    return file


def find(store: Store, id: str, owner: str | None = None, now: float | None = None) -> StoredFile | None:
    """Return a file; None where there is none, where it is not the given owner's, or its time is over."""
    if not re.fullmatch(r"file-[0-9a-f]{32}", id):
        return None
    query = select(files).where(files.c.id == id, _there(now))
    if owner is not None:
        query = query.where(files.c.owner == owner)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _file_of(row)


def get(store: Store, id: str, owner: str | None = None, now: float | None = None) -> StoredFile:
    """Return what `find` does; raise `NoSuchFile` where that is nothing."""
    file = find(store, id, owner, now)
    if file is None:
        raise NoSuchFile(id)
    return file


def page(
    store: Store, *, owner: str | None = None, purpose: str | None = None, after: str | None = None, limit: int = 100,
    newest_first: bool = True, now: float | None = None,
) -> list[StoredFile]:  # fmt: skip
    """Return a page of files by their time, of one owner or of all; those behind the file `after`."""
    c = files.c
    query = select(files).where(_there(now))
    if owner is not None:
        query = query.where(c.owner == owner)
    if purpose is not None:
        query = query.where(c.purpose == purpose)
    if after is not None:
        seen = get(store, after, owner, now)
        later = (c.created_at < seen.created_at) if newest_first else (c.created_at > seen.created_at)
        beside = (c.id < seen.id) if newest_first else (c.id > seen.id)
        query = query.where(or_(later, and_(c.created_at == seen.created_at, beside)))
    order = (c.created_at.desc(), c.id.desc()) if newest_first else (c.created_at, c.id)
    with store.reading() as connection:
        return [_file_of(row) for row in connection.execute(query.order_by(*order).limit(limit))]


def remove(store: Store, folder: Path, id: str, owner: str | None = None, now: float | None = None) -> None:
    """Forget a file and its bytes; raise `NoSuchFile`."""
    get(store, id, owner, now)
    with store.changing() as connection:
        connection.execute(delete(files).where(files.c.id == id))
    path_of(folder, id).unlink(missing_ok=True)


def sweep(store: Store, folder: Path, now: float | None = None) -> int:
    """Remove files whose time is over, and bytes that are nobody's; return how many."""
    now = time.time() if now is None else now
    with store.changing() as connection:
        over = list(connection.execute(delete(files).where(files.c.expires_at <= now).returning(files.c.id)).scalars())
    for id in over:
        path_of(folder, id).unlink(missing_ok=True)
    there = folder / "files"
    old = [path for path in there.iterdir() if path.stat().st_mtime < now - STRAY_SECONDS] if there.is_dir() else []
    with store.reading() as connection:
        known = set(connection.execute(select(files.c.id)).scalars()) if old else set()
    strays = [path for path in old if path.name not in known]
    for path in strays:
        path.unlink(missing_ok=True)
    return len(over) + len(strays)


def _there(now: float | None) -> ColumnElement[bool]:
    return func.coalesce(files.c.expires_at, 1e300) > (time.time() if now is None else now)


def _file_of(row: Row[Any]) -> StoredFile:
    return StoredFile(**row._asdict())
