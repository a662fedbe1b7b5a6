"""Run the server and its workers: workers are processes of their own, and are started again when they die."""

from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from unstrung.api.drive import Driver
from unstrung.api.rules import Rules
from unstrung.api.sender import Sender
from unstrung.api.server import create_app
from unstrung.corpus.feed import asked_to_stop
from unstrung.errors import InvalidRequest
from unstrung.jobs.store import Store
from unstrung.jobs.tokens import Tokens
from unstrung.jobs.uploads import sweep_uploads

QUICK_DEATH = 5.0  # a worker that lives no longer than this is waited for before the next is started
KEEP_ALIVE = 75  # seconds that a silent connection stays open: longer than any client waits between two polls
LAST_WORDS = 5  # seconds in which answers are finished when the server is asked to stop; those who listen come again


class Workers:
    """Worker processes that are kept alive; what a dead one had begun goes back into the queue at once."""

    def __init__(self, store: Store, count: int, options: Sequence[str]) -> None:
        self.store, self.options = store, options
        self._stopping = threading.Event()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._threads = [threading.Thread(target=self._keep, args=(n,)) for n in range(count)]

    def start(self) -> None:
        """Start all of them."""
        for thread in self._threads:
            thread.start()

    def alive(self) -> int:
        """Return how many of them live."""
        return sum(process.poll() is None for process in list(self._running.values()))

    def stop(self) -> None:
        """Ask all to give their work back and end, and wait until they have."""
        self._stopping.set()
        for process in list(self._running.values()):
            process.terminate()
        for thread in self._threads:
            thread.join()

    def _keep(self, number: int) -> None:
        while not self._stopping.is_set():
            since = time.monotonic()
            name = f"served-{number}-{time.time_ns()}"
            command = [sys.executable, "-m", "unstrung", "worker", "--attached", str(os.getpid()), "--name", name]
            process = self._running[number] = subprocess.Popen([*command, *self.options], stdin=subprocess.DEVNULL)
            if self._stopping.is_set():
                process.terminate()
            code = process.wait()
            if self._stopping.is_set():
                return
            logging.getLogger("unstrung.serve").warning("worker ended", extra={"fields": {"worker": name, "code": code}})
            self.store.leave(name)
            self.store.release(worker=name)
            if time.monotonic() - since < QUICK_DEATH:
                self._stopping.wait(QUICK_DEATH)


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine can reach an address; raise `InvalidRequest` for what is none."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        words = f"host is '{host}'; it must be an address of this machine, as 127.0.0.1, or 0.0.0.0 for all of them."
        raise InvalidRequest("host", words) from None


def _check(rules: Rules) -> None:
    """Raise `InvalidRequest` where a name is no host's, or an origin none."""
    for named in rules.names:
        if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", named) is None:
            words = f"name is '{named}'; it must be a host's name, as films.example.org: no scheme, no port, no path."
            raise InvalidRequest("name", words)
    for origin in rules.framed_by:
        if re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?", origin) is None:
            words = f"framed-by is '{origin}'; it must be an origin, as https://example.org: no path, and no plain http."
            raise InvalidRequest("framed_by", words)


def serve(
    store: Store, folder: Path, rules: Rules, *, host: str, port: int, workers: int, worker_options: Sequence[str],
    dress: Callable[[FastAPI], None] = lambda app: None,
) -> None:  # fmt: skip
    """Answer until SIGTERM or Ctrl-C; then let the workers give back what they have. `dress` adds a page to the application.

    At another address than this machine's own, or by another name, others can ask too: raises `InvalidRequest` where no token
    was given out and no guests are let in.
    """
    _check(rules)
    alone = is_loopback(host) and not rules.names
    if not alone and rules.guests is None and all(token.revoked_at for token in Tokens(store).list()):
        at = rules.names[0] if rules.names else host
        words = f"At {at} other machines can reach this server, and nobody has a token yet: unstrung tokens create NAME"
        raise InvalidRequest("host", words, code="no_tokens")
    sweep_uploads(store, folder / "uploads", time.time())  # what was cut off while it was taken in
    log = logging.getLogger("unstrung.serve")
    staff = Workers(store, workers, worker_options)
    app = create_app(store, folder, replace(rules, guarded=not alone), workers=staff.alive)
    dress(app)
    driver = Driver(app.state.desk, log.warning)
    sender = Sender(store, log.warning, allow_private=rules.private_webhooks, retry_after=rules.webhook_retry)
    name = f"[{host}]" if ":" in host else host
    to = "this machine alone" if alone else "whoever has a token" if rules.guests is None else "whoever comes"
    said = {"at": f"http://{name}:{port}/v1", "to": to}
    log.info("listening", extra={"fields": said})
    staff.start()
    sender.start()
    driver.start()
    # what lives as long as the server is never looked through again for what can go: a tenth of what a busy page costs
    gc.collect()
    gc.freeze()
    try:
        # uvicorn stops at a signal, and then sends it once more to whoever listened before: that is nobody's business here
        with asked_to_stop():
            uvicorn.run(
                app, host=host, port=port, log_config=None, log_level="warning", access_log=False, server_header=False,
                proxy_headers=False, backlog=4096, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=LAST_WORDS,
            )  # fmt: skip
    finally:
        sender.stop()
        driver.stop()
        staff.stop()
