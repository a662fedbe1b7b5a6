"""What a host was asked for and has not delivered yet, kept on the disk: whoever goes on after a death goes on with that.

One small file for each, under a digest of what was asked. It holds a mark, from which come the names of the questions that make
videos, and the video's id at the host once that is known; no prompt, and no key. Who works on it holds its lock, which ends with
its process. It is removed when the film is in its caller's hands, or will be in nobody's.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from unstrung.errors import UnstrungError

KEPT = 2 * 86_400.0  # seconds after which nobody comes for it any more; few hosts keep videos for longer
MOST = 100  # films that are asked for in the same words at once
MARK = re.compile(r"[0-9a-f]{32}")
ID = re.compile(r"(?!\.+$)[!-~]{1,200}")  # dots alone would be another place in an address


class Memo:
    """What is known of one film that a host makes: `id` is its name there, where it is known."""

    def __init__(self, path: Path | None, file: IO[bytes] | None) -> None:
        self._path, self._file = path, file
        mark, id = _read(file)
        self.id = id
        self.found = mark is not None  # somebody has asked before, and has died since
        self._mark = mark or self._begin()

    def name(self, question: bytes) -> str:
        """Return the name of a question, which is the same whenever this one is asked for this film, and for no other."""
        return hmac.digest(self._mark.encode(), question, "sha256").hex()[:32]

    def remember(self, id: str) -> None:
        """Keep the video's id; where the disk is full, the mark that is there already has to do."""
        self.id = id
        if ID.fullmatch(id):
            self._append(f"{id}\n")

    def begin_anew(self) -> None:
        """Have the next question make another video."""
        self.id, self.found = None, False
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(0)
        self._mark = self._begin()

    def leave(self) -> None:
        """Let somebody else go on."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def forget(self) -> None:
        """Remove it: nobody has to go on."""
        if self._file is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        self.leave()

    def _begin(self) -> str:
        mark = secrets.token_hex(16)
        self._append(f"{mark}\n")
        return mark

    def _append(self, line: str) -> None:
        """Write one line in one piece, and see it onto the disk: a death leaves it there or not."""
        if self._file is None:
            return
        with suppress(OSError):
            self._file.seek(0, os.SEEK_END)
            self._file.write(line.encode())
            os.fsync(self._file.fileno())


def folder() -> Path:
    """Return where memos are: below $UNSTRUNG_DATA, which workers share, or else in the user's cache."""
    if given := os.environ.get("UNSTRUNG_DATA"):
        return Path(given) / "errands"
    from platformdirs import user_cache_path

    return user_cache_path("unstrung", appauthor=False) / "errands"


def find_memo(digest: str) -> Memo:
    """Return the memo of what was asked for before in these words and is nobody's now, or else a new one.

    Raises `UnstrungError` where none can be kept.
    """
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(place)
        there = sorted(place.glob(f"{digest}-*"))
        for path in [*there, *(place / f"{digest}-{n}" for n in range(MOST))]:
            if (file := _take(path)) is not None:
                return Memo(path, file)
    except OSError as error:
        words = f"{place} can't be written ({(error.strerror or str(error)).lower()})"
        raise UnstrungError("not_writable", None, words) from None
    raise UnstrungError("not_writable", None, f"{place} has no room for more than {MOST} in the same words")


def no_memo() -> Memo:
    """Return a memo that outlives nothing."""
    return Memo(None, None)


def _take(path: Path) -> IO[bytes] | None:
    """Open and lock a file, which is made where it is missing; None where another holds it, or the system has no such locks."""
    if sys.platform == "win32":
        raise OSError("this system has no locks that end with a process")
    import fcntl

    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except BlockingIOError:
            file.close()
            return None
        except FileNotFoundError:
            file.close()  # whoever held it has removed it meanwhile
        except BaseException:
            file.close()
            raise
        else:
            file.close()


def _read(file: IO[bytes] | None) -> tuple[str | None, str | None]:
    """Return the mark and the id that a file holds, as far as it holds them whole."""
    if file is None:
        return None, None
    file.seek(0)
    lines = file.read(4096).decode("ascii", "replace").split("\n")[:-1]
    if not lines or not MARK.fullmatch(lines[0]):
        file.truncate(0)
        return None, None
    return lines[0], lines[1] if len(lines) > 1 and ID.fullmatch(lines[1]) else None


def _sweep(place: Path) -> None:
    """Remove what nobody has come for."""
    for path in place.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - KEPT and (file := _take(path)) is not None:
                Memo(path, file).forget()
