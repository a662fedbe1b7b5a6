"""Speak to a host of the Videos API by its official client: one question at a time, whose answer has an end.

The key goes to the host that was named and to no other: redirects lead nowhere else. A host is trusted with prompts, and with
nothing on this machine: what it sends is counted while it comes, and what it says is shown without the key and without
characters that a terminal obeys.
"""

from __future__ import annotations

import json
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2  # what the client speaks through, and comes with it
import openai

from unstrung import __version__
from unstrung.errors import UnstrungError
from unstrung.models.remote.place import Place

SILENCE, GOODBYE = 30.0, 10.0  # seconds that a host may take for its next byte; for hearing that nobody waits any more
FETCH_SECONDS = 1800.0  # for a whole answer, a film too
MOST_ANSWER = 2**20  # bytes
MOST_WORDS = 600  # characters of what a host says that are shown
SHORTEST_KEY = 6  # what is shorter is no secret, and may be part of any word

# what may be otherwise in a while; unless the host says a reason of its own that waiting does not mend
PASSING = {408, 425, 429, 500, 502, 503, 504}
LASTING = {"over_limit", "insufficient_quota", "missing_weights"}
# what happens before the whole question was sent
UNHEARD = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.WriteError, httpx2.WriteTimeout)

Answer = tuple[dict[str, Any], Mapping[str, str]]  # a JSON object, and what its headers say


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


class _Client(openai.OpenAI):
    """The official client, which takes no headers from OPENAI_* variables, and says nothing of this machine."""

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        return {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"unstrung/{__version__}"}


class Host:
    """A host that can be asked. Raises `Trouble` for what may be tried again, `UnstrungError` kin for what may not."""

    def __init__(self, place: Place) -> None:
        self.place, self.name = place, place.name
        # the service that the client was made for has gone, which is nothing to those who ask another
        warnings.filterwarnings("ignore", "The Sora API", DeprecationWarning, r"openai\._response")
        hooks: dict[str, list[Any]] = {"request": [self._stay], "response": [self._hear]}
        try:
            near = httpx2.HTTPTransport() if place.near else None  # what goes to this very machine goes through no proxy
            sender = httpx2.Client(transport=near, follow_redirects=True, max_redirects=10, event_hooks=hooks)
        except (OSError, ImportError, ValueError, httpx2.InvalidURL):  # whose words may show a proxy's password
            words = f"{self.name} can't be asked: check SSL_CERT_FILE, HTTPS_PROXY, ALL_PROXY (pip install 'httpx2[socks]')."
            raise UnstrungError("remote_environment", None, words) from None
        key = place.key or "none"  # which the client wants, and _stay does not send
        self._client = _Client(base_url=place.url, api_key=key, max_retries=0, timeout=SILENCE, http_client=sender)
        self._videos: Any = self._client.videos.with_streaming_response

    def create(self, name: str, fields: Mapping[str, Any], extras: Mapping[str, Any]) -> Answer:
        """Ask for a video in a question of this name, in the API's own fields and in those that it never had."""
        return self._read(lambda: self._videos.create(**fields, extra_body=extras, extra_headers={"Idempotency-Key": name}))

    def retrieve(self, id: str) -> Answer:
        """Return a video as it is now."""
        return self._read(lambda: self._videos.retrieve(id))

    def recipe(self, id: str) -> Answer:
        """Return how a video was made, which hosts of our own kind say."""
        return self._read(lambda: self._else(self._client.get, id, "recipe"))

    def cancel(self, id: str) -> None:
        """Stop a video, as hosts of our kind do it, or else as the API has it."""
        try:
            self._read(lambda: self._else(self._client.post, id, "cancel", timeout=GOODBYE))
        except Refusal as no:
            if no.status in (404, 405, 501):
                self._read(lambda: self._videos.delete(id, timeout=GOODBYE))

    def fetch(self, id: str, target: Path, most: int, tell: Callable[[int, int], None], **query: str) -> None:
        """Write a film of at most so many bytes; `tell` hears how many have come, and of how many, or 0."""
        with self._open(lambda: self._videos.download_content(id, extra_query=query)) as answer, target.open("wb") as file:
            for part in self._parts(answer, most):
                try:
                    file.write(part)
                except OSError as error:
                    words = f"The film from {self.name} can't be kept until it is read: {error.strerror or error}."
                    raise UnstrungError("disk_full", None, words) from None
                tell(answer.num_bytes_downloaded, int(answer.headers.get("Content-Length", 0)))

    def clean(self, words: Any) -> str:
        """Return what a host says as one line that can be shown: no key, no control characters, an end."""
        return " ".join("".join(c if c.isprintable() else " " for c in self._blotted(str(words))).split())[:MOST_WORDS]

    def _else(self, ask: Callable[..., Any], id: str, what: str, **options: Any) -> Any:
        """Ask what the client's videos have no method for."""
        stream = openai.Stream[object]
        return ask(f"/videos/{quote(id, safe='')}/{what}", cast_to=object, options=options, stream=True, stream_cls=stream)

    def _read(self, ask: Callable[[], Any]) -> Answer:
        """Return an answer, in which the key is blotted out wherever the host repeats it."""
        with self._open(ask) as answer:
            data = b"".join(self._parts(answer, MOST_ANSWER))
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            words = f"{self.name} answers, but not as the Videos API does: check {self.place.url_from}."
            raise UnstrungError("remote_garbled", None, words)
        return self._blotted(document), answer.headers

    @contextmanager
    def _open(self, ask: Callable[[], Any]) -> Iterator[httpx2.Response]:
        """Give an answer of which nothing is read yet."""
        try:
            with ask() as answer:
                yield answer.response if isinstance(answer, openai.Stream) else answer.http_response
        except (openai.APIConnectionError, httpx2.RequestError) as error:
            raise self._trouble(error) from None

    def _stay(self, request: httpx2.Request) -> None:
        """Let nothing go elsewhere than to the host that was named: there the key is not known, and not to be."""
        if not self.place.key:
            request.headers.pop("Authorization", None)
        if request.url.origin != self._client.base_url.origin:
            where = self.clean(f"{request.url.scheme}://{request.url.host}")[:200]
            words = f"{self.name} sends on to {where}, where the key must not go: set {self.place.url_from} to the last address."
            raise UnstrungError("remote_moved", None, words)

    def _hear(self, response: httpx2.Response) -> None:
        """Judge an answer by its head; the client would read all of one that says no, however much that is."""
        if response.has_redirect_location:
            response.stream.close()  # type: ignore[union-attr]
            response.stream = httpx2.ByteStream(b"")
        elif not response.is_success:
            raise self._no(response)

    def _parts(self, answer: httpx2.Response, most: int) -> Iterator[bytes]:
        """Give an answer's bytes as they come, no more than so many, and not for longer than a host may take."""
        end, whole = time.monotonic() + FETCH_SECONDS, int(answer.headers.get("Content-Length", 0))
        for part in chain([b""], answer.iter_raw()):  # how much it will be may be said before anything comes
            if max(got := answer.num_bytes_downloaded, whole) > most:
                raise UnstrungError("too_large", None, f"{self.name} sends more than the {most} bytes that are taken for this.")
            if time.monotonic() > end:
                raise UnstrungError("remote_slow", None, f"{self.name} sends too slowly: {got} bytes in {FETCH_SECONDS:g} s.")
            yield part

    def _no(self, answer: httpx2.Response) -> Exception:
        """Return what an answer other than 2xx is: a refusal, or something that may pass."""
        try:
            document = json.loads(b"".join(self._parts(answer, MOST_ANSWER)))
        except (httpx2.RequestError, UnstrungError, ValueError, RecursionError):
            document = None
        status, (code, field, words) = answer.status_code, _envelope(document)
        words = self.clean(words or f"{status} {answer.reason_phrase}")
        code = self.clean(code)[:64] if code else ""
        if status in PASSING and code not in LASTING:
            after = answer.headers.get("Retry-After", "")
            return Trouble(words, after=min(float(after), 60.0) if after.isdecimal() else 0.0, status=status)
        if status == 401:
            words += f" ({self.place.key_from} is {'not the right one' if self.place.key else 'not set'}.)"
        if status in (404, 405) and not code and answer.url.path.endswith("/videos"):
            words += f" ({self.place.url_from} is where /videos follows, and ends in /v1 as a rule.)"
        return Refusal(self.name, status, code or f"http_{status}", self.clean(field)[:64] if field else None, words)

    def _trouble(self, error: Exception) -> Exception:
        """Return what it is that no whole answer came: something that may pass, or not."""
        causes: list[BaseException] = [error]
        while (under := causes[-1].__cause__) is not None:
            causes.append(under)
        late, unheard = (any(isinstance(cause, kind) for cause in causes) for kind in (httpx2.TimeoutException, UNHEARD))
        said = next((word for word in causes[-1].args if isinstance(word, Exception)), causes[-1])  # the system's own
        if isinstance(said, ssl.SSLCertVerificationError):
            return UnstrungError("remote_untrusted", None, f"{self.name} can't be trusted: {self.clean(said.verify_message)}.")
        words = "it takes too long" if late else getattr(said, "strerror", None) or str(said) or type(said).__name__
        return Trouble(self.clean(words).lower(), reached=not unheard)

    def _blotted(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(self.place.key, "***") if len(self.place.key) >= SHORTEST_KEY else value
        if isinstance(value, list):
            return [self._blotted(item) for item in value]
        if isinstance(value, dict):
            return {self._blotted(name): self._blotted(item) for name, item in value.items()}
        return value


def _envelope(document: Any) -> Iterator[str]:
    """Give code, field and words of an error, as OpenAI's servers write it, or FastAPI's, or whoever has a message."""
    said = document if isinstance(document, dict) else {}
    said = said.get("error") or said.get("detail") or said
    if isinstance(said, list) and isinstance(said[0], dict):
        place = said[0].get("loc")
        field = place[-1] if isinstance(place, list) and place else ""
        said = {"code": said[0].get("type"), "param": field, "message": f"{field}: {said[0].get('msg')}"}
    said = said if isinstance(said, dict) else {"message": said}
    return (str(said.get(name) or "") for name in ("code", "param", "message"))
