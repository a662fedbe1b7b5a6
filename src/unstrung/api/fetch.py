"""Speak to addresses that strangers name, without lending them this machine's place in its network (SSRF).

- `http` and `https` alone, no `user:password@`, ports 80, 443 and all above 1023 (8080 and 8443 among them): below are
  services that were not made to be spoken to by strangers, such as mail.
- A host is resolved once. If one of its addresses is not of the public network, the host is refused: loopback, private,
  link-local (where clouds keep their keys), carrier's NAT, multicast, reserved, unspecified, and IPv6 that stands for one of
  those. Connected to is what was checked, and nothing is resolved again, so that a name can't change in between (DNS rebinding).
- TLS is verified against the host's name. No redirect is followed: it is an error that says so. No proxy is asked.
- `seconds` is for everything together, from the name to the last byte, however slowly a server trickles.

`get` and `post` are all there is; `check_url` says beforehand what can be said without asking anybody. `allow_private` lifts
the rule about addresses and no other, for hosts that want to reach their own network. Everything raises `FetchFailed` alone,
whose `code` is `bad_url`, `private_address`, `redirect`, `too_large`, `too_slow` or `fetch_failed`.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from unstrung.errors import UnstrungError

MOST_URL = 2000  # characters
LOW_PORTS = (80, 443)
CHUNK = 2**16  # bytes that are sent in one go
MOST_ABOUT = 2**20  # bytes that may come around an answer's body, beside as many as the body may have: headers, lengths of chunks

Resolver = Callable[..., list[tuple[Any, ...]]]

# what the standard library's tables, which differ from one version to the next, take for the public network
NOT_PUBLIC_4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
PUBLIC_6 = IPv6Network("2000::/3")
# protocol assignments with Teredo, documentation twice, 6to4
NOT_PUBLIC_6 = tuple(IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16"))
NAT64 = IPv6Network("64:ff9b::/96")


class FetchFailed(UnstrungError):
    """What a stranger named could not be, or must not be, asked."""

    def __init__(self, message: str, code: str = "fetch_failed") -> None:
        super().__init__(code, "url", message)


@dataclass(frozen=True)
class _Place:
    """Where a URL leads: `path` holds the query too."""

    secure: bool
    host: str
    port: int
    path: str


def get(
    url: str, *, most_bytes: int, seconds: float, allow_private: bool = False, resolve: Resolver = socket.getaddrinfo
) -> tuple[str, bytes]:
    """Return what is at a URL: its content type, as the server says, and its bytes; raise `FetchFailed`."""
    with _ask("GET", url, None, {}, most_bytes, seconds, allow_private, resolve) as answer:
        if answer.status != 200:
            raise FetchFailed(f"The server at url answers with status {answer.status}, not with 200.")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed("The server at url answers in an encoding that it was not asked for.")
        # a length that is said is believed only where it is too much
        body = b"" if (answer.length or 0) > most_bytes else answer.read(most_bytes + 1)
        if len(body) > most_bytes or (answer.length or 0) > most_bytes:
            raise FetchFailed(f"What is at url has more than {most_bytes} bytes, the most that is taken.", "too_large")
        if answer.length:
            raise FetchFailed(f"The server at url broke off: {answer.length} bytes are missing.")
        return answer.headers.get("content-type", "application/octet-stream"), body


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, allow_private: bool = False,
    resolve: Resolver = socket.getaddrinfo,
) -> int:  # fmt: skip
    """Send a body to a URL and return the status of the answer, whose own body is not read; raise `FetchFailed`."""
    with _ask("POST", url, body, headers, 0, seconds, allow_private, resolve) as answer:
        return answer.status


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Raise `FetchFailed` for a URL that can't be fetched whatever names stand for; nobody is asked."""
    place = _place(url)
    try:
        # reads numbers alone, in all the spellings that connecting would read: 127.1, 0x7f000001, 2130706433
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    _check_addresses(found, allow_private)


def is_public(address: str) -> bool:
    """Say whether an address is of the public network, as is what it stands for where it wraps another."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if isinstance(ip, IPv6Address):
        return ip.is_global and ip in PUBLIC_6 and not any(ip in network for network in NOT_PUBLIC_6)
    special = ip.is_multicast or ip.is_reserved or any(ip in network for network in NOT_PUBLIC_4)
    return ip.is_global and not special


@contextmanager
def _ask(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], most_bytes: int, seconds: float, allow_private: bool,
    resolve: Resolver,
) -> Iterator[http.client.HTTPResponse]:  # fmt: skip
    """Send a request and give the answer, of which headers alone have been read; say in words what goes wrong meanwhile."""
    end = time.monotonic() + seconds
    place = _place(url)
    try:
        found = _resolve(place, end, resolve)
        _check_addresses(found, allow_private)
        with _connect(place, found, end) as sock:
            kind = http.client.HTTPSConnection if place.secure else http.client.HTTPConnection
            connection = kind(place.host, place.port)
            connection.auto_open = 0  # it would resolve the name again
            connection.sock = _Wire(sock, end, 2 * most_bytes + MOST_ABOUT)
            connection.request(method, place.path, body, {"User-Agent": "unstrung", **headers})
            answer = connection.getresponse()
            if 300 <= answer.status < 400:
                words = (
                    f"The server at url answers with a redirect ({answer.status}), and none is followed: give the last address."
                )
                raise FetchFailed(words, "redirect")
            yield answer
    except TimeoutError:
        raise FetchFailed(f"The server at url took longer than the {seconds:g} s that it has.", "too_slow") from None
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "no TLS"
        raise FetchFailed(f"The server at url can't be trusted: {reason}.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FetchFailed(f"The server at url did not answer as a web server does ({type(error).__name__}).") from None


def _place(url: str) -> _Place:
    """Read a URL, more strictly than most do: what two readers may read differently is refused."""
    if len(url) > MOST_URL or not url.isascii() or any(c <= " " or c in '\\\x7f"<>^`{|}' for c in url):
        words = f"url must have at most {MOST_URL} characters, all of them ASCII; others are written as %20, hosts as xn--..."
        raise FetchFailed(words, "bad_url")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise FetchFailed(f"url can't be read: {error}.", "bad_url") from None
    if parts.scheme not in ("http", "https") or not host:
        raise FetchFailed("url must begin with http:// or https:// and a host.", "bad_url")
    if "@" in parts.netloc or "%" in host:
        raise FetchFailed("url must name a host alone: no user, no password, no network interface.", "bad_url")
    secure = parts.scheme == "https"
    port = (443 if secure else 80) if port is None else port
    if port not in LOW_PORTS and port <= 1023:
        raise FetchFailed(f"url has port {port}; allowed are 80, 443 and those above 1023.", "bad_url")
    return _Place(secure, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _resolve(place: _Place, end: float, resolve: Resolver) -> list[tuple[Any, ...]]:
    """Return a host's addresses; the system's resolver knows no deadline, and is left alone where it takes too long."""
    found: list[list[tuple[Any, ...]]] = []

    def ask() -> None:
        try:
            found.append(resolve(place.host, place.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            found.append([])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_left(end))
    if not found:
        raise TimeoutError
    if not found[0]:
        raise FetchFailed(f"url names the host '{place.host}', which can't be found.")
    return found[0]


def _check_addresses(found: list[tuple[Any, ...]], allow_private: bool) -> None:
    # one private address is enough; it is not told, for strangers could ask for this network's names
    if not allow_private and not all(is_public(row[4][0]) for row in found):
        words = "url leads to an address that is not of the public network: name a host that anybody can reach."
        raise FetchFailed(words, "private_address")


def _connect(place: _Place, found: list[tuple[Any, ...]], end: float) -> socket.socket:
    """Connect to the first of the addresses that answers, and shake hands."""
    for n, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(end) / (len(found) - n))
            sock.connect(address)
        except OSError:
            sock.close()
            if n == len(found) - 1:
                raise
            continue
        if not place.secure:
            return sock
        try:
            sock.settimeout(_left(end))
            return ssl.create_default_context().wrap_socket(sock, server_hostname=place.host)
        except BaseException:
            sock.close()
            raise
    raise AssertionError("a host that was found has an address")


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Wire:
    """A connection as `http.client` uses it, of which no step lasts longer than is left of the whole."""

    def __init__(self, sock: socket.socket, end: float, most: int) -> None:
        self._sock, self._end, self._most = sock, end, most

    def sendall(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            self._sock.settimeout(_left(self._end))
            self._sock.sendall(data[at : at + CHUNK])

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._end, self._most))

    def close(self) -> None:
        """Leave it open: whoever connected closes it, when the answer has been read."""


class _Reader(io.RawIOBase):
    """What comes, and no more of it than may: `http.client` reads on for ever where a chunk says that it has -1 bytes."""

    def __init__(self, sock: socket.socket, end: float, most: int) -> None:
        super().__init__()
        self._sock, self._end, self._most = sock, end, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._end))
        count = self._sock.recv_into(buffer)
        self._most -= count
        if self._most < 0:
            raise FetchFailed("The server at url sends more than is taken.", "too_large")
        return count
