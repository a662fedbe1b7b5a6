"""How somebody signs the host's open letter: they begin, prove who they are, and only then there is a signature.

What waits for its proof is private, and forgotten when its time is over. A statement, a token and a code are good for one letter,
one name and one signature: they are bound to what was begun, and can't be used again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.letter import (
    KEYS,
    Kind,
    Letter,
    Signature,
    append,
    check_name,
    page_mark,
    read_key,
    spellings,
    statement_of,
    token_of,
)
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.proofs import BadProof, check_installed
from unstrung.jobs.store import NotFound, Store
from unstrung.jobs.tables import signing

HOUR, WEEK = 3600.0, 7 * 86400.0  # seconds that a code is good for, and everything else
TRIES = {Kind.MAIL: 5}  # codes that may be wrong
OTHER_TRIES = 20  # of proofs of other kinds: whoever begins a page's could else have this host ask for it for ever
MOST_MAILS, MOST_MAILS_EACH = 100, 3  # an hour: to all addresses, and to one
MOST_WAITING = 10_000  # signings of one kind that wait for their proof; of more, the oldest are forgotten
LONGEST_PAGE = 500  # characters of an address
SIGNING_LOCK = 0x7369676E  # of PostgreSQL's advisory locks: "sign"
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # a code has 8 digits: each guess shall cost something, had somebody the table

Fetch = Callable[[str], bytes]  # what is at an address, or an `UnstrungError`
Send = Callable[[str, str, Letter], None]  # brings a code to an address, or raises `UnstrungError`


@dataclass(frozen=True)
class Signing:
    """A signature that waits for its proof, for whoever began it: `statement` is to be signed, or `token` put on the page."""

    id: str
    letter: str
    kind: Kind
    name: str
    address: str | None
    statement: str | None
    token: str | None
    expires_at: float


class NoSuchSigning(NotFound):
    """Nothing like it waits."""

    def __init__(self, id: str) -> None:
        words = f"Nobody has begun to sign under the id {id[:60]!r}, or too long ago: begin again."
        super(NotFound, self).__init__("not_found", "signing_id", words)


@dataclass(frozen=True)
class Letterbox:
    """A letter that can be signed here, and in which ways: pages where this host asks for them, mail where it can send any."""

    store: Store
    letter: Letter
    fetch: Fetch | None = None
    send: Send | None = None
    insecure: bool = False  # pages by http too: for tests

    def __post_init__(self) -> None:
        check_installed()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the ways in which one can sign here."""
        offered = {Kind.PAGE: self.fetch is not None, Kind.MAIL: self.send is not None}
        return tuple(kind for kind in Kind if offered.get(kind, True))

    def begin(self, name: str, kind: str, address: str | None = None) -> Signing:
        """Do as `begin` does, for the ways that there are here."""
        if kind not in self.kinds:
            raise InvalidRequest("kind", f"kind is {kind[:60]!r}; here it must be one of: {', '.join(self.kinds)}.")
        return begin(self.store, self.letter, name, Kind(kind), address, send=self.send, insecure=self.insecure)

    def prove(
        self, id: str, *, signature: str | None = None, public_key: str | None = None, code: str | None = None
    ) -> Signature:
        """Take the proof that fits what was begun: a key's signature, a code, or for a page nothing, for it is asked for."""
        kind = Kind(_open(self.store, self.letter, id).kind)
        given = {"signature": signature, "public_key": public_key, "code": code}
        fitting = {Kind.PAGE: (), Kind.MAIL: ("code",)}.get(kind, ("signature", "public_key"))
        if odd := [name for name, value in given.items() if value is not None and name not in fitting]:
            raise InvalidRequest(odd[0], f"{odd[0]} is not what proves a signing of the kind '{kind}'.")
        if kind in KEYS:
            return prove_key(self.store, self.letter, id, _given("signature", signature), public_key)
        if kind is Kind.MAIL:
            return prove_mail(self.store, self.letter, id, _given("code", code))
        if self.fetch is None:
            raise InvalidRequest("signing_id", "This host asks for no pages: sign with a key.")
        return prove_page(self.store, self.letter, id, self.fetch, insecure=self.insecure)


def begin(
    store: Store, letter: Letter, name: str, kind: Kind, address: str | None = None, *, send: Send | None = None,
    insecure: bool = False,
) -> Signing:  # fmt: skip
    """Begin to sign a letter by a name; a page has an address to put a token at, and a mail address is sent a code by `send`.

    Raises `InvalidRequest`, `OverLimit` where too many codes were sent within the hour, and what `send` raises.
    """
    name = check_name(name)
    if kind in KEYS and address is not None:
        raise InvalidRequest("address", f"address is for pages and mail; with kind '{kind}' there is none.")
    if kind is Kind.PAGE:
        address = _given("address", address).strip(" ")
        read_page(address, insecure=insecure)
    if kind is Kind.MAIL:
        address = check_mail(_given("address", address))
        assert send is not None, "who offers to sign by mail can send some"
    id, code, now = f"signing_{secrets.token_hex(16)}", f"{secrets.randbelow(10**8):08}", time.time()
    hashed = _hash(code, id) if kind is Kind.MAIL else None  # takes its time, in which others may write
    with store.changing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            connection.execute(select(func.pg_advisory_xact_lock(SIGNING_LOCK)))
        _make_room(connection, kind, address, now)
        row = connection.execute(
            insert(signing).values(
                id=id, letter=letter.digest, kind=kind, name=name, address=address,
                nonce=secrets.token_hex(16), code=hashed, attempts=TRIES.get(kind, OTHER_TRIES), created_at=now,
                expires_at=now + (HOUR if kind is Kind.MAIL else WEEK),
            ).returning(signing)
        ).one()  # fmt: skip
    if address is not None and send is not None and kind is Kind.MAIL:
        send(address, code, letter)
    return _signing_of(row)


def prove_key(store: Store, letter: Letter, id: str, signature_text: str, public_key: str | None = None) -> Signature:
    """Sign with what a key has signed; raise `BadProof`, `AlreadySigned`, `NoSuchSigning`, and `UnstrungError` as `_try` does.

    `public_key` is needed for minisign; an SSH signature has its own in it.
    """
    row = _try(store, letter, id, *KEYS)
    proof = read_key(Kind(row.kind), signature_text, public_key)
    said = next((words for words in spellings(_statement(row)) if proof.holds(words.encode())), None)
    if said is None:
        words = "signature does not fit: sign the statement of this signing, as it is, to the byte, with the key that you name."
        raise BadProof("signature", words)
    return _sign(
        store, row, signer=proof.signer, mark=proof.mark, statement=said, public_key=proof.public_key, signature=proof.signature
    )


def prove_page(store: Store, letter: Letter, id: str, fetch: Fetch, *, insecure: bool = False) -> Signature:
    """Sign as a page on which the token is; raise as `prove_key` does, and what `fetch` raises."""
    row = _try(store, letter, id, Kind.PAGE)
    statement, signer = _statement(row), read_page(row.address, insecure=insecure)
    if token_of(statement).encode() not in fetch(row.address):
        raise BadProof("address", f"The token is not on the page {signer}: put {token_of(statement)} into its text.")
    return _sign(store, row, signer=signer, mark=page_mark(signer), statement=statement)


def prove_mail(store: Store, letter: Letter, id: str, code: str) -> Signature:
    """Sign with the code that came by mail; raise as `prove_key` does. A wrong code is one of five."""
    digits = re.sub(r"\s", "", code[:40])
    if re.fullmatch("[0-9]{8}", digits) is None:
        raise InvalidRequest("code", "code must be the 8 digits that were sent.")  # and is no try
    row = _try(store, letter, id, Kind.MAIL)
    if not hmac.compare_digest(_hash(digits, id), row.code):
        left = f"{row.attempts} more may be" if row.attempts else "it was the last that could be"
        raise BadProof("code", f"code is not the one that was sent; {left} tried.")
    # only this store can derive the mark, or whoever guesses addresses could find out who has signed
    key = hmac.digest(store.secret(), b"letter " + letter.digest.encode(), "sha256")
    mark = hmac.digest(key, row.address.lower().encode(), "sha256").hex()
    return _sign(store, row, signer=masked(row.address), mark=mark)


def read_page(url: str, *, insecure: bool = False) -> str:
    """Return a page's host and path, by which it signs; raise `InvalidRequest`, also for what could be written otherwise."""
    scheme = "https?" if insecure else "https"
    sign = r"[A-Za-z0-9._~!$&'()*+,;=:@-]|%20|%[89A-F][0-9A-F]"
    found = re.fullmatch(rf"({scheme})://([A-Za-z0-9.-]*[A-Za-z0-9])(?::([0-9]{{1,5}}))?((?:/(?:{sign})+)*/?)", url, re.A)
    if found is None or len(url) > LONGEST_PAGE or {".", ".."} & set(found[4].split("/")):
        words = f"address is {url[:100]!r}; it must be like https://example.org/about, without ? and #, and not ASCII as %C3%A9."
        raise InvalidRequest("address", words)
    usual = found[3] is None or int(found[3]) == (443 if found[1] == "https" else 80)
    return f"{found[2].lower()}{'' if usual else f':{int(found[3])}'}{found[4] or '/'}"


def check_mail(address: str) -> str:
    """Return a mail address that is one beyond doubt, and no header; raise `InvalidRequest`."""
    local, _, domain = address.strip(" ").rpartition("@")
    atom, label = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    known = re.fullmatch(rf"{atom}(\.{atom})*", local) and re.fullmatch(rf"({label}\.)+(?![0-9]+$){label}", domain)
    if not known or len(local) > 64 or len(domain) > 253:
        raise InvalidRequest("address", f"address is {address[:100]!r}; it must be like ann@example.org.")
    return f"{local}@{domain.lower()}"


def masked(address: str) -> str:
    """Return as much of a mail address as everybody may see: a…@example.org."""
    local, _, domain = address.rpartition("@")
    return f"{local[0]}…@{domain}"


def _make_room(connection: Connection, kind: Kind, address: str | None, now: float) -> None:
    """Forget what has expired, and the oldest where too much waits; raise `OverLimit` for too many mails within the hour."""
    c = signing.c
    connection.execute(delete(signing).where(c.expires_at < now))
    if kind is Kind.MAIL:
        # of an hour all are here still, used or not; an address that is written in two ways may be the same
        sent = select(func.count()).select_from(signing).where(c.kind == kind, c.created_at > now - HOUR)
        assert address is not None
        if connection.execute(sent.where(func.lower(c.address) == address.lower())).scalar_one() >= MOST_MAILS_EACH:
            raise OverLimit("address", f"{MOST_MAILS_EACH} codes were sent to this address within an hour: wait, and look there.")
        if connection.execute(sent).scalar_one() >= MOST_MAILS:
            raise OverLimit("address", f"This host has sent {MOST_MAILS} codes within an hour, and sends no more: try later.")
        return
    # who floods the host pushes out what waits, but keeps nobody from signing who is quick
    kept = select(c.created_at).where(c.kind == kind).order_by(c.created_at.desc()).offset(MOST_WAITING - 1).limit(1)
    oldest = connection.execute(kept).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(signing).where(c.kind == kind, c.created_at <= oldest))


def _open(store: Store, letter: Letter, id: str, *kinds: Kind) -> Row[Any]:
    """Return what was begun; raise `UnstrungError` where no proof will do any more."""
    if re.fullmatch("signing_[0-9a-f]{32}", id) is None:
        raise NoSuchSigning(id)
    with store.reading() as connection:
        row = connection.execute(select(signing).where(signing.c.id == id)).one_or_none()
    if row is None:
        raise NoSuchSigning(id)
    if kinds and row.kind not in kinds:
        raise InvalidRequest("signing_id", f"This signing is of the kind '{row.kind}', and its proof another than was given.")
    if row.number is not None:
        raise UnstrungError("used", "signing_id", f"This has become signature {row.number}; for another one, begin again.")
    if row.letter != letter.digest:
        raise UnstrungError("letter_changed", "signing_id", "The letter was changed meanwhile: read it, and begin again.")
    if row.expires_at < time.time():
        raise UnstrungError("expired", "signing_id", "The time for the proof is over: begin again.")
    return row


def _try(store: Store, letter: Letter, id: str, *kinds: Kind) -> Row[Any]:
    """Return what `_open` does, with one try less, which is written down before anything is looked at."""
    _open(store, letter, id, *kinds)
    c = signing.c
    with store.changing() as connection:
        less = update(signing).where(c.id == id, c.attempts > 0, c.number.is_(None)).values(attempts=c.attempts - 1)
        row = connection.execute(less.returning(signing)).one_or_none()
    if row is None:
        raise UnstrungError("no_tries", "signing_id", "There were too many wrong proofs: begin again.")
    return row


def _sign(store: Store, row: Row[Any], **fields: Any) -> Signature:
    """Write the signature into the log, and what was begun is used up: both or neither."""
    values = {"statement": None, "public_key": None, "signature": None, **fields}
    c = signing.c
    with store.changing() as connection:
        line = append(connection, time.time(), letter=row.letter, kind=Kind(row.kind), name=row.name, **values)
        # the address is nobody's business any more
        used = update(signing).where(c.id == row.id, c.number.is_(None)).values(number=line.number, address=None, code=None)
        if not connection.execute(used).rowcount:
            raise UnstrungError("used", "signing_id", "This was signed just now; for another signature, begin again.")
    return line


def _statement(row: Row[Any]) -> str:
    page = read_page(row.address, insecure=True) if row.kind == Kind.PAGE else None
    return statement_of(row.letter, row.name, row.nonce, page)


def _signing_of(row: Row[Any]) -> Signing:
    statement = _statement(row) if row.kind != Kind.MAIL else None
    token = token_of(statement) if statement and row.kind == Kind.PAGE else None
    return Signing(row.id, row.letter, Kind(row.kind), row.name, row.address, None if token else statement, token, row.expires_at)


def _given(field: str, value: str | None) -> str:
    if value is None:
        raise InvalidRequest(field, f"{field} is missing.", code="missing_required_parameter")
    return value


def _hash(code: str, salt: str) -> str:
    return hashlib.scrypt(code.encode(), salt=salt.encode(), maxmem=2**26, **SCRYPT).hex()
