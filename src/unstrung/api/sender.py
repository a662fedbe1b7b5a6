"""Send what the outbox holds to webhooks, signed (Standard Webhooks, standardwebhooks.com), until it is received or given up.

One delivery to a webhook at a time, two to an owner's, and eight in all, each on a thread of its own: who answers slowly
holds up nobody else. What a sender has taken is left alone by others until it would be sent again anyway.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from unstrung.api import fetch
from unstrung.api.rules import RETRY_AFTER
from unstrung.jobs.store import Store
from unstrung.jobs.webhooks import KEPT, Delivery, Webhook, Webhooks

JITTER = 0.2  # of a delay, so that what failed together does not come again together
SECONDS = 10.0  # for a receiver to answer
LOOK = 0.25  # seconds between two looks into an empty outbox
STORE_AWAY = 5.0  # seconds until a store that did not answer is asked again
SWEEP = 3600.0  # seconds between two removals of what is long past
GRACE = 2.0  # seconds that a stop waits for attempts under way; after a restart they are made again
AT_ONCE, OF_AN_OWNER = 8, 2


def sign(secrets: Sequence[str], id: str, timestamp: int, body: str) -> str:
    """Return the header `webhook-signature`: an HMAC-SHA256 over id, time and body with each of the secrets."""
    said = f"{id}.{timestamp}.{body}".encode()
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, said, hashlib.sha256)).decode()}" for key in keys)


class Sender:
    """Threads that send, for as long as they are not stopped; several senders may share a store."""

    def __init__(
        self, store: Store, say: Callable[[str], None], *, allow_private: bool = False, retry_after: Sequence[float] = RETRY_AFTER
    ) -> None:
        self._webhooks, self._say = Webhooks(store), say
        self._allow_private, self._retry_after = allow_private, retry_after
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._busy: dict[str, tuple[str | None, threading.Thread]] = {}  # by webhook: whose it is, and who is at it
        self._lock = threading.Lock()
        self._looking = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to look and to send."""
        self._looking.start()

    def stop(self) -> None:
        """Begin nothing more, and wait a little for what is under way."""
        self._stopping.set()
        self._wake.set()
        self._looking.join()
        end = time.monotonic() + GRACE
        with self._lock:
            working = [thread for _, thread in self._busy.values()]
        for thread in working:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        swept = 0.0
        while not self._stopping.is_set():
            wait = LOOK
            try:
                if not swept or time.monotonic() - swept > SWEEP:
                    self._webhooks.forget(time.time() - KEPT)
                    swept = time.monotonic()
                self._look()
            except SQLAlchemyError as error:
                self._say(f"webhooks: the store does not answer ({type(error).__name__}); it is asked again")
                wait = STORE_AWAY
            self._wake.wait(wait)
            self._wake.clear()

    def _look(self) -> None:
        """Begin as many attempts as are due and have room."""
        with self._lock:
            busy = list(self._busy)
        for due, webhook in self._webhooks.due(time.time(), busy):
            if not webhook.active:  # it was there when a video ended, and has been told off since
                self._webhooks.deactivate(webhook.id, "The webhook is not active any more.")
                continue
            with self._lock:
                theirs = sum(owner == webhook.owner for owner, _ in self._busy.values())
                if len(self._busy) >= AT_ONCE or theirs >= OF_AN_OWNER:
                    continue
                thread = threading.Thread(target=self._attempt, args=(due, webhook), daemon=True)
                self._busy[webhook.id] = webhook.owner, thread
                thread.start()

    def _attempt(self, due: Delivery, webhook: Webhook) -> None:
        try:
            again = SECONDS + self._delay(due.attempts + 1)
            taken = self._webhooks.take(due, time.time() + again)
            if taken is not None:
                self._send(taken, webhook)
        except SQLAlchemyError as error:
            self._say(f"webhooks: what became of {due.event_id} could not be kept ({type(error).__name__}); it is sent again")
        finally:
            with self._lock:
                del self._busy[webhook.id]
            self._wake.set()  # there is room for the next

    def _send(self, taken: Delivery, webhook: Webhook) -> None:
        """Send once, and keep what came of it."""
        now = int(time.time())
        headers = {
            "content-type": "application/json", "webhook-id": taken.event_id, "webhook-timestamp": str(now),
            "webhook-signature": sign(webhook.signing(now), taken.event_id, now, taken.body),
        }  # fmt: skip
        status, error = None, ""
        try:
            status = fetch.post(webhook.url, taken.body.encode(), headers, seconds=SECONDS, allow_private=self._allow_private)
            error = f"The receiver answered with status {status}."
        except fetch.FetchFailed as failed:
            error = failed.message
        if status is not None and 200 <= status < 300:
            self._webhooks.delivered(taken, status)
        elif status == 410:
            self._webhooks.missed(taken, status, error, None)
            self._webhooks.deactivate(webhook.id, "The receiver had answered with status 410: it is gone.")
            self._say(f"webhooks: the receiver of {webhook.id} says that it is gone, and hears nothing more")
        elif taken.attempts > len(self._retry_after):
            words = f"{error} Given up after {taken.attempts} attempts."
            self._webhooks.missed(taken, status, words, None)
            self._say(f"webhooks: {taken.event_id} to {webhook.id}: {words}")
        else:
            self._webhooks.missed(taken, status, error, time.time() + self._delay(taken.attempts))

    def _delay(self, attempt: int) -> float:
        """Return in how many seconds the next attempt is due after one that failed, counted from 1."""
        delay = self._retry_after[min(attempt, len(self._retry_after)) - 1] if self._retry_after else 0.0
        return delay * random.uniform(1, 1 + JITTER)
