"""What happens to videos, told to all who listen: one look into the store a tick for all, and none where nobody listens."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from unstrung.job import ENDED
from unstrung.jobs.store import JobEvent, News, Store

TICK = 0.2  # seconds between two looks
SILENCE = 15.0  # seconds after which a line that nothing was said on is kept open with a word


@dataclass(frozen=True)
class Said:
    """What one look has found of a job: the number of each event, and its words without and with the preview's picture."""

    number: int
    bare: str
    full: str


@dataclass(eq=False)
class _Ear:
    """Somebody who listens, as long as they may: what one look has found, a piece each; None: there is no more to hear."""

    may: Callable[[], bool]
    heard: asyncio.Queue[list[Said] | None] = field(default_factory=asyncio.Queue)


@dataclass
class _Channel:
    """Those who listen to one job, and the number of the last event that was handed to them."""

    number: int
    ears: list[_Ear] = field(default_factory=list)


class Bus:
    """Hands each job's events to all who listen to it, in their order. Belongs to one event loop."""

    def __init__(self, store: Store, previews: Path) -> None:
        self._store, self._previews = store, previews
        self._channels: dict[str, _Channel] = {}
        self._watch: asyncio.Task[None] | None = None

    async def stream(self, id: str, heard: int, may: Callable[[], bool], pictures: bool = False) -> AsyncIterator[str]:
        """Yield what is said of a job after the event number `heard`, as server-sent events, until it has ended or is gone.

        With `pictures`, the last of the previews that are told of together comes with its picture. Whoever may not hear it any
        more, hears no more.
        """
        ear = _Ear(may)
        channel = self._channels.setdefault(id, _Channel(heard))
        channel.ears.append(ear)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._run())
        try:
            # from now on the ear hears everything; what was said before is read, and what is heard twice is passed over
            if before := await run_in_threadpool(self._said, id, heard):
                heard = before[-1].number
                yield _text(before, pictures)
            while True:
                try:
                    async with asyncio.timeout(SILENCE):
                        said = await ear.heard.get()
                except TimeoutError:
                    if not await run_in_threadpool(may):
                        return
                    yield ": here\n\n"
                    continue
                if said is None:
                    return
                if news := [one for one in said if one.number > heard]:
                    heard = news[-1].number
                    yield _text(news, pictures)
        finally:
            channel.ears.remove(ear)
            if not channel.ears and self._channels.get(id) is channel:
                del self._channels[id]

    def _said(self, id: str, heard: int) -> list[Said]:
        found = self._store.events(id, max(0, heard - 1))
        if heard and not found:
            # a power cut took what this client has heard: numbers are given out again, and it hears all there is
            return self._put(self._store.events(id))
        return self._put([event for event in found if event.number > heard])

    def _put(self, events: list[JobEvent]) -> list[Said]:
        """Put one job's events into the stream's words. There is one picture, of the last preview: a worker writes over it."""
        last = max((event.number for event in events if event.kind == "preview"), default=None)
        said = []
        for event in events:
            bare = full = _words(event, event.data)
            if event.number == last and (picture := self._picture(event.job_id)):
                full = _words(event, {**event.data, "picture": picture})
            said.append(Said(event.number, bare, full))
        return said

    def _picture(self, id: str) -> str | None:
        """Return a job's last preview as an address that holds it; None where it is gone by now."""
        try:
            data = (self._previews / f"{id}.png").read_bytes()
        except FileNotFoundError:
            return None
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    async def _run(self) -> None:
        try:
            while self._channels:
                await self._tick()
                await asyncio.sleep(TICK)
        except Exception:
            logging.getLogger("unstrung.events").error("broke", exc_info=True)
            for id, channel in list(self._channels.items()):
                self._end(id, channel)  # they come again, with the number that they heard last

    async def _tick(self) -> None:
        channels = dict(self._channels)  # one that is opened meanwhile has its turn with the next look
        ears = [ear for channel in channels.values() for ear in channel.ears]

        def look() -> tuple[News, dict[str, list[Said]], set[_Ear]]:
            news = self._store.news({id: channel.number for id, channel in channels.items()})
            events: dict[str, list[JobEvent]] = defaultdict(list)
            for event in news.said:
                events[event.job_id].append(event)
            said = {id: self._put(of_job) for id, of_job in events.items()}
            return news, said, {ear for ear in ears if not ear.may()} if said else set()

        # words are found, sent and allowed once a look: each by itself, fifty who listen cost a worker a tenth of its speed
        news, said, deaf = await run_in_threadpool(look)
        for id, found in said.items():
            channels[id].number = found[-1].number
            for ear in channels[id].ears:
                ear.heard.put_nowait(None if ear in deaf else found)
        for id, channel in channels.items():
            status, count = news.standing.get(id, (None, 0))
            channel.number = min(channel.number, count) if status else channel.number
            if status is None or (status in ENDED and channel.number == count):
                self._end(id, channel)

    def _end(self, id: str, channel: _Channel) -> None:
        for ear in channel.ears:
            ear.heard.put_nowait(None)
        if self._channels.get(id) is channel:
            del self._channels[id]


def _words(event: JobEvent, data: Mapping[str, Any]) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps({'at': event.at, **data})}\n\n"


def _text(said: Iterable[Said], pictures: bool) -> str:
    return "".join(one.full if pictures else one.bare for one in said)
