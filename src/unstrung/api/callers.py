"""Who is asking, what they may do, and how often: bearer tokens, scopes and rates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from unstrung.api.guests import Guests
from unstrung.errors import UnstrungError
from unstrung.jobs.limits import Allowance
from unstrung.jobs.tokens import SCOPES, Tokens

WRONG_A_MINUTE = 30  # tokens that don't fit, from one address
COOKIE = "unstrung"  # holds a token, or a guest's pass, where somebody came through the page
STALE = 0.5  # seconds that somebody may go on to be answered whose token was revoked meanwhile
MOST_REMEMBERED = 10_000  # addresses and tokens whose pace is kept in mind

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="A token of this host, where it has given out any.")),
]
Cookie = Annotated[
    str | None, Security(APIKeyCookie(name=COOKIE, auto_error=False, description="The same, as the host's own page sends it."))
]


class Denied(UnstrungError):
    """Nobody knows the caller."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_api_key", None, message)


class Forbidden(UnstrungError):
    """The caller is known and may not do this."""

    def __init__(self, message: str) -> None:
        super().__init__("insufficient_scope", None, message)


class TooMany(UnstrungError):
    """The caller asks too often; `seconds` from now there is room for one more."""

    def __init__(self, seconds: float, message: str) -> None:
        super().__init__("rate_limited", None, message)
        self.seconds = seconds


@dataclass(frozen=True)
class Caller:
    """Who asks: `owner` is whose their videos are, `sees` whose they may see; None is nobody's, and everybody's."""

    name: str
    owner: str | None
    sees: str | None
    scopes: tuple[str, ...]
    allowance: Allowance


HOST = Caller("host", None, None, SCOPES, Allowance())  # on a machine that has given out no tokens, whoever sits at it


class Rates:
    """Let each key through so many times a minute, all at once or spread (a token bucket)."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # how many more, as of when
        self._lock = threading.Lock()

    def take(self, key: str, a_minute: int) -> float:
        """Let one through and return 0; where there were too many, return after how many seconds there is room."""
        with self._lock:
            now = time.monotonic()
            left, since = self._left.pop(key, (float(a_minute), now))
            left = min(float(a_minute), left + (now - since) * a_minute / 60)
            passed = left >= 1
            if len(self._left) >= MOST_REMEMBERED:
                self._left.pop(next(iter(self._left)))  # who has been silent longest
            self._left[key] = left - passed, now
            return 0.0 if passed else (1 - left) * 60 / a_minute


class Door:
    """Knows callers by their tokens. Tokens are asked for as soon as there is one, and always where `guarded` says so."""

    def __init__(self, tokens: Tokens, *, guarded: bool, guests: Guests | None = None) -> None:
        self._tokens, self._guarded, self.guests = tokens, guarded, guests
        self.rates = Rates()
        self._valid: frozenset[str] = frozenset()  # names of tokens, as of when
        self._looked = -STALE

    def may(self, scope: str) -> Callable[[Request, Credentials, Cookie], Caller]:
        """Return a dependency that gives the caller; it raises `Denied`, `Forbidden` or `TooMany`."""

        def caller(request: Request, credentials: Credentials, cookie: Cookie) -> Caller:
            found = self.know(credentials.credentials if credentials else cookie or "", address_of(request))
            request.state.caller = found
            check_scope(found, scope)
            return found

        return caller

    def is_open(self) -> bool:
        """Say whether whoever sits at this machine may come in without a token, and others can't come at all."""
        if not self._guarded:
            self._guarded = self._tokens.ever()  # from then on: that the last one is revoked opens no door
        return not self._guarded

    def know(self, text: str, address: str, *, paced: bool = True) -> Caller:
        """Return who comes with a token, or with a guest's pass, from an address; raise `Denied` or `TooMany`.

        What is not `paced` does not count as one of the times that a token may ask in a minute.
        """
        if self.is_open() and self.guests is None:
            return HOST
        if self.guests is not None and (owner := self.guests.owner_of(text)):
            if paced:
                self._pace(owner, self.guests.allowance)
            return Caller(owner, owner, owner, ("read", "write"), self.guests.allowance)
        token = self._tokens.find(text)
        if token is None:
            wait = self.rates.take(f"wrong {address}", WRONG_A_MINUTE)
            if wait:
                raise TooMany(wait, "Too many wrong tokens from this address: wait, and try again.")
            raise Denied("This server asks for a token that it has given out: send it as 'Authorization: Bearer ...'.")
        if paced:
            self._pace(token.id, token.allowance)
        sees = None if "admin" in token.scopes else token.owner
        return Caller(token.name, token.owner, sees, token.scopes, token.allowance)

    def _pace(self, id: str, allowance: Allowance) -> None:
        if allowance.requests_a_minute is None:
            return
        wait = self.rates.take(id, allowance.requests_a_minute)
        if wait:
            raise TooMany(wait, f"This token may ask {allowance.requests_a_minute} times a minute: wait {wait:.1f} s.")

    def holds(self, caller: Caller) -> bool:
        """Say whether somebody who was let in may still be here, as of a moment ago: for answers that go on and on."""
        if time.monotonic() - self._looked > STALE:
            tokens = self._tokens.list()
            self._valid = frozenset(token.name for token in tokens if token.revoked_at is None)
            self._guarded = self._guarded or bool(tokens)
            self._looked = time.monotonic()
        if self.guests is not None and self.guests.is_guest(caller.owner):
            return True
        return not self._guarded if caller == HOST else caller.name in self._valid


def address_of(request: HTTPConnection) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else ""


def check_scope(caller: Caller, scope: str) -> None:
    """Raise `Forbidden` where somebody may not do this."""
    if scope not in caller.scopes:
        raise Forbidden(f"The token '{caller.name}' may {', '.join(caller.scopes)}; this takes '{scope}'.")
