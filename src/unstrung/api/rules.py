"""What the host of a server has decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unstrung.jobs.files import Caps
from unstrung.jobs.limits import Allowance

RETRY_AFTER = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)  # seconds from one attempt to the next; after the last it is given up

# what a guest may have: enough to try, and no more than a neighbour would mind
GUESTS = Allowance(
    concurrent_jobs=2, seconds_a_day=120.0, storage_bytes=200_000_000, largest_pixels=1280 * 720, requests_a_minute=600
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What names stand for, who may ask, and what this machine does at strangers' bidding. Unset, as little as can be."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()  # by which a server of the web passes questions on to this one
    guarded: bool = False  # others can reach this server: nobody is answered without a token, and any name will do
    guests: Allowance | None = None  # whoever opens the page may make videos: so much each
    framed_by: Sequence[str] = ()  # origins whose pages may show this host's page inside theirs
    fetch_images: bool = False  # from public addresses, where a request names a picture so
    private_webhooks: bool = False  # webhooks may lead into this host's own network
    webhook_retry: Sequence[float] = RETRY_AFTER
    caps: Caps = field(default_factory=Caps)
    letter: Path | None = None  # Markdown, for people to sign
    letter_mail: str | None = field(default=None, repr=False)  # the mail server that brings signers their codes; has a password
    letter_pages: bool = False  # signers may prove a page of theirs, which this host then asks for
