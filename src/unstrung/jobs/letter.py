"""The host's open letter, and the log of who has signed it, which anybody can check.

A line of the log is a signature whose proof was there: nothing waits in it, and nothing in it is ever changed. Every line holds
the digest of the line before it, so that a line that was changed, or is missing, is seen by whoever reads on. A line belongs to
the SHA-256 of the text that was signed, never to another text: a letter that changes begins with no signatures.

What a key signed can be checked by everybody, for ever. Of a page and of a mail address, the log says that this host saw the
proof, and no more. How a signature comes about is in `signing`, how keys are verified in `proofs`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.proofs import BadProof, KeyProof, read_minisign, read_ssh
from unstrung.jobs.store import Store
from unstrung.jobs.tables import signatures

MOST_LETTER = 200_000  # bytes
LONGEST_TITLE = 200  # characters
LONGEST_NAME = 100  # characters
JOINERS = "\u200c\u200d"
START = "0" * 64  # what the first line holds for the digest of the one before it
VERSION = 1  # of a line, and of what is signed
LOG_LOCK = 0x6C657474  # of PostgreSQL's advisory locks: "lett"
TOGETHER = 500  # lines in one question


class Kind(StrEnum):
    """How a signer proves who signs."""

    SSH = "ssh"
    MINISIGN = "minisign"
    PAGE = "page"
    MAIL = "mail"


KEYS = (Kind.SSH, Kind.MINISIGN)  # whose proof is in the log, for everybody to check


@dataclass(frozen=True)
class Letter:
    """An open letter: Markdown, as its host wrote it."""

    text: str

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the text's bytes: of the file, as it is."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def title(self) -> str:
        """Return the first line that has words, without Markdown's marks."""
        lines = (line.strip("\ufeff#*_ \t\r") for line in self.text.split("\n"))
        return next((line for line in lines if line), "")[:LONGEST_TITLE]


@dataclass(frozen=True)
class Signature:
    """A line of the log. `signer` is who is seen to have signed; `mark` is what may sign a letter only once."""

    number: int
    at: int  # seconds since 1970
    letter: str
    kind: Kind
    name: str  # as the signer gave it; nothing proves that it is theirs
    signer: str  # the key, the page, or the mail address but for most of what is before its @
    mark: str
    statement: str | None  # what was signed, to the byte; for a page, what its token is the digest of; for mail nothing
    public_key: str | None
    signature: str | None
    previous: str
    digest: str

    @property
    def checkable(self) -> bool:
        """Say whether everybody can check it, or this host's word is all there is."""
        return self.kind in KEYS

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON types."""
        return asdict(self) | {"kind": self.kind.value, "version": VERSION}

    def to_line(self) -> str:
        """Return the line as it is exported."""
        return _canonical(self.to_dict())


@dataclass(frozen=True)
class Report:
    """What checking a log came to: how many lines are whole, the last one's digest, and signatures by letter and kind."""

    lines: int
    head: str
    counts: Mapping[str, Mapping[str, int]]
    checked: int  # signatures of keys, each of which was verified
    witnessed: int  # by the host that wrote the log; nobody can check them now


class BrokenLog(UnstrungError):
    """The log is not as it was written, from `line` on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__("broken_log", "line", f"Line {line}: {message}")
        self.line = line


class AlreadySigned(UnstrungError):
    """This key, page or address has signed this letter before."""

    def __init__(self, kind: Kind) -> None:
        what = {Kind.PAGE: "page", Kind.MAIL: "address"}.get(kind, "key")
        super().__init__("already_signed", "signature", f"This {what} has signed this letter already; each signs it once.")


def read_letter(path: Path) -> Letter:
    """Read a letter from a file; raise `InvalidRequest` for what is none."""
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise InvalidRequest("letter", f"letter is '{path}', which can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidRequest("letter", f"letter is '{path}', which is not UTF-8: save it as plain text, in Markdown.") from None
    if len(data) > MOST_LETTER or not text.strip() or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        words = f"letter is '{path}', with {len(data)} bytes; it must be words, of at most {MOST_LETTER} bytes in UTF-8."
        raise InvalidRequest("letter", words)
    return Letter(text)


def check_name(name: str) -> str:
    """Return a signer's name, composed (NFC) and without spaces around it; raise `InvalidRequest` for what is none.

    Nothing in a name may make what follows it look like something else: no ends of lines, no change of direction.
    """
    composed = unicodedata.normalize("NFC", name).strip(" ")
    if not 1 <= len(composed) <= LONGEST_NAME:
        raise InvalidRequest("name", f"name has {len(composed)} characters; it must have 1 to {LONGEST_NAME}.")
    # joiners are letters' own in Persian and in Hindi, and in pictures of people; of other marks without a width there is no need
    odd = [c for c in composed if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and c not in JOINERS]
    if odd:
        words = f"name has the character U+{ord(odd[0]):04X}; it may have letters, digits, signs and spaces, in one line."
        raise InvalidRequest("name", words)
    if not any(unicodedata.category(c)[0] in "LN" for c in composed):
        raise InvalidRequest("name", "name has no letter and no digit in it.")
    return composed


def page_mark(signer: str) -> str:
    """Return what is the same for all ways to write a page's host and path."""
    return signer.rstrip("/")


def statement_of(letter: str, name: str, nonce: str, page: str | None = None) -> str:
    """Return what somebody signs who signs the letter of this digest by this name; the nonce makes it good for once."""
    where = f"page: {page}\n" if page is not None else ""
    return f"unstrung letter signature {VERSION}\nletter: {letter}\nname: {name}\n{where}nonce: {nonce}\n"


def spellings(statement: str) -> tuple[str, ...]:
    """Return a statement as editors write it: with and without its last line's end, with Unix's ends of lines and Windows'."""
    plain = (statement, statement.removesuffix("\n"))
    return (*plain, *(words.replace("\n", "\r\n") for words in plain))


def token_of(statement: str) -> str:
    """Return what somebody puts on a page of theirs to sign."""
    return f"unstrung-letter-{hashlib.sha256(statement.encode()).hexdigest()}"


def read_key(kind: Kind, signature: str, public_key: str | None) -> KeyProof:
    """Read a key's signature; raise `BadProof`."""
    if kind is Kind.SSH:
        return read_ssh(signature, public_key)
    if not public_key:
        raise BadProof("public_key", "public_key is missing: it is the last line of your .pub file, and begins with RW.")
    return read_minisign(signature, public_key)


def append(connection: Connection, at: float, **fields: Any) -> Signature:
    """Add a line to the log, in a transaction; raise `AlreadySigned`."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(select(func.pg_advisory_xact_lock(LOG_LOCK)))
    c = signatures.c
    once = (c.letter == fields["letter"]) & (c.kind == fields["kind"]) & (c.mark == fields["mark"])
    if connection.execute(select(c.number).where(once)).first() is not None:
        raise AlreadySigned(fields["kind"])
    last = connection.execute(select(c.number, c.digest).order_by(c.number.desc()).limit(1)).one_or_none()
    line = Signature(
        number=last.number + 1 if last else 1, at=int(at), previous=last.digest if last else START, digest="", **fields
    )
    line = Signature(**{**asdict(line), "digest": _digest(line.to_dict())})
    connection.execute(insert(signatures).values(**asdict(line)))
    return line


def page(
    store: Store, letter: Letter | None, *, after: int | None = None, limit: int = 20, newest_first: bool = False
) -> list[Signature]:
    """Return the signatures of a letter, or of all that this store has seen; those behind the line numbered `after`."""
    c, query = signatures.c, select(signatures)
    if letter is not None:
        query = query.where(c.letter == letter.digest)
    if after is not None:
        query = query.where(c.number < after if newest_first else c.number > after)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(c.number.desc() if newest_first else c.number).limit(limit))
        return [_signature_of(row) for row in rows]


def count(store: Store, letter: Letter | None) -> dict[str, int]:
    """Return how many signatures a letter has, by kind; of all letters together where none is given."""
    c, query = signatures.c, select(signatures.c.kind, func.count()).group_by(signatures.c.kind)
    if letter is not None:
        query = query.where(c.letter == letter.digest)
    with store.reading() as connection:
        found = {kind: number for kind, number in connection.execute(query)}
    return {kind.value: found.get(kind, 0) for kind in Kind}


def head(store: Store) -> tuple[int, str]:
    """Return the last line's number and digest: who keeps them sees later whether the log was cut off or written anew."""
    last = page(store, None, limit=1, newest_first=True)
    return (last[0].number, last[0].digest) if last else (0, START)


def lines(store: Store) -> Iterator[str]:
    """Yield the whole log as JSON lines, the oldest first: all that is needed to check it again."""
    after = 0
    while some := page(store, None, after=after, limit=TOGETHER):  # it only grows, so that no transaction is needed
        yield from (line.to_line() + "\n" for line in some)
        after = some[-1].number


def check_lines(lines: Iterable[str]) -> Report:
    """Verify an exported log, with nothing but what is in it: that no line was changed or is missing, and all keys' signatures.

    That a page or an address was proven, only the host that wrote the log has seen: such lines count as witnessed. Raises
    `BrokenLog` for the first line that is not as it was written. What was cut off at the end, no log can say of itself.
    """
    previous, seen, counts, number = START, set[tuple[str, str, str]](), dict[str, Counter[str]](), 0
    for number, text in enumerate(lines, 1):
        line = _read_line(number, text.rstrip("\r\n"))
        if (line.number, line.previous) != (number, previous):
            raise BrokenLog(number, f"it says that it is number {line.number}, and does not follow on the line before it.")
        _check(line)
        if (once := (line.letter, line.kind, line.mark)) in seen:
            raise BrokenLog(number, "its signer has signed the same letter in a line before.")
        seen.add(once)
        counts.setdefault(line.letter, Counter({kind.value: 0 for kind in Kind}))[line.kind.value] += 1
        previous = line.digest
    keys = sum(found[kind] for found in counts.values() for kind in KEYS)
    return Report(number, previous, counts, keys, number - keys)


def _read_line(number: int, text: str) -> Signature:
    """Read a line of an export; raise `BrokenLog` for all but what `to_line` writes."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BrokenLog(number, "it is not JSON.") from None
    names = {"version", *Signature.__dataclass_fields__}
    if not isinstance(found, dict) or set(found) != names or found["version"] != VERSION:
        raise BrokenLog(number, f"it is no line of a log of version {VERSION}; a newer program may be able to read it.")
    kinds = {"number": int, "at": int, "version": int} | dict.fromkeys(("statement", "public_key", "signature"), str | None)
    wrong = [name for name in names if not isinstance(found[name], kinds.get(name, str)) or isinstance(found[name], bool)]
    if wrong or found["kind"] not in tuple(Kind):
        raise BrokenLog(number, f"{(*wrong, 'kind')[0]} is {found[(*wrong, 'kind')[0]]!r:.60}, which it can't be.")
    try:
        if _canonical(found) != text or _digest(found) != found["digest"]:
            raise BrokenLog(number, "it was changed: its digest is not that of what it says.")
    except UnicodeEncodeError:
        raise BrokenLog(number, "it is not UTF-8.") from None
    del found["version"]
    return Signature(**{**found, "kind": Kind(found["kind"])})


def _check(line: Signature) -> None:
    """Verify what a line says of its proof, as far as the line alone can show it; raise `BrokenLog`."""
    given = (line.statement is not None, line.public_key is not None, line.signature is not None)
    if given != (line.kind is not Kind.MAIL, line.checkable, line.checkable):
        raise BrokenLog(line.number, f"it does not have what a line of the kind {line.kind} has.")
    try:
        named = check_name(line.name) == line.name
    except InvalidRequest:
        named = False
    if not named or (line.kind is Kind.PAGE and line.mark != page_mark(line.signer)):
        raise BrokenLog(line.number, "its name or its page is none that can sign.")
    if line.statement is not None:
        nonce = re.search(r"nonce: ([0-9a-f]{32})\r?\n?\Z", line.statement)
        where = line.signer if line.kind is Kind.PAGE else None
        if nonce is None or line.statement not in spellings(statement_of(line.letter, line.name, nonce[1], where)):
            raise BrokenLog(line.number, "what was signed is not this letter by this name.")
    if line.signature is None:
        return
    try:
        proof = read_key(line.kind, line.signature, line.public_key)
        holds = proof.holds((line.statement or "").encode())
    except BadProof as error:
        raise BrokenLog(line.number, error.message) from None
    if not holds:
        raise BrokenLog(line.number, "its signature does not fit its key and what was signed.")
    told = (proof.signer, proof.mark, proof.public_key, proof.signature)
    if told != (line.signer, line.mark, line.public_key, line.signature):
        raise BrokenLog(line.number, "it names another signer than the key that signed.")


def _canonical(fields: Mapping[str, Any]) -> str:
    """Return text and whole numbers as RFC 8785 writes them."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a line without its own digest, but with that of the line before."""
    return hashlib.sha256(_canonical({name: fields[name] for name in fields if name != "digest"}).encode()).hexdigest()


def _signature_of(row: Row[Any]) -> Signature:
    return Signature(**{**row._asdict(), "kind": Kind(row.kind)})
