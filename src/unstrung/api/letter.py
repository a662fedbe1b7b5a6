"""The routes of `/v1/letter`: the host's open letter, who has signed it, and how to."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from unstrung.api import fetch
from unstrung.api.body import BODY, Fields, takes
from unstrung.api.callers import Caller, TooMany
from unstrung.api.desk import Desk
from unstrung.api.rules import Rules
from unstrung.errors import InvalidRequest
from unstrung.jobs import letter as log
from unstrung.jobs.files import LINES_KIND
from unstrung.jobs.letter import LONGEST_NAME, Signature
from unstrung.jobs.mail import read_mailer
from unstrung.jobs.proofs import LONGEST_PROOF
from unstrung.jobs.signing import Letterbox
from unstrung.jobs.store import Store

MOST_PAGE, PAGE_SECONDS = 2 * 2**20, 10.0  # bytes of a signer's page, and for how long it is waited for
PAGES_AT_ONCE = 4  # that are asked for: each holds a thread of the server

Id = Annotated[str, Path(description="A signing's id.", max_length=200)]
KindName = Literal["ssh", "minisign", "page", "mail"]


class BeginSigning(BaseModel):
    """Somebody wants to sign the letter."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME, description="by which the signature is shown; nothing proves it")
    kind: KindName = Field(description="how the signer proves who signs; GET /v1/letter says what there is here")
    address: str | None = Field(None, max_length=500, description="with kind page its https address, with mail the mail address")


class Proof(BaseModel):
    """What proves a signing: of a key, a signature; of mail, the code; of a page, nothing, for it is looked at."""

    signature: str | None = Field(None, max_length=LONGEST_PROOF, description="the .sig or .minisig file")
    public_key: str | None = Field(None, max_length=LONGEST_PROOF, description="with minisign, the .pub file or its last line")
    code: str | None = Field(None, max_length=40, description="the 8 digits that came by mail")


class LetterShown(BaseModel):
    """The host's open letter. Signatures are of this text alone: where the digest is another, so are they."""

    object: Literal["letter"] = "letter"
    title: str
    text: str = Field(description="Markdown")
    digest: str = Field(description="the text's SHA-256")
    kinds: list[KindName] = Field(description="how one can sign here")
    counts: dict[str, int] = Field(description="signatures by kind")
    log_lines: int = Field(description="of the whole log, which holds the signatures of earlier texts too")
    log_head: str = Field(description="the digest of the log's last line")


class SignatureShown(BaseModel):
    """A signature. `checkable` says whether everybody can check it, or the host's word is all there is."""

    object: Literal["letter.signature"] = "letter.signature"
    number: int
    at: int
    letter: str
    kind: KindName
    name: str
    signer: str = Field(description="the key, the page, or a mail address of which little is shown")
    checkable: bool
    statement: str | None
    public_key: str | None
    signature: str | None
    digest: str = Field(description="of its line in the log")


class SignatureList(BaseModel):
    """A page of signatures; the next one is `after=last_number`."""

    object: Literal["list"] = "list"
    data: list[SignatureShown]
    has_more: bool
    first_number: int | None
    last_number: int | None


class SigningShown(BaseModel):
    """A signature that waits for its proof: sign `statement`, put `token` on the page, or look for the mail."""

    id: str
    object: Literal["letter.signing"] = "letter.signing"
    letter: str
    kind: KindName
    name: str
    address: str | None
    statement: str | None
    token: str | None
    expires_at: int


LOG: dict[int | str, dict[str, Any]] = {200: {"content": {LINES_KIND: {}}, "description": "The log, a line a signature"}}


def open_letterbox(store: Store, rules: Rules) -> Letterbox | None:
    """Return where the host's letter is signed; None where there is no letter. Raises `UnstrungError` for what can't be read."""
    if rules.letter is None:
        if rules.letter_mail is not None or rules.letter_pages:
            raise InvalidRequest("letter", "There is no letter to sign by mail or by a page: say --letter FILE too.")
        return None
    mailer = read_mailer(rules.letter_mail, os.environ) if rules.letter_mail is not None else None
    asking = threading.BoundedSemaphore(PAGES_AT_ONCE)

    def page(url: str) -> bytes:
        if not asking.acquire(blocking=False):
            raise TooMany(PAGE_SECONDS, "This host asks for other signers' pages just now: try again.")
        try:
            return fetch.get(url, most_bytes=MOST_PAGE, seconds=PAGE_SECONDS)[1]
        finally:
            asking.release()

    letter = log.read_letter(rules.letter)
    return Letterbox(store, letter, page if rules.letter_pages else None, mailer.send_code if mailer else None)


def add_routes(app: FastAPI, desk: Desk, box: Letterbox) -> None:
    """Add the routes."""
    reads = desk.asker("read")

    @app.get("/v1/letter")
    def retrieve_letter(caller: Caller = reads) -> LetterShown:
        """Read the host's open letter, and how many have signed it."""
        number, digest = log.head(box.store)
        letter = box.letter
        return LetterShown(
            title=letter.title, text=letter.text, digest=letter.digest, kinds=[kind.value for kind in box.kinds],
            counts=log.count(box.store, letter), log_lines=number, log_head=digest,
        )  # fmt: skip

    @app.get("/v1/letter/signatures")
    def list_signatures(
        after: Annotated[int | None, Query(ge=0, lt=2**31, description="The last signature of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        caller: Caller = reads,
    ) -> SignatureList:
        """List who has signed the letter as it is now, the newest first."""
        found = log.page(box.store, box.letter, after=after, limit=limit + 1, newest_first=order == "desc")
        page = [_shown(signature) for signature in found[:limit]]
        ends = (page[0].number, page[-1].number) if page else (None, None)
        return SignatureList(data=page, has_more=len(found) > limit, first_number=ends[0], last_number=ends[1])

    @app.get("/v1/letter/log", response_class=StreamingResponse, responses=LOG)
    def download_log(caller: Caller = reads) -> StreamingResponse:
        """Get the whole log as JSON lines, to check it: of this text and of all before it."""
        return StreamingResponse(log.lines(box.store), media_type=LINES_KIND)

    @app.post("/v1/letter/signings", openapi_extra=takes(BeginSigning))
    def begin_signing(caller: Caller = reads, fields: Fields = BODY) -> SigningShown:
        """Begin to sign: nothing is signed before there is a proof."""
        given = _read(fields, BeginSigning, ("name", "kind"))
        begun = box.begin(given["name"], given["kind"], given.get("address"))
        return SigningShown(**{**asdict(begun), "kind": begun.kind.value, "expires_at": int(begun.expires_at)})

    @app.post("/v1/letter/signings/{signing_id}/proof", openapi_extra=takes(Proof))
    def prove_signing(signing_id: Id, caller: Caller = reads, fields: Fields = BODY) -> SignatureShown:
        """Sign, with what proves it."""
        return _shown(box.prove(signing_id, **_read(fields, Proof)))


def _read(fields: dict[str, Any], model: type[BaseModel], needed: tuple[str, ...] = ()) -> dict[str, str]:
    for name, value in fields.items():
        known = model.model_fields
        if name not in known:
            words = f"{name!r:.80} is not a field here; known are: {', '.join(known)}."
            raise InvalidRequest(name if name.isprintable() else "body", words, code="unknown_parameter")
        if not (isinstance(value, str) or (value is None and name not in needed)):
            raise InvalidRequest(name, f"{name} is {value!r:.80}; it must be text.")
    if missing := [name for name in needed if name not in fields]:
        raise InvalidRequest(missing[0], f"{missing[0]} is missing.", code="missing_required_parameter")
    return {name: value for name, value in fields.items() if value is not None}


def _shown(signature: Signature) -> SignatureShown:
    line = signature.to_dict()
    told = {name: line[name] for name in SignatureShown.model_fields if name in line}
    return SignatureShown(**told, checkable=signature.checkable)
