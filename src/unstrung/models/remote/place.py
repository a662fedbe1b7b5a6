"""Where a host is, and what it is to be told: checked before anything is sent. Here the one host that the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from unstrung.errors import MissingWeights

URL, KEY, MODEL = "UNSTRUNG_REMOTE_URL", "UNSTRUNG_REMOTE_KEY", "UNSTRUNG_REMOTE_MODEL"
INSECURE, PATIENCE = "UNSTRUNG_REMOTE_INSECURE", "UNSTRUNG_REMOTE_PATIENCE"
EXAMPLE = "https://films.example.org/v1"


@dataclass(frozen=True)
class Place:
    """A host of the Videos API: `url` ends where `/videos` follows; `patience` is how many seconds it may be silent."""

    url: str
    key: str = field(default="", repr=False)
    model: str = "sora-2"  # which every such host maps to a model of its own
    patience: float = 300.0
    url_from: str = URL  # what to mend where the address is wrong, or the key, as errors call it
    key_from: str = KEY

    @property
    def name(self) -> str:
        """Return the host as people call it, with its port where it has one."""
        return urlsplit(self.url).netloc

    @property
    def near(self) -> bool:
        """Say whether it is this machine."""
        return _is_near(urlsplit(self.url).hostname or "")


def find_place(model: str, environ: Mapping[str, str] = os.environ) -> Place:
    """Return the host that the environment names; raise `MissingWeights`, which never shows a key, where it names none."""
    url, key = environ.get(URL, "").strip().rstrip("/"), environ.get(KEY, "").strip()
    if not url:
        words = f"{model} has no host yet: set {URL}, as {EXAMPLE}, and {KEY} to your token there."
        raise MissingWeights(words)
    if wrong := complaint(url, key, URL, KEY, f"set {INSECURE}=1", environ.get(INSECURE) == "1"):
        raise MissingWeights(wrong)
    return Place(url, key, environ.get(MODEL, "").strip() or Place.model, patience(environ))


def complaint(url: str, key: str, url_from: str, key_from: str, to_allow: str, insecure: bool) -> str:
    """Return why nothing can be sent there, in words that show neither address nor key; nothing where all is well."""
    parts = _split(url)
    # a key within the address would be shown wherever the address is
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        return f"{url_from} must be like {EXAMPLE}: https, a host, a path, and no name or password; the key goes in {key_from}."
    if any(c <= " " or not c.isascii() or not c.isprintable() for c in url):
        return f"{url_from} holds a character that no address has: write it in ASCII, as {EXAMPLE}."
    if parts.scheme == "http" and not _is_near(parts.hostname) and not insecure:
        return f"{url_from} is http, where all on the way can read the key and the prompts: use https, or {to_allow}."
    if any(not "!" <= c <= "~" for c in key):
        return f"{key_from} holds a space, or a character that no token has: copy it again."
    return ""


def patience(environ: Mapping[str, str]) -> float:
    """Return for how many seconds hosts may be silent; raise `MissingWeights` where that is said wrongly."""
    said = environ.get(PATIENCE, "")
    if not said.strip():
        return Place.patience
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise MissingWeights(f"{PATIENCE} is '{said}'; it is how many seconds a host may be silent, from 0 to 86400.")
    return seconds


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
