"""What owners have sent: pictures and clips to start from, and characters. Files are ours by name and by content."""

from __future__ import annotations

import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from unstrung.errors import UnstrungError
from unstrung.jobs.limits import Allowance, check_storage
from unstrung.jobs.store import Store
from unstrung.jobs.tables import jobs, uploads
from unstrung.media.vet import Vetted


@dataclass(frozen=True)
class Upload:
    """Something that was sent: a picture or a clip, with its measures; a character has a name."""

    id: str
    owner: str | None
    kind: str  # "image", "video" or "character"
    name: str | None
    bytes: int
    width: int
    height: int
    num_frames: int
    fps: int
    created_at: float

    @property
    def file(self) -> str:
        """Return the name of its file in the folder of uploads."""
        return f"{self.id}{'.png' if self.kind == 'image' else '.mp4'}"


LONGEST_NAME = 80  # of a character
STALE = 3600.0  # seconds after which nobody is writing a file any more
PREFIXES = {"image": "upload", "video": "upload", "character": "char"}


def take_in(folder: Path, written: Path, vetted: Vetted, *, owner: str | None, kind: str, name: str | None = None) -> Upload:
    """Take a vetted file into a folder under a new id; it is swept away one day unless `add_upload` follows."""
    upload = Upload(
        f"{PREFIXES[kind]}_{secrets.token_hex(16)}", owner, kind, name, written.stat().st_size, vetted.width, vetted.height,
        vetted.num_frames, vetted.fps, time.time(),
    )  # fmt: skip
    written.rename(folder / upload.file)  # before its row: a row always has its file
    return upload


def add_upload(connection: Connection, upload: Upload, allowance: Allowance | None = None) -> None:
    """Add an upload whose file is in its place; raise `OverLimit` where its owner has no room for it."""
    if allowance is not None:
        check_storage(connection, upload.owner, allowance, upload.bytes)
    connection.execute(insert(uploads).values(asdict(upload)))


def sweep_uploads(store: Store, folder: Path, now: float) -> int:
    """Remove files that no row names, and that nobody is writing any more; return how many."""
    kept = {upload.file for upload in list_uploads(store)}
    strays = [path for path in folder.glob("*") if path.name not in kept and path.stat().st_mtime < now - STALE]
    for path in strays:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(strays)


def find_upload(store: Store, id: str, owner: str | None = None) -> Upload | None:
    """Return an upload; None where there is none, or where it is not the given owner's."""
    query = select(uploads).where(uploads.c.id == id)
    if owner is not None:
        query = query.where(uploads.c.owner == owner)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _upload_of(row)


def get_upload(store: Store, id: str, owner: str | None = None) -> Upload:
    """Return what `find_upload` does; raise `UnstrungError` where that is nothing."""
    upload = find_upload(store, id, owner)
    if upload is None:
        raise UnstrungError("not_found", "id", f"There is no upload or character '{id}'.")
    return upload


def list_uploads(store: Store, owner: str | None = None, kind: str | None = None) -> list[Upload]:
    """Return uploads, the oldest first, of one owner or of all."""
    query = select(uploads).order_by(uploads.c.created_at, uploads.c.id)
    if owner is not None:
        query = query.where(uploads.c.owner == owner)
    if kind is not None:
        query = query.where(uploads.c.kind == kind)
    with store.reading() as connection:
        return [_upload_of(row) for row in connection.execute(query)]


def remove_upload(store: Store, id: str, owner: str | None = None) -> Upload:
    """Forget an upload and return it, so that its file may go; raise `UnstrungError` where a video still needs it."""
    upload = get_upload(store, id, owner)
    with store.changing() as connection:
        needs = select(jobs.c.id).where(jobs.c.owner.is_not_distinct_from(upload.owner), jobs.c.request.contains(id)).limit(1)
        user = connection.execute(needs).scalar_one_or_none()
        if user is not None:
            raise UnstrungError("in_use", "id", f"Video {user} was made with '{id}': delete that first.")
        connection.execute(delete(uploads).where(uploads.c.id == id))
    return upload


def _upload_of(row: Row[Any]) -> Upload:
    return Upload(**row._asdict())
