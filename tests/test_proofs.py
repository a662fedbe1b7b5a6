"""Signatures of people's own keys: OpenSSH's and minisign's, by their own programs and without them, and what is none."""

from __future__ import annotations

import base64
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keys import CURVES, MinisignKey, SshKey, armored, mpint, string
from unstrung.jobs.proofs import BadProof, KeyProof, read_minisign, read_ssh

WORDS = "unstrung letter signature 1\nname: Ann Ødegård\n"
KINDS = ["ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa", *(f"ecdsa-sha2-nistp{bits}" for bits in CURVES)]
MADE = ["ed25519", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa -b 2048", "rsa -b 3072"]


def holds(proof: KeyProof) -> None:
    assert proof.holds(WORDS.encode())
    assert not proof.holds(WORDS.encode() + b"\n") and not proof.holds(b"")


def refuses(says: str, read: Callable[[], KeyProof]) -> None:
    with pytest.raises(BadProof, match=says) as refused:
        read().holds(WORDS.encode())
    assert refused.value.code == "bad_proof" and refused.value.field in ("signature", "public_key")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hash_", ["sha256", "sha512"])
def test_every_kind_of_ssh_key(kind: str, hash_: str) -> None:
    key = SshKey(kind)
    proof = read_ssh(key.sign(WORDS, hash_=hash_), key.public)
    holds(proof)
    assert proof.public_key == key.public.rsplit(" ", 1)[0] and proof.signer.startswith("SHA256:")
    again = read_ssh(proof.signature.replace("\n", "\r\n") + "\n\n")
    assert (again.signature, again.mark) == (proof.signature, proof.mark), "what is kept is always the same"
    holds(again)


@pytest.mark.parametrize("made", MADE)
def test_what_ssh_keygen_signs_and_checks(tmp_path: Path, made: str) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    key, words = tmp_path / "key", tmp_path / "statement.txt"
    make = ["ssh-keygen", "-q", "-t", *made.split(), "-N", "", "-C", "", "-f", key]
    subprocess.run(make, check=True)
    words.write_text(WORDS)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "unstrung-letter", "-f", key, words], check=True, capture_output=True)
    proof = read_ssh((tmp_path / "statement.txt.sig").read_text())
    holds(proof)
    assert proof.public_key == key.with_suffix(".pub").read_text().strip()
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True)
    assert proof.signer in shown.stdout, "a signer is shown by the print that ssh-keygen shows"
    # the other way about: what is kept is what ssh-keygen checks
    kept = tmp_path / "kept.sig"
    for text in (proof.signature, SshKey().sign(WORDS)):
        kept.write_text(text)
        check = ["ssh-keygen", "-Y", "check-novalidate", "-n", "unstrung-letter", "-s", kept]
        assert subprocess.run(check, input=WORDS, text=True, capture_output=True).returncode == 0


@pytest.mark.parametrize("legacy", [False, True])
def test_minisign_keys(legacy: bool) -> None:
    key = MinisignKey()
    text = key.sign(WORDS, legacy=legacy)
    for public in (key.public, key.line, f"\r\n{key.public}".replace("\n", "\r\n")):
        proof = read_minisign(text, public)
        holds(proof)
        assert proof.signer == proof.public_key == key.line
    renamed = MinisignKey(key.key)
    assert read_minisign(renamed.sign(WORDS), renamed.public).mark == proof.mark, "another id makes no other key"
    kept = read_minisign(proof.signature, key.line)
    holds(kept)
    assert kept.signature == proof.signature and "from a test" not in kept.signature


@pytest.mark.parametrize("legacy", [False, True])
def test_what_minisign_signs_and_checks(tmp_path: Path, legacy: bool) -> None:
    if shutil.which("minisign") is None:
        pytest.skip("minisign is not installed")
    public, secret, words = tmp_path / "key.pub", tmp_path / "key", tmp_path / "statement.txt"
    subprocess.run(["minisign", "-G", "-W", "-p", public, "-s", secret], check=True, capture_output=True)
    words.write_text(WORDS)
    subprocess.run(["minisign", "-S", *(["-l"] if legacy else []), "-s", secret, "-m", words], check=True, capture_output=True)
    kept = tmp_path / "statement.txt.minisig"
    proof = read_minisign(kept.read_text(), public.read_text())
    holds(proof)
    kept.write_text(proof.signature)
    check = ["minisign", "-V", *(["-l"] if legacy else []), "-p", public, "-m", words]
    assert subprocess.run(check, capture_output=True).returncode == 0


def test_what_is_no_ssh_signature() -> None:
    key = SshKey()
    good = key.sign(WORDS)
    for text in ("", "words", good[:-10], good.replace("BEGIN", "BEGUN"), good.replace("\nU1NI", "\n!1NI"), key.public, "\ud800"):
        refuses("signature", lambda text=text: read_ssh(text))
    for cut in (4, 40, 100, 140):
        blob = base64.b64decode("".join(good.split("\n")[1:-2]))
        refuses("cut off", lambda cut=cut, blob=blob: read_ssh(armored(blob[:-cut])))
        refuses("more in it", lambda blob=blob: read_ssh(armored(blob + b"\0")))
    refuses("characters", lambda: read_ssh("A" * 20_000))
    refuses("version 1", lambda: read_ssh(key.sign(WORDS, version=2)))
    for other in (b"file", b"git", b"", b"unstrung-letter\0", b"\xff"):
        refuses("namespace", lambda other=other: read_ssh(key.sign(WORDS, namespace=other)))
    refuses("sha1", lambda: read_ssh(key.sign(WORDS, hash_="sha1")))
    refuses("public_key", lambda: read_ssh(good, SshKey().public))


def test_weak_and_strange_ssh_keys() -> None:
    def strange(blob: bytes) -> Callable[[], KeyProof]:
        return lambda: read_ssh(SshKey().sign(WORDS, blob=blob))

    refuses("1024 bits", lambda: read_ssh(SshKey("ssh-rsa", bits=1024).sign(WORDS)))
    refuses("'ssh-rsa'", lambda: read_ssh(SshKey("ssh-rsa", rsa_hash="ssh-rsa").sign(WORDS)))  # SHA-1
    refuses("'ssh-dss'", strange(string(b"ssh-dss") + mpint(7)))
    refuses("cert", strange(string(b"ssh-ed25519-cert-v01@openssh.com")))
    refuses("no Ed25519", strange(string(b"ssh-ed25519") + string(b"short")))
    rsa = SshKey("ssh-rsa").key.public_key().public_numbers()
    refuses("as SSH writes", strange(string(b"ssh-rsa") + string(b"\0\0\x01\0\x01") + mpint(rsa.n)))
    refuses("as SSH writes", strange(string(b"ssh-rsa") + mpint(0) + mpint(rsa.n)))
    refuses("bits", strange(string(b"ssh-rsa") + mpint(2**65 + 1) + mpint(rsa.n)))
    refuses("no RSA key", strange(string(b"ssh-rsa") + mpint(4) + mpint(rsa.n)))
    name, point = b"ecdsa-sha2-nistp256", SshKey("ecdsa-sha2-nistp256").blob[-65:]
    refuses("another curve", strange(string(name) + string(b"nistp384") + string(point)))
    refuses("no point", strange(string(name) + string(b"nistp256") + string(point[:33])))
    refuses("no point", strange(string(name) + string(b"nistp256") + string(b"\2" + point[1:])))
    refuses("no point", strange(string(name) + string(b"nistp256") + string(b"\4" + bytes(63) + b"\1")))
    assert not read_ssh(SshKey("sk-ssh-ed25519@openssh.com", flags=0).sign(WORDS)).holds(WORDS.encode()), "nobody was there"
    other = SshKey()
    assert not read_ssh(SshKey().sign(WORDS, blob=other.blob)).holds(WORDS.encode()), (
        "signed by another than the key that is told"
    )
    for kind in KINDS[2:]:  # that is of another kind than its key
        refuses("of the kind", lambda kind=kind: read_ssh(other.sign(WORDS, blob=SshKey(kind).blob)))


def test_what_is_no_minisign_signature() -> None:
    key, other = MinisignKey(), MinisignKey()
    good = key.sign(WORDS)
    first, told, comment, last, _ = good.split("\n")
    for text in (
        "",
        "words",
        "\n".join([first, told]),
        good.replace("untrusted", "trusted"),
        good.replace(told, told[:-4]),
        "\ud800",
    ):
        refuses("signature", lambda text=text: read_minisign(text, key.public))
    for public in ("", "RW", key.line[:-4], SshKey().public, base64.b64encode(b"Xx" + bytes(40)).decode(), "\ud800"):
        refuses("public_key", lambda public=public: read_minisign(good, public))
    refuses("another key", lambda: read_minisign(good, other.public))
    refuses("of at most", lambda: read_minisign(key.sign(WORDS, comment="x" * 1001), key.public))
    refuses("of at most", lambda: read_minisign(key.sign(WORDS, comment="a\x1bb"), key.public))
    refuses(
        "Ed or ED", lambda: read_minisign(good.replace(told, base64.b64encode(b"Ex" + key.id + bytes(64)).decode()), key.public)
    )
    same_id = MinisignKey(id=key.id)
    assert not read_minisign(good, same_id.public).holds(WORDS.encode())
    for changed in (good.replace("1700000000", "1700000001"), good.replace(last, same_id.sign(WORDS).split("\n")[3])):
        assert not read_minisign(changed, key.public).holds(WORDS.encode()), "the trusted comment is signed too"


@pytest.mark.parametrize("seed", range(4))
def test_nothing_but_a_refusal_comes_out_whatever_is_handed_in(seed: int) -> None:
    """Random bytes and mutations of good signatures, 600 of each: nothing breaks, and none but the good one holds."""
    draw = random.Random(seed)
    mini = MinisignKey()
    ssh = [SshKey(kind) for kind in KINDS]
    blobs = [base64.b64decode("".join(key.sign(WORDS).split("\n")[1:-2])) for key in ssh]
    marks, held = {read_ssh(key.sign("")).mark for key in ssh} | {read_minisign(mini.sign(""), mini.line).mark}, 0
    for _ in range(600):
        blob = bytearray(draw.choice(blobs))
        for _ in range(draw.choice((1, 1, 1, 3, 30))):
            at = draw.randrange(len(blob))
            move = draw.randrange(4)
            if move == 0:
                blob[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            elif move == 1:
                del blob[at : at + draw.choice((1, 4, 50))]
            elif move == 2:
                blob[at:at] = draw.randbytes(draw.choice((1, 4, 50)))
            else:
                blob[at : at + 4] = draw.choice((0, 2**31, 2**32 - 1, len(blob))).to_bytes(4)
            blob = blob or bytearray(b"\0")
        text = bytearray(mini.sign(WORDS, legacy=draw.random() < 0.5).encode())
        for _ in range(draw.choice((1, 2, 20))):
            text[draw.randrange(len(text))] = draw.randrange(256)
        noise = "".join(chr(draw.choice((10, 32, 45, 61, 65, 0xD800, 0x110000 - 1, draw.randrange(0xD7FF)))) for _ in range(200))
        public = mini.line if draw.random() < 0.8 else noise
        attempts = (
            lambda blob=blob: read_ssh(armored(bytes(blob))), lambda noise=noise: read_ssh(noise),
            lambda: read_ssh(armored(b"SSHSIG\0\0\0\1" + draw.randbytes(draw.randrange(300)))),
            lambda text=text, public=public: read_minisign(text.decode("latin-1"), public),
            lambda noise=noise: read_minisign(noise, noise),
        )  # fmt: skip
        for attempt in attempts:
            try:
                proof = attempt()
                if proof.holds(WORDS.encode()):
                    held += 1
                    assert proof.mark in marks
            except BadProof:
                continue
    assert held < 200, "what still holds was changed where nothing is signed"
