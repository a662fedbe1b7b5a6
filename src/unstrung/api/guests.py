"""Guests: whoever opens the page, where the host lets anybody in. Each is an owner of their own, and is kept nowhere.

A guest's pass is a random name and what this store alone can make of it, so that there is nothing to look up and nothing to
guess: what a guest makes is seen by nobody who has not the same pass.
"""

from __future__ import annotations

import hmac
import re
import secrets

from unstrung.jobs.limits import Allowance

PREFIX = "guest:"  # no token's owner can be called so, for the colon


class Guests:
    """Gives out passes and knows them again."""

    def __init__(self, secret: bytes, allowance: Allowance) -> None:
        self._secret, self.allowance = secret, allowance

    def welcome(self) -> str:
        """Return a pass for somebody new."""
        name = secrets.token_hex(16)
        return f"{PREFIX}{name}:{self._mark(name)}"

    def owner_of(self, text: str) -> str | None:
        """Return whom a pass belongs to; None for what is no pass of this store."""
        match = re.fullmatch(f"{PREFIX}([0-9a-f]{{32}}):([0-9a-f]{{64}})", text)
        if match is None or not hmac.compare_digest(match[2], self._mark(match[1])):
            return None
        return f"{PREFIX}{match[1]}"

    def is_guest(self, owner: str | None) -> bool:
        """Say whether videos of an owner are a guest's."""
        return owner is not None and owner.startswith(PREFIX)

    def _mark(self, name: str) -> str:
        return hmac.digest(self._secret, f"guest {name}".encode(), "sha256").hex()
