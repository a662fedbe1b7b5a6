"""Fetching what strangers name: every refusal has its test, against real servers on this machine."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unstrung.api.fetch import FetchFailed, check_url, get, is_public, post

ASK: Any = {"most_bytes": 1000, "seconds": 10}


@contextmanager
def answering(answer: Callable[[socket.socket], None] | bytes, tls: Path | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that hears a request and answers; gives its port and what it has heard."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(sock: socket.socket) -> None:
        with sock:
            try:
                if tls is not None:
                    import ssl

                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
                    sock = context.wrap_socket(sock, server_side=True)
                request = sock.recv(65536)
                while request.startswith(b"POST") and not request.endswith(b"{}"):  # what the tests send
                    request += sock.recv(65536)
                heard.append(request)
                if isinstance(answer, bytes):
                    sock.sendall(answer)
                else:
                    answer(sock)
                sock.close()
            except OSError:
                return  # the other side has hung up

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def reply(body: bytes, head: str = "HTTP/1.1 200 OK", *headers: str) -> bytes:
    return "\r\n".join([head, f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def fails(code: str, url: str, **more: Any) -> str:
    with pytest.raises(FetchFailed) as failed:
        get(url, **{**ASK, **more})
    assert failed.value.code == code and failed.value.field == "url", failed.value.message
    return failed.value.message


PRIVATE = (
    "127.0.0.1 127.255.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 240.0.0.1 "
    "255.255.255.255 192.0.0.9 192.0.2.1 192.88.99.1 198.18.0.1 ::1 :: fc00::1 fe80::1 fec0::1 ff02::1 ff0e::1 "
    "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: "
    "2002:a00:1::1 2001::1 2001:db8::1 3fff::1 100::1 5f00::1 ::ffff:0:127.0.0.1 fd00:ec2::254"
).split()
PUBLIC = "8.8.8.8 93.184.215.14 2606:4700::1111 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::8.8.8.8".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_of_the_public_network_is_refused(address: str) -> None:
    assert not is_public(address)
    url = f"http://{f'[{address}]' if ':' in address else address}:8080/"
    assert "public network" in fails("private_address", url) and address not in fails("private_address", url)
    with pytest.raises(FetchFailed):
        check_url(url)
    with pytest.raises(FetchFailed):
        post(url, b"", {}, seconds=5)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_of_the_public_network_is_not(address: str) -> None:
    assert is_public(address)
    check_url(f"https://{f'[{address}]' if ':' in address else address}/")


SPELLINGS = "2130706433 0x7f000001 0x7f.1 127.1 0177.0.0.1 017700000001 127.000.000.001 0 localhost".split()


@pytest.mark.parametrize("host", SPELLINGS)
def test_other_spellings_of_an_address_are_the_address(host: str) -> None:
    with answering(reply(b"secret")) as (port, heard):
        assert fails("private_address", f"http://{host}:{port}/")
        assert not heard
    if not host.startswith("localhost"):
        with pytest.raises(FetchFailed):
            check_url(f"http://{host}/")


BAD = [
    ("ftp://example.org/", "http://"), ("file:///etc/passwd", "http://"), ("gopher://example.org:8080/", "http://"),
    ("example.org", "http://"), ("http://", "http://"), ("http:///x", "http://"), ("", "http://"),
    ("http://user@example.org/", "no password"), ("http://user:word@example.org/", "no password"),
    ("http://@example.org/", "no password"), ("http://example.org:22/", "port 22"), ("http://example.org:0/", "port 0"),
    ("http://example.org:99999/", "read"), ("http://example.org:8o80/", "read"), ("http://[::1/", "read"),
    ("http://[fe80::1%25eth0]/", "interface"), ("http://ex ample.org/", "ASCII"), ("http://example.org/\r\nX: y", "ASCII"),
    ("http://example.org\\@127.0.0.1/", "ASCII"), ("http://ex\u00e4mple.org/", "xn--"), ("http://\uff11\uff12\uff17.1/", "ASCII"),
    ("http://example.org/" + "x" * 2000, "2000"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "says"), BAD, ids=[ascii(url)[:40] for url, _ in BAD])
def test_a_bad_url_is_refused_before_anybody_is_asked(url: str, says: str) -> None:
    def nobody(*_: Any, **__: Any) -> list[Any]:
        raise AssertionError("somebody was asked")

    assert says in fails("bad_url", url, resolve=nobody, allow_private=True)


def test_a_name_of_a_private_address_is_refused() -> None:
    with answering(reply(b"secret")) as (port, heard):
        for addresses in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]):
            rows = [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]
            fails("private_address", f"http://inside.example:{port}/", resolve=lambda *_, rows=rows, **__: rows)
        assert not heard


def test_a_name_is_resolved_once_and_what_was_checked_is_asked() -> None:
    with answering(reply(b"right")) as (port, heard), answering(reply(b"wrong")) as (other, wrongly):
        asked: list[str] = []

        def changing(first: tuple[str, int], then: tuple[str, int]) -> Callable[..., list[Any]]:
            asked.clear()

            def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
                asked.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", first if len(asked) == 1 else then)]

            return resolve

        turning = changing(("127.0.0.1", port), ("127.0.0.1", other))
        found = get("http://turning.example:8080/x?y=1#z", **ASK, allow_private=True, resolve=turning)
        assert found[1] == b"right" and asked == ["turning.example"] and not wrongly
        assert b"GET /x?y=1 HTTP/1.1\r\nHost: turning.example:8080\r\n" in heard.pop()
        # first public, so that it passes, and then this machine
        turning = changing(("93.184.215.14", 65000), ("127.0.0.1", port))
        with pytest.raises(FetchFailed):
            get("http://turning.example:8080/", most_bytes=1000, seconds=0.5, resolve=turning)
        assert len(asked) == 1 and not heard


def test_what_is_there_comes_with_its_type() -> None:
    with answering(reply(b"GIF89a", "HTTP/1.1 200 OK", "Content-Type: image/gif")) as (port, _):
        assert get(f"http://127.0.0.1:{port}/", **ASK, allow_private=True) == ("image/gif", b"GIF89a")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    until_the_end = b"HTTP/1.0 200 OK\r\n\r\nabcde"
    for answer in (chunked, until_the_end):
        with answering(answer) as (port, _):
            assert get(f"http://127.0.0.1:{port}/", **ASK, allow_private=True)[1] == b"abcde"
    with answering(reply(b"", "HTTP/1.1 202 Accepted")) as (port, heard):
        assert post(f"http://127.0.0.1:{port}/h", b"{}", {"webhook-id": "evt_1"}, seconds=10, allow_private=True) == 202
        assert heard[0].startswith(b"POST /h HTTP/1.1\r\n") and heard[0].endswith(b"\r\nwebhook-id: evt_1\r\n\r\n{}")


def test_no_redirect_is_followed() -> None:
    with answering(reply(b"secret")) as (inside, heard):
        for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
            there = reply(b"", f"HTTP/1.1 {status}", f"Location: http://127.0.0.1:{inside}/")
            with answering(there) as (port, _):
                assert "redirect" in fails("redirect", f"http://127.0.0.1:{port}/", allow_private=True)
                with pytest.raises(FetchFailed, match="redirect"):
                    post(f"http://127.0.0.1:{port}/", b"{}", {}, seconds=10, allow_private=True)
        assert not heard


def test_what_is_too_large_is_refused() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\nx"

    def endless(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    def endless_chunks(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    def endless_chunk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    def endless_headers(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X: " + b"x" * 60000 + b"\r\n")

    def go_on(sock: socket.socket) -> None:
        while True:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    for answer in (endless_chunk, endless_headers, go_on):
        with answering(answer) as (port, _):
            assert "more than is taken" in fails("too_large", f"http://127.0.0.1:{port}/", allow_private=True)
    for answer in (said, endless, endless_chunks, reply(b"x" * 1001)):
        with answering(answer) as (port, _):
            assert "1000 bytes" in fails("too_large", f"http://127.0.0.1:{port}/", allow_private=True)
    with answering(reply(b"x" * 1000)) as (port, _):
        assert len(get(f"http://127.0.0.1:{port}/", **ASK, allow_private=True)[1]) == 1000


def test_the_answer_to_what_is_sent_is_not_read_to_its_end() -> None:
    def endless(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    with answering(endless) as (port, _):
        assert post(f"http://127.0.0.1:{port}/", b"{}", {}, seconds=60, allow_private=True) == 200


def test_who_trickles_does_not_get_past_the_deadline() -> None:
    def trickling(start: bytes) -> Callable[[socket.socket], None]:
        def answer(sock: socket.socket) -> None:
            sock.sendall(start)
            for _ in range(600):  # a minute
                sock.sendall(b"x")
                time.sleep(0.1)

        return answer

    starts = [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
    starts += [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8;"]
    for start in starts:
        since = time.monotonic()
        with answering(trickling(start)) as (port, _):
            assert "0.5 s" in fails("too_slow", f"http://127.0.0.1:{port}/", allow_private=True, seconds=0.5)
        assert time.monotonic() - since < 20
    with answering(lambda sock: time.sleep(60)) as (port, _):
        for scheme in ("http", "https"):
            fails("too_slow", f"{scheme}://127.0.0.1:{port}/", allow_private=True, seconds=0.5)


def test_a_name_that_is_never_found_does_not_hold_anybody() -> None:
    fails("too_slow", "http://slow.example/", seconds=0.3, resolve=lambda *_, **__: time.sleep(60))

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror("unknown")

    assert "can't be found" in fails("fetch_failed", "http://unknown.example/", resolve=unknown)
    for odd in (f"http://{'a' * 64}.example/", "http://a..example/", "https://.example/"):
        check_url(odd)
        fails("fetch_failed", odd)


def test_what_is_no_answer_says_so() -> None:
    answers = [
        reply(b"x", "HTTP/1.1 404 Not Found"),
        b"SSH-2.0-OpenSSH_9\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    ]
    answers += [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc" for size in (b"-5", b"x", b"9")]
    answers += [reply(b"x", "HTTP/1.1 200 OK", "Content-Encoding: gzip"), b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**5]
    for answer in answers:
        with answering(answer) as (port, _):
            fails("fetch_failed", f"http://127.0.0.1:{port}/", allow_private=True)
    fails("fetch_failed", f"http://127.0.0.1:{port}/", allow_private=True)  # nobody listens there any more


def test_tls_is_verified_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=x -addext subjectAltName=DNS:films.example"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    with answering(reply(b"film"), tls=tmp_path) as (port, heard):

        def here(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        assert "trusted" in fails("fetch_failed", "https://films.example/", allow_private=True, resolve=here)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert get("https://films.example/", **ASK, allow_private=True, resolve=here)[1] == b"film"
        assert b"Host: films.example\r\n" in heard.pop()
        assert "trusted" in fails("fetch_failed", "https://other.example/", allow_private=True, resolve=here)
        assert not heard
