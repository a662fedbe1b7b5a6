"""What all routes share: the store, the files, who may ask, and a fresh forecast."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from fastapi import Depends

from unstrung import engine
from unstrung.api.bus import Bus
from unstrung.api.callers import Caller, Door
from unstrung.api.rules import Rules
from unstrung.api.schema import MOST_VARIANTS, Asked, Video, video_of
from unstrung.card import ModelCard
from unstrung.errors import UnstrungError
from unstrung.job import ENDED, Job, Status
from unstrung.jobs.limits import check_size
from unstrung.jobs.queue import Turn
from unstrung.jobs.store import Also, Store
from unstrung.jobs.uploads import Upload, remove_upload
from unstrung.jobs.worker import remove_pictures
from unstrung.plugins import check_installed, find_card
from unstrung.request import DEFAULT_MODEL, slug

FORECAST_SECONDS = 0.5  # how old a forecast may be
VETTED_AT_ONCE = 2  # files that are read in processes of their own: each may take some gigabytes
FORECAST_REST, MOST_REST = 4, 0.05  # between two, in times of what one takes to make, and in seconds at most
POLL_MS = (250, 5000)  # a client keeps the pace that it hears first

Variant = Literal["video", "thumbnail", "spritesheet", "preview"]


@dataclass(frozen=True)
class Once:
    """A request that its caller has given a name, if any, and the digest of its body: sent again, it makes nothing new."""

    key: str | None
    body: str


@dataclass
class Desk:
    """The store, where files are, who may ask, and what the host has decided."""

    store: Store
    folder: Path
    door: Door
    rules: Rules
    bus: Bus = field(init=False)
    _secret: bytes = field(init=False)
    vetting: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(VETTED_AT_ONCE))
    _turns: dict[str, Turn] = field(default_factory=dict)
    _since: float = 0.0
    _cost: float = 0.0  # seconds that the last forecast took to make
    _models: dict[str, tuple[ModelCard, ModuleType]] = field(default_factory=dict)  # those that were asked for
    _forecasting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.bus, self._secret = Bus(self.store, self.folder / "previews"), self.store.secret()

    def asker(self, scope: str) -> Any:
        """Return what a route takes as its caller: somebody who has this scope."""
        return Depends(self.door.may(scope))

    def card(self, model: str | None) -> ModelCard:
        """Return a model's card; raise `UnknownModel`, or `MissingWeights` where it is not installed.

        A folder of this machine can't be named by strangers, but by an alias of the host's.
        """
        model = model or DEFAULT_MODEL
        listed = model not in self.rules.aliases.values()
        card, module = self._models.get(model) or self._models.setdefault(model, find_card(model, listed))
        check_installed(card, module)
        return card

    def look(self, asked: Asked, caller: Caller) -> None:
        """Raise `UnstrungError` where what somebody asks for would be refused now, for what it is or for want of room."""
        self.store.check_room(self._jobs(asked, caller), caller.allowance)

    def submit(
        self, asked: Asked, caller: Caller, *, ids: Sequence[str] | None = None, also: Also | None = None, body: str | None = None
    ) -> list[Job]:
        """Put what somebody asks for into the queue, all or nothing; raise `UnstrungError` where that can't be done.

        What `also` does is done in the same transaction. Ids are drawn, unless they are given.
        """
        return self.store.add_all(self._jobs(asked, caller, ids), caller.allowance, also, body)

    def _jobs(self, asked: Asked, caller: Caller, ids: Sequence[str] | None = None) -> list[Job]:
        first = engine.check(asked.request, self.card(asked.request.model)).target
        assert first.seed is not None
        check_size(first, caller.allowance)
        seeded = [replace(first, seed=(first.seed + i) % 2**63) for i in range(asked.variants)]
        chosen: Sequence[str | None] = ids or [None] * len(seeded)
        return [
            self.store.new_job(
                asked.request, resolved, id=id, owner=caller.owner, draft=asked.draft, public=asked.public,
                remixed_from_video_id=asked.remixed_from,
            )
            for resolved, id in zip(seeded, chosen, strict=True)
        ]  # fmt: skip

    def submit_once(self, asked: Asked, caller: Caller, once: Once, also: Also) -> list[Job]:
        """Do as `submit` does, under the name that the caller has given the request, if any."""
        if once.key is None:
            return self.submit(asked, caller, also=also)
        ids = [_id_of(self._secret, caller, once.key, i) for i in range(asked.variants)]
        try:
            return self.submit(asked, caller, ids=ids, also=also, body=once.body)
        except UnstrungError as error:
            if error.code in ("id_taken", "over_limit") and (made := self.made(caller, once)):
                return made  # the same came twice, at the same moment
            raise

    def made(self, caller: Caller, once: Once) -> list[Job]:
        """Return what was made of a request when it came before, because the answer to that was lost.

        Raises `UnstrungError` where it was another request that its caller gave the same name.
        """
        if once.key is None:
            return []
        found: list[Job] = []
        while len(found) < MOST_VARIANTS and (job := self.store.find(_id_of(self._secret, caller, once.key, len(found)))):
            found.append(job)
        if found and self.store.body_of(found[0].id) not in (None, once.body):
            words = f"The Idempotency-Key '{once.key}' was sent before with another request: choose another for this one."
            raise UnstrungError("key_reused", "idempotency_key", words)
        return found

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
        takes = turn.ends_in if turn else job.estimate
        if job.status is Status.IN_PROGRESS and job.progress and job.started_at:
            takes = (time.time() - job.started_at) * 100 / job.progress
        return str(int(min(max(100 * takes, POLL_MS[0]), POLL_MS[1])) if takes is not None else POLL_MS[1])

    def file(self, id: str, variant: Variant, caller: Caller) -> tuple[Path, str, str]:
        """Return a video's file, its type, and the name that its prompt gives it; raise `UnstrungError` where there is none."""
        job = self.store.get(id, caller.sees, or_public=True)
        preview, name = self.folder / "previews" / f"{job.id}.png", slug(job.request.prompt)
        if variant == "preview" and preview.exists():
            return preview, "image/png", f"{name}.png"
        clip = self.store.clip(id)
        if clip is None or variant == "preview":
            raise UnstrungError("not_ready", "video_id", f"Video {id} has no {variant}: it is {job.status}.")
        if variant == "video":
            return self.folder / "clips" / clip.file, "video/mp4", f"{name}.mp4"
        suffix, kind = {"thumbnail": (".webp", "image/webp"), "spritesheet": (".jpg", "image/jpeg")}[variant]
        return self.folder / "previews" / f"{job.id}{suffix}", kind, f"{name}{suffix}"

    def remove(self, id: str, caller: Caller) -> None:
        """Forget a video and its files, and stop it where it waits or runs."""
        job = self.store.get(id, caller.sees)
        if job.status not in ENDED:
            self.store.cancel(id)
        clip = self.store.remove(id)
        if clip is not None:
            (self.folder / "clips" / clip.file).unlink(missing_ok=True)
        remove_pictures(self.folder / "previews", id)
        for condition in job.request.conditions:
            if condition.source.startswith("upload_"):  # sent for a video, and gone with the last that needs it
                with suppress(UnstrungError):
                    self.remove_upload(condition.source, caller)

    def remove_upload(self, id: str, caller: Caller) -> Upload:
        """Forget what was sent, and its file; raise `UnstrungError` where a video still needs it."""
        upload = remove_upload(self.store, id, caller.sees)
        (self.folder / "uploads" / upload.file).unlink(missing_ok=True)
        return upload


def _id_of(secret: bytes, caller: Caller, key: str, number: int) -> str:
    """Return the id that a caller's own key for a request comes to; nobody else's comes to the same, and nobody can tell it."""
    text = json.dumps([caller.owner, key, number])
    return f"video_{hmac.digest(secret, text.encode(), 'sha256').hex()[:32]}"
