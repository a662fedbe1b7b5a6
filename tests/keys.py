"""Keys for tests, and what they sign: written here as OpenSSH and minisign write it, by cryptography alone."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAMESPACE = b"unstrung-letter"
CURVES: dict[int, tuple[Any, Any]] = {
    256: (ec.SECP256R1(), hashes.SHA256()),
    384: (ec.SECP384R1(), hashes.SHA384()),
    521: (ec.SECP521R1(), hashes.SHA512()),
}


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def mpint(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1))


def raw_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def armored(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


@dataclass
class SshKey:
    """A key of one of OpenSSH's kinds; a "sk-" one is in software, and `flags` says whether somebody touched it."""

    kind: str = "ssh-ed25519"
    flags: int = 1
    bits: int = 2048
    rsa_hash: str = "rsa-sha2-512"
    application: bytes = b"ssh:"
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        if self.kind == "ssh-rsa":
            self.key = rsa.generate_private_key(65537, self.bits)
        elif self.kind.startswith("ecdsa"):
            self.key = ec.generate_private_key(CURVES[int(self.kind[-3:])][0])
        else:
            self.key = Ed25519PrivateKey.generate()

    @property
    def blob(self) -> bytes:
        kind = string(self.kind.encode())
        if self.kind == "ssh-rsa":
            numbers = self.key.public_key().public_numbers()
            return kind + mpint(numbers.e) + mpint(numbers.n)
        if self.kind.startswith("ecdsa"):
            point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            return kind + string(self.kind[-8:].encode()) + string(point)
        return kind + string(raw_of(self.key)) + (string(self.application) if self.kind.startswith("sk-") else b"")

    @property
    def public(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()} somebody@somewhere\n"

    def raw(self, data: bytes) -> bytes:
        """What the key itself makes of some bytes."""
        if self.kind == "ssh-rsa":
            hash_ = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512(), "ssh-rsa": hashes.SHA1()}[self.rsa_hash]
            return string(self.rsa_hash.encode()) + string(self.key.sign(data, PKCS1v15(), hash_))
        kind = string(self.kind.encode())
        if self.kind.startswith("ecdsa"):
            r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(CURVES[int(self.kind[-3:])][1])))
            return kind + string(mpint(r) + mpint(s))
        if self.kind.startswith("sk-"):
            after = bytes([self.flags]) + (7).to_bytes(4)
            told = hashlib.sha256(self.application).digest() + after + hashlib.sha256(data).digest()
            return kind + string(self.key.sign(told)) + after
        return kind + string(self.key.sign(data))

    def sign(
        self, message: str, *, namespace: bytes = NAMESPACE, hash_: str = "sha512", version: int = 1, blob: bytes | None = None
    ) -> str:
        rest = string(namespace) + string(b"") + string(hash_.encode())
        digest = hashlib.new(hash_, message.encode()).digest()
        signed = self.raw(b"SSHSIG" + rest + string(digest))
        return armored(b"SSHSIG" + version.to_bytes(4) + string(blob or self.blob) + rest + string(signed))


@dataclass
class MinisignKey:
    """A key of minisign's."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    id: bytes = field(default_factory=lambda: secrets.token_bytes(8))

    @property
    def line(self) -> str:
        return base64.b64encode(b"Ed" + self.id + raw_of(self.key)).decode()

    @property
    def public(self) -> str:
        return f"untrusted comment: minisign public key {self.id[::-1].hex().upper()}\n{self.line}\n"

    def sign(self, message: str, *, legacy: bool = False, comment: str = "timestamp:1700000000\tfile:statement.txt") -> str:
        data = message.encode() if legacy else hashlib.blake2b(message.encode()).digest()
        signature = self.key.sign(data)
        first = base64.b64encode((b"Ed" if legacy else b"ED") + self.id + signature).decode()
        last = base64.b64encode(self.key.sign(signature + comment.encode())).decode()
        return f"untrusted comment: signature from a test\n{first}\ntrusted comment: {comment}\n{last}\n"
