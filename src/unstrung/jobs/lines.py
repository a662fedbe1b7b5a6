"""What the files of a batch hold, line by line: requests in, answers out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDPOINT = "/v1/videos"
LINE_BYTES = 32 * 2**20  # of one line: as much as of any other body
MOST_ERRORS = 100  # that are told of one file


@dataclass(frozen=True)
class Line:
    """A request in a batch: its line in the file, counted from 1, the name that its maker gave it, and its body."""

    number: int
    custom_id: str
    body: dict[str, Any]


@dataclass(frozen=True)
class LineError:
    """What is wrong with an input file, at a line where one is at fault."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


def read_lines(path: Path) -> Iterator[Line | LineError]:
    """Read requests or what is wrong with them, a line at a time; lines of nothing but space are passed over."""
    with path.open("rb") as file:
        number = 0
        while text := file.readline(LINE_BYTES + 1):
            number += 1
            if len(text) > LINE_BYTES:
                yield LineError("line_too_long", f"Line {number} has more than {LINE_BYTES} bytes.", number)
                return
            if text.strip():
                yield _read(number, text)


def check(path: Path, most_lines: int) -> list[LineError]:
    """Read a whole file and return what is wrong with it; nothing where it can be made."""
    errors: list[LineError] = []
    seen: set[bytes] = set()  # digests, so that fifty thousand long names take little room
    count = 0
    for line in read_lines(path):
        count += 1
        if count > most_lines:
            errors.append(LineError("too_many_lines", f"The file has more than {most_lines} requests."))
            break
        if isinstance(line, Line):
            key = hashlib.sha256(line.custom_id.encode()).digest()
            if key in seen:
                words = f"custom_id '{line.custom_id}' is given twice; each must be its own."
                errors.append(LineError("duplicate_custom_id", words, line.number, "custom_id"))
            seen.add(key)
        else:
            errors.append(line)
        if len(errors) >= MOST_ERRORS:
            break
    if not count:
        errors.append(LineError("empty_file", "The file has no requests: a batch needs at least one line."))
    return errors


def _read(number: int, text: bytes) -> Line | LineError:
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        return LineError("invalid_json_line", "This line is not JSON.", number)
    if not isinstance(asked, dict):
        return LineError("invalid_json_line", "This line is not a JSON object.", number)
    id = asked.get("custom_id")
    if not isinstance(id, str) or not 1 <= len(id) <= 512 or not id.isprintable():
        words = f"custom_id is {_short(id)}; it must be text of 1 to 512 printable characters."
        return LineError("invalid_custom_id", words, number, "custom_id")
    if asked.get("method") != "POST":
        return LineError("invalid_method", f"method is {_short(asked.get('method'))}; it must be POST.", number, "method")
    if asked.get("url") != ENDPOINT:
        words = f"url is {_short(asked.get('url'))}; this batch takes {ENDPOINT}."
        return LineError("invalid_url", words, number, "url")
    if not isinstance(asked.get("body"), dict):
        return LineError("invalid_body", "body must be a JSON object.", number, "body")
    return Line(number, id, asked["body"])


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}...")
    return "missing" if value is None else f"of type {type(value).__name__}"


def key_of(batch: str, what: int | str) -> str:
    """Return 32 hex digits that are a batch's own for a line or a file of it: whoever drives it finds the same ones."""
    return hashlib.sha256(f"{batch}:{what}".encode()).hexdigest()[:32]


def answer(batch: str, number: int, custom_id: str, result: dict[str, Any]) -> bytes:
    """Return a line of an output or error file; `result` holds `response` and `error`."""
    line = {"id": f"batch_req_{key_of(batch, number)}", "custom_id": custom_id, **result}
    return json.dumps(line).encode() + b"\n"
