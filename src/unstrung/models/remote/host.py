"""Speak to a host of the Videos API: one question at a time, whose answer has an end.

The key goes to the host that was named and to no other: redirects lead nowhere else. A host is trusted with prompts, and with
nothing on this machine: what it sends is counted while it comes, and what it says is shown without the key and without
characters that a terminal obeys.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from unstrung import __version__
from unstrung.errors import UnstrungError
from unstrung.models.remote.place import Place

SILENCE = 30.0  # seconds that a host may take for its next byte
FETCH_SECONDS = 1800.0  # for a whole answer, a film too
MOST_ANSWER, MOST_PICTURE = 2**20, 8 * 2**20  # bytes
MOST_WORDS = 600  # characters of what a host says that are shown
CHUNK = 2**16
SHORTEST_KEY = 6  # what is shorter is no secret, and may be part of any word

# what may be otherwise in a while; unless the host says a reason of its own that waiting does not mend
PASSING = {408, 425, 429, 500, 502, 503, 504}
LASTING = {"over_limit", "insufficient_quota", "missing_weights"}


class Trouble(Exception):
    """A host did not answer, or can't just now, and may be asked again: `after` so many seconds, where it said so.

    Where it was not `reached`, it has not heard the question; where it answered that it can't, `status` is its answer's.
    """

    def __init__(self, words: str, *, reached: bool = True, after: float = 0.0, status: int | None = None) -> None:
        super().__init__(words.rstrip("."))
        self.reached, self.after, self.status = reached, after, status


class Refusal(UnstrungError):
    """A host's no, with the status of its answer, in its own words."""

    def __init__(self, host: str, status: int, code: str, field: str | None, words: str) -> None:
        super().__init__(code, field, f"{host} says: {words}")
        self.status = status


class Host:
    """A host that can be asked. Raises `Trouble` for what may be tried again, `UnstrungError` kin for what may not."""

    def __init__(self, place: Place) -> None:
        self.place, self.name = place, place.name
        # what goes to this very machine goes through no proxy
        near = [ProxyHandler({})] if place.near else []
        self._opener = build_opener(_Stay(place), *near)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *,
        silence: float = SILENCE,
    ) -> tuple[dict[str, Any], Message]:  # fmt: skip
        """Return an answer's JSON object, in which the key is blotted out wherever the host repeats it, and its headers."""
        with self._open(method, path, body, headers or {}, silence) as answer:
            data = b"".join(self._parts(answer, MOST_ANSWER))
            said = answer.headers
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            words = f"{self.name} answers, but not as the Videos API does: check {self.place.url_from}."
            raise UnstrungError("remote_garbled", None, words)
        return self._blotted(document), said

    def picture(self, path: str) -> bytes:
        """Return a small file's bytes."""
        with self._open("GET", path, None, {}, SILENCE) as answer:
            return b"".join(self._parts(answer, MOST_PICTURE))

    def fetch(self, path: str, target: Path, most: int, tell: Callable[[int, int | None], None]) -> None:
        """Write a file of at most so many bytes; `tell` hears how many have come, and of how many, where the host says so."""
        with self._open("GET", path, None, {}, SILENCE) as answer, target.open("wb") as file:
            got, whole = 0, _length(answer)
            for part in self._parts(answer, most):
                try:
                    file.write(part)
                except OSError as error:
                    words = f"The film from {self.name} can't be kept until it is read: {error.strerror or error}."
                    raise UnstrungError("disk_full", None, words) from None
                got += len(part)
                tell(got, whole)

    def clean(self, words: Any) -> str:
        """Return what a host says as one line that can be shown: no key, no control characters, an end."""
        text = "".join(c if c.isprintable() else " " for c in self._blotted(str(words)))
        return " ".join(text.split())[:MOST_WORDS]

    def _open(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], silence: float) -> HTTPResponse:
        sent = {"User-Agent": f"unstrung/{__version__}", **headers}
        if self.place.key:
            sent["Authorization"] = f"Bearer {self.place.key}"
        try:
            answer: HTTPResponse = self._opener.open(Request(self.place.url + path, body, sent, method=method), timeout=silence)
        except HTTPError as error:
            with error:
                raise self._no(error) from None
        except URLError as error:  # before the whole question was sent
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                words = f"{self.name} can't be trusted: {self.clean(error.reason.verify_message)}."
                raise UnstrungError("remote_untrusted", None, words) from None
            raise Trouble(self._reason(error.reason), reached=False) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Trouble(self._reason(error)) from None
        return answer

    def _parts(self, answer: HTTPResponse, most: int) -> Iterator[bytes]:
        got, whole, end = 0, _length(answer), time.monotonic() + FETCH_SECONDS
        while True:
            if max(got, whole or 0) > most:
                words = f"{self.name} sends more than the {most} bytes that are taken for this."
                raise UnstrungError("too_large", None, words)
            try:
                part = answer.read1(CHUNK)
            except (OSError, HTTPException, ValueError) as error:
                raise Trouble(self._reason(error)) from None
            if not part:
                break
            got += len(part)
            yield part
            if time.monotonic() > end:
                words = f"{self.name} sends too slowly: {got} bytes in {FETCH_SECONDS:g} s."
                raise UnstrungError("remote_slow", None, words)
        if whole is not None and got < whole:
            raise Trouble(f"it broke off after {got} of {whole} bytes")

    def _no(self, error: HTTPError) -> Exception:
        """Return what an answer above 299 is: a refusal, or something that may pass."""
        try:
            document = json.loads(error.read(MOST_ANSWER))
        except (OSError, HTTPException, ValueError, RecursionError):
            document = None
        code, field, words = _envelope(document)
        words = self.clean(words or f"{error.code} {error.reason}")
        code = self.clean(code)[:64] if code else ""
        if error.code in PASSING and code not in LASTING:
            after = error.headers.get("Retry-After", "")
            return Trouble(words, after=min(float(after), 60.0) if after.isdecimal() else 0.0, status=error.code)
        if error.code == 401:
            words += f" ({self.place.key_from} is {'not the right one' if self.place.key else 'not set'}.)"
        if error.code in (404, 405) and not code and str(error.url).endswith("/videos"):
            words += f" ({self.place.url_from} is where /videos follows, and ends in /v1 as a rule.)"
        return Refusal(self.name, error.code, code or f"http_{error.code}", self.clean(field)[:64] if field else None, words)

    def _reason(self, reason: object) -> str:
        if isinstance(reason, TimeoutError):
            return "it takes too long"
        return self.clean(getattr(reason, "strerror", None) or reason or type(reason).__name__).lower()

    def _blotted(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(self.place.key, "***") if len(self.place.key) >= SHORTEST_KEY else value
        if isinstance(value, list):
            return [self._blotted(item) for item in value]
        if isinstance(value, dict):
            return {self._blotted(name): self._blotted(item) for name, item in value.items()}
        return value


class _Stay(HTTPRedirectHandler):
    """Follow what stays at the same address, and nothing else: elsewhere the key is not known, and not to be."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if req.get_method() == "GET" and (here.scheme, here.netloc) == (there.scheme, there.netloc):
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        where = "".join(c for c in f"{there.scheme}://{there.hostname or ''}" if c.isprintable())[:200]
        words = (
            f"{self.place.name} sends on to {where}, where the key must not go: set {self.place.url_from} to the last address."
        )
        raise UnstrungError("remote_moved", None, words)


def form(fields: Mapping[str, Any], picture: bytes | None) -> tuple[bytes, str]:
    """Return fields, and a picture as a file, as a form's body and its type."""
    mark = secrets.token_hex(16)
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    body = "".join(parts).encode()
    if picture is not None:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="input_reference"; filename="first.png"\r\n'
        body += f"{head}Content-Type: image/png\r\n\r\n".encode() + picture + b"\r\n"
    return body + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def _length(answer: HTTPResponse) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return int(said[:18]) if said.isdecimal() and said.isascii() else None


def _envelope(document: Any) -> tuple[str, str, str]:
    """Return code, field and words of an error, as OpenAI's servers write it, or FastAPI's, or whoever has a message."""
    if not isinstance(document, dict):
        return "", "", ""
    said = document.get("error", document)
    detail = document.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        place = detail[0].get("loc")
        field = str(place[-1]) if isinstance(place, list) and place else ""
        return str(detail[0].get("type") or ""), field, f"{field}: {detail[0].get('msg')}"
    if isinstance(detail, str):
        return "", "", detail
    if isinstance(said, str):
        return "", "", said
    if not isinstance(said, dict):
        return "", "", ""
    return tuple(str(said.get(name) or "") for name in ("code", "param", "message"))  # type: ignore[return-value]
