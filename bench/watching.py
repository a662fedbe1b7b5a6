"""Those who watch, without their browsers: `python bench/watching.py PORT COUNT`, which `bench/studio.py` starts.

Each asks what `studio/look/look.js` asks while its page is in view, at the same moments, and does as little as it can with
the answers: it shares the cores with the server that is measured, and gives way to it. Says "ready" when all have their boards,
and when stdin is closed what it did, as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

PREVIEW_REST, WAITING_REST = 1.0, 10.0  # as in the script
KEEP_ALIVE = 60.0  # seconds, within those after which the server hangs up
STATE = re.compile(rb'event: state\ndata: [^\n]*"status": "(\w+)"')
CARD = re.compile(r'data-id="(\w+)" data-status="(\w+)"')
ON_ITS_WAY = ("queued", "in_progress")
PAGE = "/studio/en"


class Browser:
    """One page that is open: its connections, and the cards on its board."""

    def __init__(self, port: int, config: dict[str, Any], number: int) -> None:
        self.port, self.session = port, f"bench{number:06}"
        calls = {tuple(target): call["id"] for call in config["dependencies"] for target in call["targets"]}
        load = next(target for target in calls if target[1] == "load")
        self._load = {"fn_index": calls[load], "trigger_id": load[0], "event_data": None}
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._cards: dict[str, str] = {}  # on the board, the newest first, by where they stand
        self._waited: set[str] = set()  # of these, those that are shown as on their way
        self._shown: dict[str, float] = {}  # when previews were asked for
        self._listens: str | None = None
        self._soon = asyncio.Event()
        self._broken = False
        self.events, self.broke = 0, list[str]()

    async def live(self) -> None:
        """Stay at the page."""
        while True:
            rest = await self._tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), rest)
                await asyncio.sleep(0.1)
            self._soon.clear()

    async def come(self) -> None:
        """Do as the page does when it is loaded."""
        await self._get(f"{PAGE}/gradio_api/queue/join?", {"data": [], **self._load, "session_hash": self.session})
        await self._get(f"{PAGE}/gradio_api/queue/data?session_hash={self.session}", close=True)
        await self._render()

    async def _tick(self) -> float:
        on_way = [id for id, status in self._cards.items() if status in ON_ITS_WAY]
        rest, renewed = WAITING_REST, False
        if not self._broken and self._listens is None:
            running = next((id for id in on_way if self._cards[id] == "in_progress"), on_way[-1] if on_way else None)
            if running:
                self._listens = running
                self._spawn(self._hear(running))
        for id in on_way:
            if self._listens == id and self._cards[id] == "in_progress":
                continue
            rest = min(rest, await self._ask(id))
        self._broken = False
        for id in [id for id in self._waited if self._cards[id] not in ON_ITS_WAY]:
            _, card = await self._get(f"{PAGE}/card/{id}")
            self._waited.discard(id)
            self._show(id, card.decode())
            renewed = True
        return 1.0 if renewed else rest

    async def _ask(self, id: str) -> float:
        head, body = await self._get(f"/v1/videos/{id}")
        self._cards[id] = json.loads(body)["unstrung"]["status"]
        if self._cards[id] == "in_progress":
            self._preview(id)
        pace = re.search(rb"openai-poll-after-ms: (\d+)", head)
        return WAITING_REST if self._cards[id] == "queued" else min(int(pace[1]) / 1000 if pace else 1.0, 5.0)

    async def _hear(self, id: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            self._head("GET", f"/v1/videos/{id}/events?pictures=true", "Accept: text/event-stream\r\nConnection: close\r\n")
        )
        while said := await reader.read(2**16):
            self.events += said.count(b"event: ")
            if found := STATE.findall(said):
                self._cards[id] = found[-1].decode()
                if self._cards[id] not in ON_ITS_WAY:
                    self._soon.set()
        writer.close()
        self._listens, self._broken = None, True

    def _preview(self, id: str) -> None:
        if time.monotonic() - self._shown.get(id, -PREVIEW_REST) >= PREVIEW_REST:
            self._shown[id] = time.monotonic()
            self._spawn(self._picture(id))

    async def _picture(self, id: str) -> None:
        await self._get(f"/v1/videos/{id}/content?variant=preview&at={time.time_ns() // 10**6}")

    async def _render(self) -> None:
        """Get the board, and fetch what is on it."""
        _, body = await self._get(f"{PAGE}/board")
        self._cards = {}
        for html in body.decode().split("<article ")[1:]:
            id, self._cards[id] = CARD.search(html).groups()  # type: ignore[union-attr]
            self._show(id, html)
        self._waited = {id for id, status in self._cards.items() if status in ON_ITS_WAY}

    def _show(self, id: str, html: str) -> None:
        """Fetch what a browser fetches for a card."""
        if "<video" in html:
            self._spawn(self._fetch(f"/v1/videos/{id}/content?variant=thumbnail"))
            self._spawn(self._fetch(f"/v1/videos/{id}/content", "Range: bytes=0-\r\n"))

    async def _fetch(self, path: str, more: str = "") -> None:
        await self._get(path, more=more)

    async def _get(self, path: str, fields: Any = None, close: bool = False, more: str = "") -> tuple[bytes, bytes]:
        """Ask, on a connection that is free; return head and body."""
        reader, writer, since = self._idle.pop() if self._idle else (None, None, 0.0)
        if reader is None or writer is None or time.monotonic() - since > KEEP_ALIVE:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps(fields).encode() if fields else b""
        if fields:
            more = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(self._head("POST" if fields else "GET", path, more + "Connection: close\r\n" * close) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        if close:
            answer = await reader.read(-1)
            writer.close()
            return head, answer
        length = re.search(rb"content-length: (\d+)", head)
        answer = await reader.readexactly(int(length[1]) if length else 0)
        self._idle.append((reader, writer, time.monotonic()))
        return head, answer

    def _head(self, method: str, path: str, more: str = "") -> bytes:
        agent = "User-Agent: bench\r\nAccept-Encoding: gzip, deflate, br\r\n"
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{agent}{more}\r\n".encode()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.broke.append(type(task.exception()).__name__)


async def watch(port: int, count: int) -> None:
    """Watch until stdin is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {PAGE}/config HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    config = json.loads((await reader.read(-1)).partition(b"\r\n\r\n")[2])
    browsers = [Browser(port, config, number) for number in range(count)]
    for browser in browsers:
        await browser.come()
    living = [asyncio.create_task(browser.live()) for browser in browsers]
    print("ready", flush=True)
    since = time.process_time()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    broken = [type(task.exception()).__name__ for task in living if task.done()] + [
        words for browser in browsers for words in browser.broke
    ]
    used, events = time.process_time() - since, sum(browser.events for browser in browsers)
    print(json.dumps({"cpu_seconds": round(used, 2), "events": events, "broken": broken}), flush=True)


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(watch(int(sys.argv[1]), int(sys.argv[2])))
