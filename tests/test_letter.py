"""The host's open letter: no signature without a proof, no proof that is good for another one, and a log that shows every change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import delete, select, update

from keys import MinisignKey, SshKey
from served import Served
from test_fetch import answering, reply
from test_operate import fetch as asked
from test_tokens import known, token, unstrung
from unstrung.api import fetch
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs import signing as waits
from unstrung.jobs.letter import (
    START,
    BrokenLog,
    Kind,
    Letter,
    Signature,
    check_lines,
    check_name,
    count,
    head,
    lines,
    page,
    read_letter,
    statement_of,
    token_of,
)  # fmt: skip
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.mail import MailFailed, read_mailer
from unstrung.jobs.signing import Letterbox, begin, check_mail, masked, prove_key, prove_mail, prove_page, read_page
from unstrung.jobs.store import Store
from unstrung.jobs.tables import signatures, signing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
LETTER = Letter("# We are not your puppets\n\nWe want tools of our own.\n")
OTHER = Letter(LETTER.text + "And pay.\n")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    made = Store(store_url)
    yield made
    made.close()


def sign(store: Store, key: SshKey, name: str = "Ann", letter: Letter = LETTER) -> Signature:
    begun = begin(store, letter, name, Kind.SSH)
    assert begun.statement is not None
    return prove_key(store, letter, begun.id, key.sign(begun.statement))


def refused(code: str, do: Callable[[], Any]) -> UnstrungError:
    with pytest.raises(UnstrungError) as error:
        do()
    assert error.value.code == code, error.value.message
    return error.value


# letters and names


def test_a_letter_is_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "letter.md"
    for data in ("\ufeff\n\n## *Dear* all\r\n\r\nWe sign. ❄\n".encode(), b"Dear all"):
        file.write_bytes(data)
        letter = read_letter(file)
        assert letter.digest == hashlib.sha256(data).hexdigest() and letter.title.replace("*", "") == "Dear all"
    for bad in (b"", b" \n", b"\xff\xfe", b"a\0b", b"a\x1b[2J", b"x" * 200_001):
        file.write_bytes(bad)
        assert str(file) in refused("invalid_value", lambda: read_letter(file)).message
    refused("invalid_value", lambda: read_letter(tmp_path / "none.md"))


def test_names() -> None:
    for good in ("Ann", "Ødegård", "李小龍", "محمد", "می‌خواهم", "👩‍🎨 Eva", "R2-D2", "x" * 100, "O'Neill & Sons (Bergen)"):
        assert check_name(good) == good
    assert check_name(" A\u030a ") == "Å", "composed, and without spaces around it"
    bad = [
        "",
        " ",
        "x" * 101,
        "a\nb",
        "a\rb",
        "a\tb",
        "a\0b",
        "a\x1bb",
        "a\u2028b",
        "a\u202eb",
        "a\u2066b",
        "a\u200fb",
        "a\u200bb",
        "\ud800",
        "-",
        "\u200d",
        "❄",
    ]
    for name in bad:
        assert refused("invalid_value", partial(check_name, name)).field == "name"


# keys


def test_a_letter_is_signed_with_keys(store: Store) -> None:
    key, mini = SshKey(), MinisignKey()
    first = sign(store, key, "Ann Ødegård")
    begun = begin(store, LETTER, "Bob", Kind.MINISIGN)
    assert begun.statement == statement_of(LETTER.digest, "Bob", begun.statement[-33:-1])
    assert count(store, LETTER)["minisign"] == 0, "what waits is not signed"
    refused("bad_proof", lambda: prove_key(store, LETTER, begun.id, mini.sign(begun.statement or "")))  # no key said
    second = prove_key(store, LETTER, begun.id, mini.sign(begun.statement), mini.public)
    assert [s.number for s in (first, second)] == [1, 2] and (first.previous, second.previous) == (START, first.digest)
    assert head(store) == (2, second.digest)
    assert count(store, LETTER) == {"ssh": 1, "minisign": 1, "page": 0, "mail": 0} and sum(count(store, OTHER).values()) == 0
    report = check_lines(lines(store))
    assert (report.lines, report.head, report.checked, report.witnessed) == (2, second.digest, 2, 0)
    assert report.counts == {LETTER.digest: count(store, LETTER)}


def test_each_signs_once_and_names_may_be_shared(store: Store) -> None:
    key, mini = SshKey(), MinisignKey()
    sign(store, key)
    refused("already_signed", lambda: sign(store, key, "Somebody else"))
    begun = begin(store, LETTER, "Ann", Kind.MINISIGN)
    prove_key(store, LETTER, begun.id, mini.sign(begun.statement or ""), mini.line)
    renamed, begun = MinisignKey(mini.key), begin(store, LETTER, "Ann", Kind.MINISIGN)
    refused("already_signed", lambda: prove_key(store, LETTER, begun.id, renamed.sign(begun.statement or ""), renamed.line))
    sign(store, SshKey(), "Ann")
    sign(store, key, letter=OTHER)
    assert count(store, LETTER)["ssh"] == 2 and count(store, OTHER)["ssh"] == 1 and count(store, None)["ssh"] == 3
    assert check_lines(lines(store)).lines == 4


def test_what_a_signature_is_not_good_for(store: Store) -> None:
    key, mallory = SshKey(), SshKey()
    ann, bob = begin(store, LETTER, "Ann", Kind.SSH), begin(store, LETTER, "Bob", Kind.SSH)
    assert ann.statement and bob.statement
    signed = key.sign(ann.statement)
    wrong = {
        "another name's": key.sign(bob.statement), "one word more": key.sign(ann.statement + "\n"),
        "another letter's": key.sign(ann.statement.replace(LETTER.digest, OTHER.digest)),
        "another program's": key.sign(ann.statement, namespace=b"git"), "cut off": signed[:200], "nothing": "",
        "somebody else's": key.sign(ann.statement, blob=mallory.blob),
    }  # fmt: skip
    for what, text in wrong.items():
        assert refused("bad_proof", lambda text=text: prove_key(store, LETTER, ann.id, text)).field == "signature", what
    refused("bad_proof", lambda: prove_key(store, LETTER, ann.id, signed, mallory.public))
    refused("letter_changed", lambda: prove_key(store, OTHER, ann.id, signed))
    refused("bad_proof", lambda: prove_key(store, LETTER, bob.id, signed))
    for id in ("signing_" + "0" * 32, "", "\0", "\ud800", "' OR 1"):
        refused("not_found", lambda id=id: prove_key(store, LETTER, id, signed))
    assert sum(count(store, None).values()) == 0
    assert prove_key(store, LETTER, ann.id, signed, key.public).name == "Ann"
    refused("used", lambda: prove_key(store, LETTER, ann.id, signed))
    refused("used", lambda: prove_key(store, LETTER, ann.id, mallory.sign(ann.statement or "")))


def test_statements_as_editors_keep_them(store: Store) -> None:
    for spelled in (
        lambda s: s.replace("\n", "\r\n"),
        lambda s: s.removesuffix("\n"),
        lambda s: s.removesuffix("\n").replace("\n", "\r\n"),
    ):
        begun, key = begin(store, LETTER, "Ann", Kind.SSH), SshKey()
        words = spelled(begun.statement)
        assert prove_key(store, LETTER, begun.id, key.sign(words)).statement == words, "the log has what was signed"
    assert check_lines(lines(store)).checked == 3


def test_tries_and_time_come_to_an_end(store: Store) -> None:
    begun, key = begin(store, LETTER, "Ann", Kind.SSH), SshKey()
    for _ in range(waits.OTHER_TRIES):
        refused("bad_proof", lambda: prove_key(store, LETTER, begun.id, "none"))
    refused("no_tries", lambda: prove_key(store, LETTER, begun.id, key.sign(begun.statement or "")))
    late = begin(store, LETTER, "Ann", Kind.SSH)
    with store.changing() as connection:
        connection.execute(update(signing).where(signing.c.id == late.id).values(expires_at=time.time() - 1))
    refused("expired", lambda: prove_key(store, LETTER, late.id, key.sign(late.statement or "")))
    begin(store, LETTER, "Bob", Kind.SSH)
    refused("not_found", lambda: prove_key(store, LETTER, late.id, key.sign(late.statement or "")))


def test_a_flood_of_those_who_never_sign_shuts_nobody_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MOST_WAITING", 5)
    first, by_key = begin(store, LETTER, "Ann", Kind.SSH), begin(store, LETTER, "Ann", Kind.MINISIGN)
    for n in range(5):
        last = begin(store, LETTER, f"Flood {n}", Kind.SSH)
    with store.reading() as connection:
        assert set(connection.execute(select(signing.c.id)).scalars()) >= {last.id, by_key.id} - {first.id}
        assert len(connection.execute(select(signing.c.id)).all()) == 6
    refused("not_found", lambda: prove_key(store, LETTER, first.id, ""))


# pages

Site = Callable[[str], bytes]


@contextmanager
def site(text: Callable[[], str]) -> Iterator[str]:
    """A page on this machine; its address."""
    with answering(lambda sock: sock.sendall(reply(text().encode()))) as (port, _):
        yield f"http://127.0.0.1:{port}/~ann/about"


def ask(url: str) -> bytes:
    return fetch.get(url, most_bytes=10_000, seconds=10, allow_private=True)[1]


def test_a_page_signs_by_a_token_in_it(store: Store) -> None:
    there = {"text": "<p>hello</p>"}
    with site(lambda: there["text"]) as url:
        begun = begin(store, LETTER, "Ann", Kind.PAGE, f" {url} ", insecure=True)
        assert begun.token is not None and begun.statement is None
        prove = partial(prove_page, store, LETTER, begun.id, ask, insecure=True)
        for text in ("<p>hello</p>", begun.token[:-1], begin(store, LETTER, "Ann", Kind.PAGE, url, insecure=True).token or ""):
            there["text"] = text
            refused("bad_proof", prove)
        there["text"] = f"<html><!-- {begun.token} --></html>"
        signed = prove()
        assert signed.signer == url.removeprefix("http://") and not signed.checkable
        assert token_of(signed.statement or "") == begun.token, "everybody can work out what to look for on the page"
        refused("used", prove)
        again = begin(store, LETTER, "Ann", Kind.PAGE, url + "/", insecure=True)
        there["text"] = again.token or ""
        refused("already_signed", lambda: prove_page(store, LETTER, again.id, ask, insecure=True))
        refused("invalid_value", lambda: prove_key(store, LETTER, again.id, "x"))
    report = check_lines(lines(store))
    assert (report.checked, report.witnessed) == (0, 1)


def test_pages_that_can_not_sign(store: Store) -> None:
    good = {
        "https://example.org": "example.org/", "https://Example.org/A/b/": "example.org/A/b/", "https://example.org:443/a": "example.org/a",
        "https://example.org:8443/~ann": "example.org:8443/~ann", "https://example.org/%C3%A9%20a": "example.org/%C3%A9%20a",
    }  # fmt: skip
    for url, signer in good.items():
        assert read_page(url) == signer
    bad = [
        "http://example.org/", "ftp://example.org/", "example.org", "https://", "https:///a", "https://ann@example.org/", "https://example.org/?p=1",
        "https://example.org/#me", "https://example.org/%61", "https://example.org/a/../b", "https://example.org/./", "https://example.org//a",
        "https://exämple.org/", "https://example.org/ä", "https://example.org./", "https://example.org:/", "https://example.org:x/", "https://[::1]/",
        "https://example.org/a\nb", "https://example.org/\\a", "https://example.org/%2e", "https://example.org/%c3", "https://example.org/" + "a" * 500,
        "\ud800", "",
    ]  # fmt: skip
    for url in bad:
        assert refused("invalid_value", partial(begin, store, LETTER, "Ann", Kind.PAGE, url)).field == "address", url
    begin(store, LETTER, "Ann", Kind.PAGE, "https://example.org/" + "a/" * 200)
    refused("missing_required_parameter", lambda: begin(store, LETTER, "Ann", Kind.PAGE))
    refused("invalid_value", lambda: begin(store, LETTER, "Ann", Kind.SSH, "https://example.org/"))
    inside = begin(store, LETTER, "Ann", Kind.PAGE, "https://127.0.0.1:8443/")
    safe = partial(fetch.get, most_bytes=1000, seconds=5)
    refused("private_address", lambda: prove_page(store, LETTER, inside.id, lambda url: safe(url)[1]))


# mail


class Post(socketserver.ThreadingTCPServer):
    """A mail server on this machine that keeps what it is given; with a certificate it speaks TLS, from the start or when asked."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, tls: Path | None = None, implicit: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Mailman)
        self.kept: list[Message] = []
        self.said: list[str] = []
        self.implicit, self.context = implicit, None
        if tls is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls / "cert.pem", tls / "key.pem")

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def code(self) -> str:
        found = re.search(r"^(\d{8}) is the code", self.kept[-1].get_payload(), re.M)
        assert found
        return found[1]


class Mailman(socketserver.BaseRequestHandler):
    server: Post

    def handle(self) -> None:
        sock, context = self.request, self.server.context
        try:
            if context and self.server.implicit:
                sock, context = context.wrap_socket(sock, server_side=True), None
            file, body, data = sock.makefile("rb"), [], False
            sock.sendall(b"220 post\r\n")
            while line := file.readline():
                text = line.decode().rstrip("\r\n")
                if data and text != ".":
                    body.append(text)
                    continue
                if not data:
                    self.server.said.append(text)
                verb, answer = text[:8].upper(), "250 yes"
                if data:
                    self.server.kept.append(message_from_string("\n".join(body)))
                    body, data = [], False
                elif verb.startswith("EHLO"):
                    answer = "250-post\r\n" + ("250-STARTTLS\r\n" if context else "") + "250 AUTH PLAIN"
                elif verb == "STARTTLS" and context:
                    sock.sendall(b"220 go on\r\n")
                    sock, context = context.wrap_socket(sock, server_side=True), None
                    file = sock.makefile("rb")
                    continue
                elif verb.startswith("RCPT") and "nobody@" in text:
                    answer = "550 no such user"
                elif verb.startswith("DATA"):
                    answer, data = "354 go on", True
                elif verb.startswith("AUTH"):
                    answer = "235 welcome"
                elif verb.startswith("QUIT"):
                    sock.sendall(b"221 bye\r\n")
                    return
                sock.sendall(answer.encode() + b"\r\n")
        except OSError:
            return  # the other side has hung up


@contextmanager
def post(**more: Any) -> Iterator[Post]:
    server = Post(**more)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_an_address_signs_by_the_code_that_was_sent_to_it(store: Store) -> None:
    with post() as server:
        mailer = read_mailer(f"smtp://127.0.0.1:{server.port}?from=letter@example.net", {})
        begun = begin(store, LETTER, "Buy at spam.example", Kind.MAIL, "Ann.B@Example.org", send=mailer.send_code)
        mail = server.kept[-1]
        assert (mail["From"], mail["To"], mail["Subject"]) == (
            "letter@example.net",
            "Ann.B@example.org",
            f"Your code: {server.code}",
        )
        assert "We are not your puppets" in str(mail) and "spam" not in str(mail), "nobody's words are sent to somebody's address"
        assert server.code not in repr(begun) and begun.statement is begun.token is None
        with store.reading() as connection:
            row = connection.execute(select(signing)).one()
        assert server.code not in repr(row)
        refused("invalid_value", lambda: prove_mail(store, LETTER, begun.id, "1234"))
        signed = prove_mail(store, LETTER, begun.id, f" {server.code[:4]} {server.code[4:]}\n")
        assert signed.signer == "A…@example.org" and not signed.checkable
        assert "ann.b" not in "".join(lines(store)).lower()
        with store.reading() as connection:
            assert connection.execute(select(signing.c.address)).scalar_one() is None, (
                "whose it is, nobody needs to know any more"
            )
        refused("used", lambda: prove_mail(store, LETTER, begun.id, server.code))
        again = begin(store, LETTER, "Ann", Kind.MAIL, "ann.b@example.org", send=mailer.send_code)
        refused("already_signed", lambda: prove_mail(store, LETTER, again.id, server.code))
        other = begin(store, OTHER, "Ann", Kind.MAIL, "ann.b@example.org", send=mailer.send_code)
        assert prove_mail(store, OTHER, other.id, server.code).mark != signed.mark, "two letters' signers can't be told to be one"
    assert (check_lines(lines(store)).checked, check_lines(lines(store)).witnessed) == (0, 2)


def test_wrong_codes_shut_the_door(store: Store) -> None:
    sent: list[str] = []
    begun = begin(store, LETTER, "Ann", Kind.MAIL, "ann@example.org", send=lambda _, code, __: sent.append(code))
    wrong = f"{(int(sent[0]) + 1) % 10**8:08}"

    def guess(_: int) -> str:
        return refused_code(lambda: prove_mail(store, LETTER, begun.id, wrong))

    with ThreadPoolExecutor(4) as thieves:  # together they have no more tries than one by one
        assert sorted(thieves.map(guess, range(8))) == ["bad_proof"] * 5 + ["no_tries"] * 3
    assert refused_code(lambda: prove_mail(store, LETTER, begun.id, sent[0])) == "no_tries", "the right one comes too late"


def refused_code(do: Callable[[], Any]) -> str:
    try:
        do()
    except UnstrungError as error:
        return error.code
    return "signed"


def test_so_many_mails_an_hour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    ask = partial(begin, store, LETTER, "Ann", Kind.MAIL, send=lambda address, *_: sent.append(address))
    for _ in range(waits.MOST_MAILS_EACH):
        ask("ann@example.org")
    with pytest.raises(OverLimit, match="to this address"):
        ask("ANN@example.org")
    monkeypatch.setattr(waits, "MOST_MAILS", 5)
    ask("bob@example.org")
    ask("cat@example.org")
    with pytest.raises(OverLimit, match="This host"):
        ask("dan@example.org")
    assert len(sent) == 5
    with store.changing() as connection:
        connection.execute(update(signing).values(created_at=signing.c.created_at - 3601, expires_at=signing.c.expires_at - 3601))
    ask("ann@example.org")


def test_addresses_and_what_can_not_be_one() -> None:
    assert [check_mail(a) for a in ("a@b.org", "O'Neill+x@Mail.Example.ORG", " ann@example.org ")] == [
        "a@b.org", "O'Neill+x@mail.example.org", "ann@example.org",
    ]  # fmt: skip
    assert masked("ann@example.org") == "a…@example.org"
    bad = [
        "", "ann", "@example.org", "ann@", "ann@localhost", "ann@example", "ann@[127.0.0.1]", "ann@127.0.0.1", "a b@example.org", "ann@exa mple.org",
        "ann@example.org\nBcc: all@example.org", "ann\r\nBcc: x@example.org", "ann@example.org\r\n", "<ann@example.org>", "Ann <ann@example.org>",
        "ann@example.org,bob@example.org", "ann@bob@example.org", '"a b"@example.org', ".ann@example.org", "a..b@example.org", "ann@-x.org", "ann@x-.org",
        "änn@example.org", "ann@exämple.org", "a" * 65 + "@example.org", "ann@" + "a." * 130 + "org", "ann@example.org\0", "\ud800@example.org",
    ]  # fmt: skip
    for address in bad:
        with pytest.raises(InvalidRequest):
            check_mail(address)


def test_mail_servers_and_what_can_not_be_one() -> None:
    mailer = read_mailer("smtps://letter%40example.org:p%40ss@mail.example.org", {})
    assert (mailer.port, mailer.implicit, mailer.sender, mailer.password) == (465, True, "letter@example.org", "p@ss")
    assert "p@ss" not in repr(mailer)
    mailer = read_mailer("smtp://bob@mail.example.org?from=letter@example.org", {"UNSTRUNG_SMTP_PASSWORD": "secret"})
    assert (mailer.port, mailer.user, mailer.sender, mailer.password) == (587, "bob", "letter@example.org", "secret")
    for bad in ("", "mail.example.org", "http://a@b.org", "smtp://mail.example.org", "smtp://bob:secret@h.org", "smtp://h.org:x?from=a@b.org", "smtp://h.org?from=a", "smtp://h.org?to=a@b.org"):  # fmt: skip
        assert "secret" not in refused("invalid_value", partial(read_mailer, bad, {})).message
    assert "UNSTRUNG_SMTP_PASSWORD" in refused("invalid_value", lambda: read_mailer("smtp://a%40b.org@h.org", {})).message


def test_codes_and_passwords_are_never_sent_in_the_clear(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=post",
    ]
    make += ["-addext", "subjectAltName=DNS:localhost,DNS:127.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    subprocess.run(make, check=True, capture_output=True)
    # "127.1" is this machine too, but nothing that is known to be
    with post() as plain:
        mailer = read_mailer(f"smtp://a%40example.org:secret@127.1:{plain.port}", {})
        refused("mail_failed", lambda: mailer.send_code("ann@example.org", "12345678", LETTER))
        assert not plain.kept and not any(said.startswith(("AUTH", "MAIL")) for said in plain.said)
    for implicit, scheme, name in ((True, "smtps", "localhost"), (False, "smtp", "127.1")):
        with post(tls=tmp_path, implicit=implicit) as server:
            mailer = read_mailer(f"{scheme}://a%40example.org:secret@{name}:{server.port}", {})
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            with pytest.raises(MailFailed):  # whose certificate nobody knows
                mailer.send_code("ann@example.org", "12345678", LETTER)
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
            mailer.send_code("ann@example.org", "12345678", LETTER)
            assert server.code == "12345678" and any(said.startswith("AUTH PLAIN") for said in server.said)


def test_mail_that_can_not_be_sent_signs_nothing(store: Store) -> None:
    with post() as server:
        mailer = read_mailer(f"smtp://127.0.0.1:{server.port}?from=letter@example.net", {})
        error = refused(
            "mail_failed", lambda: begin(store, LETTER, "Ann", Kind.MAIL, "nobody@example.org", send=mailer.send_code)
        )
        assert "no such user" not in error.message, "which addresses there are, the host's mail server tells nobody"
        with pytest.raises(InvalidRequest):
            mailer.send_code("ann@example.org\nBcc: bob@example.org", "1", LETTER)
    refused("mail_failed", lambda: begin(store, LETTER, "Ann", Kind.MAIL, "ann@example.org", send=mailer.send_code))


# the log


def test_many_who_sign_at_the_same_moment(store_url: str) -> None:
    stores = [Store(store_url) for _ in range(3)]
    keys = [SshKey() for _ in range(24)]

    def go(n: int) -> list[str]:
        mine = stores[n % 3]
        # each key comes twice, at once, and one statement with two keys
        begun = begin(mine, LETTER, f"Signer {n % 24}", Kind.SSH)
        first = refused_code(lambda: prove_key(mine, LETTER, begun.id, keys[n % 24].sign(begun.statement or "")))
        return [first, refused_code(lambda: prove_key(mine, LETTER, begun.id, SshKey().sign(begun.statement or "")))]

    with ThreadPoolExecutor(12) as crowd:
        told = list(crowd.map(go, range(48)))
    firsts = [first for first, _ in told]
    assert firsts.count("signed") == 24 and firsts.count("already_signed") == 24
    numbers = [signature.number for signature in page(stores[0], None, limit=1000)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) == 24 + sum(second == "signed" for _, second in told)
    assert check_lines(lines(stores[1])).lines == len(numbers)


def test_two_keys_for_one_statement_make_one_signature(store: Store) -> None:
    begun = begin(store, LETTER, "Ann", Kind.SSH)
    with ThreadPoolExecutor(4) as crowd:
        keys = [SshKey() for _ in range(4)]
        told = list(
            crowd.map(lambda key: refused_code(lambda: prove_key(store, LETTER, begun.id, key.sign(begun.statement or ""))), keys)
        )
    assert told.count("signed") == 1 and set(told) <= {"signed", "used", "no_tries"} and head(store)[0] == 1


def test_pages_of_signatures(store: Store) -> None:
    made = [sign(store, SshKey(), f"Signer {n}", LETTER if n % 2 else OTHER).number for n in range(7)]
    mine = made[1::2]
    assert [s.number for s in page(store, LETTER, limit=2)] == mine[:2] and [s.number for s in page(store, None)] == made
    assert [s.number for s in page(store, LETTER, after=mine[1])] == mine[2:]
    assert [s.number for s in page(store, LETTER, after=mine[2], newest_first=True)] == mine[1::-1]


def exported(store: Store) -> list[str]:
    for n in range(3):
        sign(store, SshKey(), f"Signer {n}")
    mini, begun = MinisignKey(), begin(store, LETTER, "Mini", Kind.MINISIGN)
    prove_key(store, LETTER, begun.id, mini.sign(begun.statement or ""), mini.public)
    begun = begin(store, LETTER, "Page", Kind.PAGE, "https://example.org/me")
    prove_page(store, LETTER, begun.id, lambda _: (begun.token or "").encode())
    codes: list[str] = []
    begun = begin(store, LETTER, "Mail", Kind.MAIL, "ann@example.org", send=lambda _, code, __: codes.append(code))
    prove_mail(store, LETTER, begun.id, codes[0])
    return list(lines(store))


def rewrite(log: list[str], index: int, **changes: Any) -> list[str]:
    """A log that its host has written anew from a line on, digests and all."""
    out, previous = log[:index], json.loads(log[index])["previous"]
    for n, text in enumerate(log[index:], index):
        line = json.loads(text) | {"previous": previous} | (changes if n == index else {})
        del line["digest"]
        words = partial(json.dumps, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        line["digest"] = previous = hashlib.sha256(words(line).encode("utf-8", "surrogatepass")).hexdigest()
        out.append(words(line) + "\n")
    return out


def breaks(log: list[str], line: int, says: str = ".") -> None:
    with pytest.raises(BrokenLog, match=says) as broken:
        check_lines(log)
    assert broken.value.line == line and f"Line {line}: " in broken.value.message


def test_a_log_that_was_changed_is_seen(tmp_path: Path) -> None:
    log = exported(Store(f"sqlite:///{tmp_path}/a.db"))
    assert check_lines(log).lines == 6 and check_lines([]).head == START and check_lines(log[:4]).lines == 4
    assert check_lines(line.replace("\n", "\r\n") for line in log).witnessed == 2
    breaks([*log[:1], *log[2:]], 2, "number 3")
    breaks([log[1], log[0], *log[2:]], 1)
    breaks([*log, log[0]], 7)
    breaks([log[0].replace("Signer 0", "Signer X"), *log[1:]], 1, "changed")
    for n in range(6):  # any character of any line
        for at in range(0, len(log[n]) - 1, 23):
            changed = log[n][:at] + ("0" if log[n][at] != "0" else "1") + log[n][at + 1 :]
            breaks([*log[:n], changed, *log[n + 1 :]], n + 1)
    for text in (
        "",
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        "\udcff",
        log[0].replace(":1,", ": 1,"),
        log[0].replace("{", '{"number":1,', 1),
    ):
        breaks([text, *log[1:]], 1)


def test_a_log_that_its_host_wrote_anew_still_has_the_signatures_of_keys(tmp_path: Path) -> None:
    log = exported(Store(f"sqlite:///{tmp_path}/a.db"))
    line = json.loads(log[1])
    first = json.loads(log[0])
    wrong: list[dict[str, Any]] = [
        {"name": "Mallory"}, {"letter": OTHER.digest}, {"statement": line["statement"].replace("Signer 1", "Mallory")},
        {"signature": first["signature"]}, {"public_key": first["public_key"]}, {"signer": first["signer"]}, {"mark": "SHA256:x"},
        {"signature": None}, {"kind": "mail"}, {"kind": "minisign"}, {"kind": "fax"}, {"number": 7}, {"number": True}, {"at": 1.5},
        {"version": 2}, {"version": True}, {"name": None}, {"statement": None}, {"name": "a\u202eb"}, {"name": "\ud800"}, {"more": "x"},
        {"letter": OTHER.digest, "statement": line["statement"].replace(LETTER.digest, OTHER.digest)},
        {name: first[name] for name in ("name", "statement", "signature", "public_key", "signer", "mark")},  # the same twice
    ]  # fmt: skip
    for changes in wrong:
        breaks(rewrite(log, 1, **changes), 2)
    breaks(rewrite(log, 4, signer="example.org/you"), 5)
    breaks(rewrite(log, 4, statement=None), 5)
    breaks(rewrite(log, 5, statement="x"), 6)
    # a page and an address are this host's word, and nobody can see who wrote them
    assert check_lines(rewrite(log, 5, signer="z…@example.org")).witnessed == 2
    with_time = rewrite(log, 1, at=1)
    assert check_lines(with_time).checked == 4 and check_lines(with_time).head != check_lines(log).head, (
        "but for who kept the head"
    )


def test_a_log_that_was_changed_in_the_store_is_seen(store: Store) -> None:
    exported(store)
    with store.changing() as connection:
        connection.execute(update(signatures).where(signatures.c.number == 5).values(name="Mallory"))
    breaks(list(lines(store)), 5, "changed")
    with store.changing() as connection:
        connection.execute(delete(signatures).where(signatures.c.number == 2))
    breaks(list(lines(store)), 2)


# the doors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Post]]:
    folder = tmp_path_factory.mktemp("letter")
    (folder / "letter.md").write_text(LETTER.text)
    token(folder, "first")
    with post() as server:
        mail = f"smtp://127.0.0.1:{server.port}?from=letter@example.net"
        made = Served(folder, "--workers", "0", "--letter", str(folder / "letter.md"), "--letter-mail", mail, "--letter-pages")
        yield made, server
        made.stop()


def call(client: openai.OpenAI, path: str, **fields: Any) -> Any:
    return client.post(f"/letter/{path}", cast_to=object, body=fields)


def test_signing_over_the_api(served: tuple[Served, Post], tmp_path: Path) -> None:
    server, mailbox = served
    looks = known(server, "looks", "--scope", "read")
    told: Any = looks.get("/letter", cast_to=object)
    assert (told["text"], told["digest"], told["title"]) == (LETTER.text, LETTER.digest, "We are not your puppets")
    assert told["kinds"] == ["ssh", "minisign", "page", "mail"] and told["log_lines"] == 0
    key, mini = SshKey(), MinisignKey()
    begun = call(looks, "signings", name="Ann Ødegård", kind="ssh")
    assert begun["token"] is None and LETTER.digest in begun["statement"]
    signed = call(looks, f"signings/{begun['id']}/proof", signature=key.sign(begun["statement"]))
    assert (signed["number"], signed["name"], signed["kind"], signed["checkable"]) == (1, "Ann Ødegård", "ssh", True)
    begun = call(looks, "signings", name="Bob", kind="minisign")
    call(looks, f"signings/{begun['id']}/proof", signature=mini.sign(begun["statement"]), public_key=mini.public)
    begun = call(looks, "signings", name="Cat", kind="mail", address="cat@example.org")
    signed = call(looks, f"signings/{begun['id']}/proof", code=mailbox.code)
    assert (signed["signer"], signed["checkable"], signed["statement"]) == ("c…@example.org", False, None)

    first: Any = looks.get("/letter/signatures", cast_to=object, options={"params": {"limit": 2}})
    rest: Any = looks.get("/letter/signatures", cast_to=object, options={"params": {"after": first["last_number"]}})
    assert [one["name"] for one in (*first["data"], *rest["data"])] == ["Cat", "Bob", "Ann Ødegård"]
    assert first["has_more"] and not rest["has_more"]
    told = looks.get("/letter", cast_to=object)
    assert told["counts"] == {"ssh": 1, "minisign": 1, "page": 0, "mail": 1} and told["log_lines"] == 3

    log = tmp_path / "log.jsonl"
    status, text, headers = asked(server, "/v1/letter/log", looks.api_key)
    assert (status, headers["content-type"]) == (200, "application/jsonl")
    log.write_text(text)
    listed = unstrung(server.folder, "letter", "list").stdout
    assert "Ann Ødegård  ssh  SHA256:" in listed and "c…@example.org" in listed
    assert (
        json.loads(unstrung(server.folder, "letter", "list", "--json", "--limit", "1").stdout)["signatures"][0]["name"] == "Cat"
    )
    assert json.loads(unstrung(server.folder, "letter", "count", "--json").stdout) == {"counts": told["counts"], "signatures": 3}
    other = tmp_path / "other.md"
    other.write_text(OTHER.text)
    assert re.search(r"all  0\n", unstrung(server.folder, "letter", "count", "--letter", str(other)).stdout)
    kept = tmp_path / "kept.jsonl"
    assert unstrung(server.folder, "letter", "export", "-o", str(kept)).stdout == f"{kept}\n"
    assert "--force" in unstrung(server.folder, "letter", "export", "-o", str(kept)).stderr
    assert unstrung(server.folder, "letter", "export").stdout == kept.read_text() == log.read_text()

    elsewhere = tmp_path / "elsewhere"
    done = unstrung(elsewhere, "letter", "check", str(log))
    assert done.returncode == 0 and told["log_head"] in done.stdout and "1 by ssh, 1 by minisign, 1 by mail" in done.stdout
    assert "verified 2 signatures" in done.stderr and not elsewhere.exists()
    checked = json.loads(
        unstrung(elsewhere, "letter", "check", str(log), "--letter", str(server.folder / "letter.md"), "--json").stdout
    )
    assert checked["counts"] == {LETTER.digest: told["counts"]} and (checked["checked"], checked["witnessed"]) == (2, 1)
    log.write_text(log.read_text().replace("Bob", "Eve"))
    broken = unstrung(elsewhere, "letter", "check", str(log))
    assert broken.returncode == 2 and "Line 2: " in broken.stderr
    log.write_bytes(b"\xff\n")
    assert "Line 1: " in unstrung(elsewhere, "letter", "check", str(log)).stderr
    assert "can't be read" in unstrung(elsewhere, "letter", "check", str(tmp_path / "none")).stderr


def test_what_the_api_refuses(served: tuple[Served, Post]) -> None:
    server, _ = served
    with pytest.raises(openai.AuthenticationError):
        server.client.get("/letter", cast_to=object)
    ann = known(server, "ann")
    wrong: list[dict[str, Any]] = [
        {}, {"name": "Ann"}, {"kind": "ssh"}, {"name": 5, "kind": "ssh"}, {"name": None, "kind": "ssh"}, {"name": "Ann", "kind": "fax"},
        {"name": "a\nb", "kind": "ssh"}, {"name": "\ud800", "kind": "ssh"}, {"name": "Ann", "kind": "\ud800"}, {"\ud800": "x"},
        {"name": "Ann", "kind": "mail"}, {"name": "Ann", "kind": "mail", "address": "a@b"}, {"name": "Ann", "kind": "ssh", "letter": "x"},
        {"name": "Ann", "kind": "page", "address": "http://example.org/"}, {"name": "Ann", "kind": "ssh", "address": "a@b.org"},
    ]  # fmt: skip
    for fields in wrong:
        body = json.dumps(fields).encode()  # as escapes: the client can't write half a character itself
        with pytest.raises(openai.BadRequestError):
            ann.post("/letter/signings", cast_to=object, content=body, options={"headers": {"content-type": "application/json"}})
    key, begun = SshKey(), call(ann, "signings", name="Ann", kind="ssh")
    for fields in ({}, {"code": "12345678"}, {"signature": "x"}, {"signature": 5}, {"signature": key.sign("x"), "code": "1"}):
        with pytest.raises(openai.BadRequestError):
            call(ann, f"signings/{begun['id']}/proof", **fields)
    with pytest.raises(openai.NotFoundError):
        call(ann, "signings/signing_x/proof", signature="x")
    call(ann, f"signings/{begun['id']}/proof", signature=key.sign(begun["statement"]))
    with pytest.raises(openai.ConflictError) as conflict:
        call(ann, f"signings/{begun['id']}/proof", signature=key.sign(begun["statement"]))
    assert conflict.value.code == "used"
    again = call(ann, "signings", name="Ann", kind="ssh")
    with pytest.raises(openai.ConflictError) as conflict:
        call(ann, f"signings/{again['id']}/proof", signature=key.sign(again["statement"]))
    assert conflict.value.code == "already_signed"
    with pytest.raises(openai.InternalServerError) as failed:
        call(ann, "signings", name="Ann", kind="mail", address="nobody@example.org")
    assert (failed.value.status_code, failed.value.code) == (503, "mail_failed")
    for address in ("https://127.0.0.1:8443/", "https://localhost/"):
        inside = call(ann, "signings", name="Ann", kind="page", address=address)
        with pytest.raises(openai.BadRequestError) as private:
            call(ann, f"signings/{inside['id']}/proof")
        assert private.value.code == "private_address"


def test_hosts_offer_what_they_have(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/a.db")
    box = Letterbox(store, LETTER)
    assert box.kinds == ("ssh", "minisign")
    for kind in ("page", "mail", "", "SSH"):
        assert refused("invalid_value", lambda kind=kind: box.begin("Ann", kind, "ann@example.org")).field == "kind"
    whole = Letterbox(store, LETTER, fetch=lambda _: b"", send=lambda *_: None)
    assert whole.kinds == tuple(Kind)
    waiting = whole.begin("Ann", "page", "https://example.org/")
    refused("invalid_value", lambda: box.prove(waiting.id))
    refused("bad_proof", lambda: whole.prove(waiting.id))
    plain = Served(tmp_path / "data", "--workers", "0")
    try:
        with pytest.raises(openai.NotFoundError):
            plain.client.get("/letter", cast_to=object)
    finally:
        plain.stop()
    letter = tmp_path / "letter.md"
    letter.write_text(LETTER.text)
    for words, says in (
        (["--letter-pages"], "--letter FILE"), (["--letter", str(tmp_path / "none")], "can't be read"),
        (["--letter", str(letter), "--letter-mail", "smtp://bob:hush@h.org"], "smtps://"),
    ):  # fmt: skip
        done = unstrung(tmp_path / "data", "serve", "--workers", "0", *words)
        assert done.returncode == 2 and says in done.stderr and "hush" not in done.stderr


def test_the_pages_commands_run(tmp_path: Path) -> None:
    """Signing, exporting and checking as the page tells it, with nothing of ours in the last of its blocks."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    blocks = re.findall(r"```sh\n(.*?)```", (Path(__file__).parents[1] / "docs" / "letter.md").read_text(), re.S)
    program = tmp_path / "bin" / "unstrung"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unstrung "$@"\n')
    program.chmod(0o755)
    key, data = tmp_path / "id_ed25519", tmp_path / "data"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    data.mkdir()
    store = Store(f"sqlite:///{data}/unstrung.db")
    begun = begin(store, LETTER, "Ann Ødegård", Kind.SSH)
    (tmp_path / "statement.txt").write_text(begun.statement or "")
    environment = {**os.environ, "UNSTRUNG_DATA": str(data), "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks:
        words = block.replace("~/.ssh/id_ed25519", str(key))
        done = subprocess.run(["sh", "-ec", words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (block, done.stderr)
        if block == blocks[0]:
            prove_key(store, LETTER, begun.id, (tmp_path / "statement.txt.sig").read_text())
    assert len(blocks) == 3 and "Good" in done.stdout
