"""Signatures that people make with keys of their own, read and verified: OpenSSH's (SSHSIG) and minisign's.

Pure functions of text. Whatever is handed in, `BadProof` alone comes out. What was read is given back in one spelling, without
what the signature does not cover, so that the same key is always the same text.

Sources: OpenSSH's PROTOCOL.sshsig, PROTOCOL.u2f and RFC 4251, 5656, 8332, 8709; https://jedisct1.github.io/minisign/.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unstrung.errors import InvalidRequest, UnstrungError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NAMESPACE = "unstrung-letter"  # what `ssh-keygen -Y sign -n` is to be given: a signature for something else is none for a letter
LONGEST_PROOF = 16_000  # characters: an RSA key of 16384 bits and its signature take 6000
LONGEST_COMMENT = 1000  # characters of minisign's trusted comment, which is signed and so kept
RSA_BITS = (2048, 16384)
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
UNTRUSTED = "untrusted comment: "
TRUSTED = "trusted comment: "

ED25519, SK_ED25519, RSA = "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa"
CURVES = {f"ecdsa-sha2-nistp{bits}": (f"nistp{bits}", (bits + 7) // 8) for bits in (256, 384, 521)}
RSA_HASHES = {"rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512"}  # SHA-1 ("ssh-rsa") can be forged
TOUCHED = 1  # the flag by which a security key says that somebody was there


class BadProof(InvalidRequest):
    """What was handed in proves nothing."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message, code="bad_proof")


@dataclass(frozen=True)
class KeyProof:
    """A signature that was read: `signer` is the key as people know it, `mark` the key alone, and `holds` verifies."""

    signer: str
    mark: str
    public_key: str
    signature: str
    holds: Callable[[bytes], bool]


def check_installed() -> None:
    """Raise `UnstrungError` where the library that verifies is missing."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        words = "Verifying signatures needs what the default install leaves out: pip install '.[ui]'"
        raise UnstrungError("not_installed", None, words) from None


def read_ssh(text: str, public_key: str | None = None) -> KeyProof:
    """Read what `ssh-keygen -Y sign -n unstrung-letter` writes; the key is in it, and is the given one where one is given.

    Raises `BadProof` for what is none, is for another namespace, or is of a kind of key that is not known or too weak.
    """
    wire = _Wire(_armored(text))
    if wire.take(6) != b"SSHSIG" or wire.number() != 1:
        raise BadProof("signature", "signature is no SSH signature of version 1: make it with ssh-keygen -Y sign.")
    blob, namespace, reserved, name, signed = wire.text(), wire.text(), wire.text(), wire.text(), wire.text()
    wire.end()
    if namespace != NAMESPACE.encode():
        words = f"signature is for the namespace {_shown(namespace)}; it must be made with ssh-keygen -Y sign -n {NAMESPACE}."
        raise BadProof("signature", words)
    if name not in (b"sha256", b"sha512"):
        raise BadProof("signature", f"signature uses the hash {_shown(name)}; it must be sha256 or sha512.")
    check_installed()
    kind, verify = _read_key(blob)
    told = f"{kind} {base64.b64encode(blob).decode()}"
    if public_key is not None and public_key.strip() and public_key.split()[:2] != told.split():
        raise BadProof("public_key", "public_key is not the key that signature was made with.")
    print_ = f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"
    armor = "\n".join([BEGIN, *textwrap.wrap(base64.b64encode(wire.all).decode(), 70), END, ""])

    def holds(message: bytes) -> bool:
        digest = hashlib.new(name.decode(), message).digest()
        return verify(signed, b"SSHSIG" + b"".join(map(_string, (namespace, reserved, name, digest))))

    return KeyProof(print_, print_, told, armor, holds)


def read_minisign(text: str, public_key: str) -> KeyProof:
    """Read what `minisign -S` writes, with the signer's .pub file or its last line; raise `BadProof`.

    The trusted comment is verified too. The untrusted one, which anybody can change, is left out.
    """
    raw = _decode(_pub_line(public_key), "public_key", 42)
    if raw[:2] != b"Ed":
        raise BadProof("public_key", "public_key is no minisign key: it begins with RW, and is in the .pub file.")
    lines = _lines(text, "signature")
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise BadProof("signature", "signature is no minisign signature: it must be all four lines of the .minisig file.")
    signed, whole = _decode(lines[1], "signature", 74), _decode(lines[3], "signature", 64)
    comment = lines[2].removeprefix(TRUSTED)
    if len(comment) > LONGEST_COMMENT or any(c < " " and c != "\t" for c in comment):
        raise BadProof("signature", f"signature has a trusted comment that is no line of at most {LONGEST_COMMENT} characters.")
    if signed[:2] not in (b"Ed", b"ED"):
        raise BadProof("signature", f"signature is of the kind {_shown(signed[:2])}; it must be Ed or ED.")
    if signed[2:10] != raw[2:10]:
        raise BadProof("signature", "signature was made with another key than public_key: their ids differ.")
    key = _ed25519(raw[10:])
    told = base64.b64encode(raw).decode()
    first, last = (base64.b64encode(part).decode() for part in (signed, whole))
    plain = "\n".join([f"{UNTRUSTED}{NAMESPACE}", first, lines[2], last, ""])
    mark = f"SHA256:{base64.b64encode(hashlib.sha256(raw[10:]).digest()).decode().rstrip('=')}"  # an id is whatever one likes

    def holds(message: bytes) -> bool:
        if signed[:2] == b"ED":
            message = hashlib.blake2b(message).digest()
        return _fits(key, signed[10:], message) and _fits(key, whole, signed[10:] + comment.encode())

    return KeyProof(told, mark, told, plain, holds)


class _Wire:
    """Bytes as SSH writes them (RFC 4251), read from the front; every length is checked before it is believed."""

    def __init__(self, data: bytes) -> None:
        self.all, self._at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.all) - self._at:
            raise BadProof("signature", "signature is cut off: copy all of it, from its first line to its last.")
        self._at += count
        return self.all[self._at - count : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4))

    def text(self) -> bytes:
        return self.take(self.number())

    def whole(self) -> int:
        """Read a number of any size, above zero and in its only spelling."""
        data = self.text()
        value = int.from_bytes(data)
        if value == 0 or data[0] > 0x7F or (data[0] == 0 and data[1] <= 0x7F):
            raise BadProof("signature", "signature has a number that is not written as SSH writes numbers.")
        return value

    def end(self) -> None:
        if self._at != len(self.all):
            raise BadProof("signature", "signature has more in it than belongs there.")


Verify = Callable[[bytes, bytes], bool]  # of a signature and what was signed


def _read_key(blob: bytes) -> tuple[str, Verify]:
    """Return the kind of an SSH key, and what verifies its signatures."""
    wire = _Wire(blob)
    kind = wire.text().decode("latin-1")
    if kind == ED25519:
        verify = _plain(_ed25519(wire.text()))
    elif kind == SK_ED25519:
        verify = _touched(_ed25519(wire.text()), wire.text())
    elif kind == RSA:
        verify = _rsa(wire.whole(), wire.whole())  # e comes first
    elif kind in CURVES:
        curve, size = CURVES[kind]
        if wire.text() != curve.encode():
            raise BadProof("signature", f"signature has a key that calls itself {kind} and lies on another curve.")
        verify = _ecdsa(kind, wire.text(), size)
    else:
        known = ", ".join((ED25519, SK_ED25519, RSA, *CURVES))
        raise BadProof("signature", f"signature is of a key of the kind {_shown(kind.encode('latin-1'))}; there are: {known}.")
    wire.end()
    return kind, verify


def _plain(key: Ed25519PublicKey) -> Verify:
    return lambda signed, data: _fits(key, _unwrap(signed, (ED25519,))[1], data)


def _touched(key: Ed25519PublicKey, application: bytes) -> Verify:
    """Verify as security keys sign: with the application that they were made for, and whether somebody touched them."""

    def verify(signed: bytes, data: bytes) -> bool:
        wire = _Wire(signed)
        _check_kind(wire.text(), (SK_ED25519,))
        signature, after = wire.text(), wire.take(5)  # flags and a counter
        wire.end()
        told = hashlib.sha256(application).digest() + after + hashlib.sha256(data).digest()
        return bool(after[0] & TOUCHED) and _fits(key, signature, told)

    return verify


def _ecdsa(kind: str, point: bytes, size: int) -> Verify:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    curve, hash_ = {32: (ec.SECP256R1(), hashes.SHA256()), 48: (ec.SECP384R1(), hashes.SHA384())}.get(
        size, (ec.SECP521R1(), hashes.SHA512())
    )
    if len(point) != 1 + 2 * size or point[0] != 4:  # in full, so that a key has one spelling
        raise BadProof("signature", f"signature has a key that is no point of {kind}.")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise BadProof("signature", f"signature has a key that is no point of {kind}.") from None

    def verify(signed: bytes, data: bytes) -> bool:
        wire = _Wire(_unwrap(signed, (kind,))[1])
        r, s = wire.whole(), wire.whole()
        wire.end()
        try:
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hash_))
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _rsa(e: int, n: int) -> Verify:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    least, most = RSA_BITS
    if not least <= n.bit_length() <= most or e.bit_length() > 64:
        words = f"signature has an RSA key of {n.bit_length()} bits; it must have {least} to {most}."
        raise BadProof("signature", words)
    try:
        key = RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise BadProof("signature", "signature has a key whose numbers are no RSA key.") from None

    def verify(signed: bytes, data: bytes) -> bool:
        kind, signature = _unwrap(signed, tuple(RSA_HASHES))
        try:
            key.verify(signature, data, PKCS1v15(), {"sha256": hashes.SHA256(), "sha512": hashes.SHA512()}[RSA_HASHES[kind]])
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _ed25519(raw: bytes) -> Ed25519PublicKey:
    check_installed()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise BadProof("public_key", "The key is no Ed25519 key.") from None


def _fits(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _unwrap(signed: bytes, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    """Return the kind of a signature, which must be one of those, and its bytes."""
    wire = _Wire(signed)
    kind, signature = _check_kind(wire.text(), kinds), wire.text()
    wire.end()
    return kind, signature


def _check_kind(said: bytes, kinds: tuple[str, ...]) -> str:
    if said.decode("latin-1") not in kinds:
        raise BadProof("signature", f"signature is of the kind {_shown(said)}; with its key it must be {' or '.join(kinds)}.")
    return said.decode()


def _armored(text: str) -> bytes:
    lines = _lines(text, "signature")
    if len(lines) < 3 or lines[0].strip() != BEGIN or lines[-1].strip() != END:
        raise BadProof("signature", f"signature must be the whole .sig file, from {BEGIN} to {END}.")
    return _decode("".join(line.strip() for line in lines[1:-1]), "signature")


def _pub_line(text: str) -> str:
    lines = _lines(text, "public_key")
    return lines[-1].strip() if lines else ""


def _lines(text: str, field: str) -> list[str]:
    """Return the lines that have something in them, however they end; no other character ends a line."""
    if len(text) > LONGEST_PROOF:
        raise BadProof(field, f"{field} has {len(text)} characters; it may have {LONGEST_PROOF}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadProof(field, f"{field} has characters that are none.") from None
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _decode(line: str, field: str, size: int | None = None) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise BadProof(field, f"{field} can't be read: it is not base64, or a part of it is missing.") from None
    if size is not None and len(data) != size:
        raise BadProof(field, f"{field} has {len(data)} bytes where minisign writes {size}.")
    return data


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _shown(said: bytes) -> str:
    """Return what somebody sent as words: only what can be read, and not much of it."""
    return repr(re.sub("[^ -~]", "?", said.decode("latin-1"))[:60])
