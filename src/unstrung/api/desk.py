"""What all routes share: the store, the files, who may ask, and a fresh forecast."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastapi import Depends

from unstrung import engine
from unstrung.api.bus import Bus
from unstrung.api.callers import Caller, Door
from unstrung.api.schema import Asked, Video, video_of
from unstrung.card import ModelCard
from unstrung.errors import UnstrungError
from unstrung.job import ENDED, Job, Status
from unstrung.jobs.queue import Turn
from unstrung.jobs.store import Store
from unstrung.plugins import find_card
from unstrung.request import DEFAULT_MODEL

FORECAST_SECONDS = 0.5  # how old a forecast may be
FORECAST_REST, MOST_REST = 4, 0.05  # between two, in times of what one takes to make, and in seconds at most
POLL_MS = (250, 5000)  # a client keeps the pace that it hears first

Variant = Literal["video", "thumbnail", "spritesheet"]


@dataclass
class Desk:
    """The store, where files are, what names stand for, and who may ask."""

    store: Store
    folder: Path
    door: Door
    aliases: Mapping[str, str]
    bus: Bus = field(init=False)
    _turns: dict[str, Turn] = field(default_factory=dict)
    _since: float = 0.0
    _cost: float = 0.0  # seconds that the last forecast took to make
    _cards: dict[str, ModelCard] = field(default_factory=dict)  # of models that were asked for
    _forecasting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.bus = Bus(self.store)

    def asker(self, scope: str) -> Any:
        """Return what a route takes as its caller: somebody who has this scope."""
        return Depends(self.door.may(scope))

    def submit(self, asked: Asked, caller: Caller) -> Job:
        """Put what somebody asks for into the queue; raise `UnstrungError` where it can't be made, or is too much."""
        model = asked.request.model or DEFAULT_MODEL
        card = self._cards.get(model) or self._cards.setdefault(model, find_card(model)[0])
        resolved = engine.check(asked.request, card).target
        return self.store.submit(
            asked.request, resolved, owner=caller.owner, draft=asked.draft, public=asked.public,
            remixed_from=asked.remixed_from, allowance=caller.allowance,
        )  # fmt: skip

    def show(self, job: Job) -> Video:
        """Return a job in the API's words, with its turn."""
        return video_of(job, self.turn(job))

    def turn(self, job: Job) -> Turn | None:
        """Return when a job's turn will come; None where it does not wait."""
        if job.status is not Status.QUEUED:
            return None
        if self._is_stale(job):
            with self._forecasting:
                if self._is_stale(job):  # else somebody has just made one, for all who came meanwhile
                    self._forecast()
        return self._turns.get(job.id)

    def _forecast(self) -> None:
        # many who come at the same moment wait a little for one forecast, instead of making one each
        time.sleep(max(0.0, self._since + min(FORECAST_REST * self._cost, MOST_REST) - time.monotonic()))
        begin = time.thread_time()
        self._turns = {turn.id: turn for turn in self.store.turns()}
        self._since, self._cost = time.monotonic(), time.thread_time() - begin

    def _is_stale(self, job: Job) -> bool:
        return time.monotonic() - self._since > FORECAST_SECONDS or job.id not in self._turns

    def poll_after(self, job: Job) -> str:
        """Return in how many milliseconds it is worth asking again: a tenth of the time that it will take."""
        turn = self.turn(job)
        left = turn.ends_in if turn else job.estimate
        return str(int(min(max(100 * left, POLL_MS[0]), POLL_MS[1])))

    def file(self, id: str, variant: Variant, caller: Caller) -> tuple[Path, str]:
        """Return a file of a finished video and its type; raise `UnstrungError` where it is not finished."""
        job, clip = self.store.get(id, caller.sees, or_public=True), self.store.clip(id)
        if clip is None:
            raise UnstrungError("not_ready", "video_id", f"Video {id} has no content: it is {job.status}.")
        if variant == "video":
            return self.folder / "clips" / clip.file, "video/mp4"
        suffix, kind = {"thumbnail": (".webp", "image/webp"), "spritesheet": (".jpg", "image/jpeg")}[variant]
        return self.folder / "previews" / f"{job.id}{suffix}", kind

    def remove(self, id: str, caller: Caller) -> None:
        """Forget a video and its files, and stop it where it waits or runs."""
        if self.store.get(id, caller.sees).status not in ENDED:
            self.store.cancel(id)
        clip = self.store.remove(id)
        if clip is not None:
            (self.folder / "clips" / clip.file).unlink(missing_ok=True)
        for suffix in (".webp", ".jpg", ".png"):
            (self.folder / "previews" / f"{id}{suffix}").unlink(missing_ok=True)
