"""What happens to videos, told to all who listen: one look into the store a tick for all, and none where nobody listens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from unstrung.job import ENDED
from unstrung.jobs.store import JobEvent, News, Store

TICK = 0.2  # seconds between two looks
SILENCE = 15.0  # seconds after which a line that nothing was said on is kept open with a word

Said = list[tuple[int, str]]  # events by their numbers, in the stream's words


@dataclass(eq=False)
class _Ear:
    """Somebody who listens, as long as they may: what one look has found, a piece each; None: there is no more to hear."""

    may: Callable[[], bool]
    heard: asyncio.Queue[Said | None] = field(default_factory=asyncio.Queue)


@dataclass
class _Channel:
    """Those who listen to one job, and the number of the last event that was handed to them."""

    number: int
    ears: list[_Ear] = field(default_factory=list)


class Bus:
    """Hands each job's events to all who listen to it, in their order. Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._channels: dict[str, _Channel] = {}
        self._watch: asyncio.Task[None] | None = None

    async def stream(self, id: str, heard: int, may: Callable[[], bool]) -> AsyncIterator[str]:
        """Yield what is said of a job after the event number `heard`, as server-sent events, until it has ended or is gone.

        Whoever may not hear it any more, hears no more.
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
                yield "".join(map(_words, before))
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
                if news := [words for number, words in said if number > heard]:
                    heard = said[-1][0]
                    yield "".join(news)
        finally:
            channel.ears.remove(ear)
            if not channel.ears and self._channels.get(id) is channel:
                del self._channels[id]

    def _said(self, id: str, heard: int) -> list[JobEvent]:
        found = self._store.events(id, max(0, heard - 1))
        if heard and not found:
            # a power cut took what this client has heard: numbers are given out again, and it hears all there is
            return self._store.events(id)
        return [event for event in found if event.number > heard]

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

        def look() -> tuple[News, set[_Ear]]:
            news = self._store.news({id: channel.number for id, channel in channels.items()})
            return news, {ear for ear in ears if not ear.may()} if news.said else set()

        # words are found, sent and allowed once a look: each by itself, fifty who listen cost a worker a tenth of its speed
        news, deaf = await run_in_threadpool(look)
        said: dict[str, Said] = defaultdict(list)
        for event in news.said:
            said[event.job_id].append((event.number, _words(event)))
        for id, found in said.items():
            channels[id].number = found[-1][0]
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


def _words(event: JobEvent) -> str:
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps({'at': event.at, **event.data})}\n\n"
