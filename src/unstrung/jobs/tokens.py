"""Who may ask: tokens with a name, an owner, scopes and limits. A token is shown once, kept as a digest, and revoked alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.limits import Allowance
from unstrung.jobs.store import Store
from unstrung.jobs.tables import tokens

# read: see one's own videos; write: make, change and remove them; admin: see and steer everybody's, and the figures
SCOPES = ("read", "write", "admin")
PREFIX = "unstrung"
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # 16 MiB and some 40 ms a guess (Percival 2009, RFC 7914)


@dataclass(frozen=True)
class Token:
    """What is known of a token; its secret is not."""

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    allowance: Allowance
    created_at: float
    revoked_at: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the token as JSON types."""
        return asdict(self)


class Tokens:
    """The tokens in a store. What was checked once is remembered by its digest, in this process alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._checked: dict[bytes, tuple[str, str]] = {}  # SHA-256 of a token -> id and digest that it was found to fit

    def create(
        self, name: str, owner: str | None = None, scopes: Sequence[str] = ("read", "write"), allowance: Allowance | None = None
    ) -> tuple[Token, str]:
        """Make a token and return it with its secret, which nobody can read again; raise `InvalidRequest` for bad names."""
        for what, value in (("name", name), ("owner", owner or name)):
            if not re.fullmatch(r"[\w.@+-]{1,64}", value):
                raise InvalidRequest(what, f"{what} is {value!r}; it must be 1 to 64 letters, digits and . _ @ + -")
        if not scopes or (unknown := [scope for scope in scopes if scope not in SCOPES]):
            raise InvalidRequest("scope", f"scope is '{unknown[0] if scopes else ''}'; there are: {', '.join(SCOPES)}.")
        allowance = allowance or Allowance()
        for limit in fields(allowance):
            value = getattr(allowance, limit.name)
            if value is not None and value <= 0:
                raise InvalidRequest(limit.name, f"{limit.name} is {value}; it must be above 0.")
        token = Token(secrets.token_hex(6), name, owner or name, tuple(scopes), allowance, time.time(), None)
        secret, salt = secrets.token_hex(24), secrets.token_hex(16)
        values = {
            "id": token.id, "name": name, "owner": token.owner, "scopes": json.dumps(token.scopes),
            "allowance": json.dumps(asdict(token.allowance)), "salt": salt, "digest": _digest(secret, salt),
            "created_at": token.created_at, "revoked_at": None,
        }  # fmt: skip
        try:
            with self._store.changing() as connection:
                connection.execute(insert(tokens).values(values))
        except IntegrityError:
            words = f"There is a token '{name}' already, or was: choose another name. See 'unstrung tokens list'."
            raise InvalidRequest("name", words, code="name_taken") from None
        return token, f"{PREFIX}_{token.id}_{secret}"

    def list(self) -> list[Token]:
        """Return all tokens, also those that were revoked, the oldest first."""
        with self._store.reading() as connection:
            return [_token_of(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]

    def revoke(self, name: str) -> Token:
        """End a token, at once and for ever; raise `UnstrungError` where there is none of this name."""
        with self._store.changing() as connection:
            named = tokens.c.name == name
            connection.execute(update(tokens).where(named, tokens.c.revoked_at.is_(None)).values(revoked_at=time.time()))
            row = connection.execute(select(tokens).where(named)).one_or_none()
        if row is None:
            raise UnstrungError("not_found", "name", f"There is no token '{name}': see 'unstrung tokens list'.")
        return _token_of(row)

    def find(self, text: str) -> Token | None:
        """Return the token that a text is; None where it is none, or none any more. The store is asked every time."""
        match = re.fullmatch(rf"{PREFIX}_([0-9a-f]{{12}})_([0-9a-f]{{48}})", text)
        if match is None:
            return None
        id, secret = match.groups()
        with self._store.reading() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == id, tokens.c.revoked_at.is_(None))).one_or_none()
        if row is None:
            return None
        seen = hashlib.sha256(text.encode()).digest()
        if self._checked.get(seen) != (id, row.digest):
            if not hmac.compare_digest(_digest(secret, row.salt), row.digest):
                return None
            self._checked[seen] = id, row.digest
        return _token_of(row)

    def ever(self) -> bool:
        """Say whether there is a token, or was one: who has given out tokens wants them asked for."""
        with self._store.reading() as connection:
            return connection.execute(select(tokens.c.id).limit(1)).first() is not None


def _digest(secret: str, salt: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), maxmem=2**26, **SCRYPT).hex()


def _token_of(row: Row[Any]) -> Token:
    allowance = Allowance(**json.loads(row.allowance))
    return Token(row.id, row.name, row.owner, tuple(json.loads(row.scopes)), allowance, row.created_at, row.revoked_at)
