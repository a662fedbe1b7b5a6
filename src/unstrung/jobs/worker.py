"""The worker: takes a job, makes its clip, puts that where it belongs, and takes the next. One loop.

It may be killed at any instruction. A clip is written under a name of its worker's own, whole or not at all, and belongs to its
job only when the store says so, in the same statement that ends the job. Whatever else lies there is swept away.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unstrung import engine
from unstrung.errors import Canceled, GivenBack, UnstrungError, places
from unstrung.events import Event, Note, Preview, Progress
from unstrung.job import Job, JobError, Status
from unstrung.jobs.store import LEASE, Store, StoredClip
from unstrung.jobs.timing import Timing
from unstrung.media.clip import Clip
from unstrung.media.codec import write_clip, write_picture
from unstrung.models.base import Model
from unstrung.recipe import Recipe
from unstrung.request import Request

IDLE = 0.25  # seconds between two looks into an empty queue
ARRIVING = re.compile(r".+-i[0-9a-f]{8}\.mp4")  # a film that was imported: its job comes after it
ARRIVING_SECONDS = 3600.0  # and by then, or it never comes

PICTURES = (".webp", ".jpg", ".png")  # of a job: a small one of its film, its contact sheet, the last preview on the way

# how far a job is, in per cent, when a stage begins and when it ends
STAGES = {
    "resolve": (0, 1), "load": (1, 3), "encode": (3, 4), "prepare": (4, 5), "sample": (5, 85), "decode": (85, 95),
    "finish": (95, 97),
}  # fmt: skip


class Worker:
    """One process's hands: a store to take jobs from, a folder to put clips into, and the model that it used last."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        name: str | None = None,
        device: str | None = None,
        log_prompts: bool = False,
    ) -> None:
        self.store, self.clips, self.previews, self.uploads = store, folder / "clips", folder / "previews", folder / "uploads"
        self.name = name or f"{socket.gethostname()}:{os.getpid()}:{time.time():.0f}"
        self.device, self.log_prompts = device, log_prompts
        self._model: tuple[str, Model] | None = None

    def run(self, stop: Callable[[], bool], once: bool = False) -> int:
        """Work until `stop` says so, or with `once` until nothing waits; return how many jobs were taken."""
        self.clips.mkdir(parents=True, exist_ok=True)
        self.previews.mkdir(parents=True, exist_ok=True)
        self.sweep()
        taken, looked = 0, 0.0
        while not stop():
            if time.time() - looked > LEASE / 4:
                self.store.attend(self.name)
                self.store.release(silent_since=time.time() - LEASE)
                self.store.forget(time.time())
                looked = time.time()
            job = self.store.claim(self.name)
            if job is not None:
                taken += 1
                self.work(job, stop)
            elif once:
                break
            else:
                time.sleep(IDLE)
        self.store.leave(self.name)
        self.close()
        return taken

    def work(self, job: Job, stop: Callable[[], bool] = lambda: False) -> None:
        """Make a job's clip, or say why not; a job that is canceled, or given to another, is dropped."""
        since = time.perf_counter()
        said: dict[str, Any] = {"prompt": job.request.prompt} if self.log_prompts else {}
        self._log("claimed", job, attempt=job.attempt, model=job.request.model, video_seconds=job.seconds, **said)
        try:
            with self._heartbeat(job):
                clip, recipe = self._make(job, stop)
                self._keep(job, clip, recipe)
            self._log("completed", job, seconds=round(time.perf_counter() - since, 2))
        except Canceled:
            if stop():
                self.store.give_back(job)
            elif self.store.find(job.id) is None:  # removed while it was made, and its pictures have come after
                remove_pictures(self.previews, job.id)
            self._log("dropped", job, seconds=round(time.perf_counter() - since, 2))
        except UnstrungError as error:
            self._fail(job, since, error.code, error.message)
        except MemoryError:
            words = "The memory of this machine was not enough: try fewer seconds or a smaller size."
            self._fail(job, since, "not_enough_memory", words)
        except Exception as error:
            self._log("broke", job, logging.ERROR, error=places(error))
            words = f"Something broke while this was made ({type(error).__name__}: {error}). The job can be tried again."
            self._fail(job, since, "internal_error", words)

    def _fail(self, job: Job, since: float, code: str, message: str) -> None:
        self.store.fail(job, JobError(code, message))
        said: dict[str, Any] = {"message": message} if self.log_prompts else {}  # an error names the value that it is about
        self._log("failed", job, logging.WARNING, code=code, seconds=round(time.perf_counter() - since, 2), **said)

    def _log(self, event: str, job: Job, level: int = logging.INFO, **fields: Any) -> None:
        logging.getLogger("unstrung.worker").log(level, event, extra={"fields": {"job": job.id, "worker": self.name, **fields}})

    def _make(self, job: Job, stop: Callable[[], bool]) -> tuple[Clip, Recipe]:
        def emit(event: Event) -> None:
            percent = None
            if isinstance(event, Progress):
                low, high = STAGES[event.stage]
                percent = int(low + (high - low) * event.done / max(1, event.total))
            seen = isinstance(event, Preview)
            if stop():
                raise GivenBack
            if (seen or percent is not None) and not self.store.beat(job, percent):
                raise Canceled
            if isinstance(event, Preview):
                write_picture(Clip(event.frames, 1).thumbnail(), self.previews / f"{job.id}.png", force=True)
                self.store.tell(job, "preview", {"step": event.step})
            if isinstance(event, Note):
                self.store.tell(job, "note", {"code": event.code, "text": event.text, **event.data})

        return engine.generate(job.request, emit, model=self._open(job.request), open_source=self._source)

    def _source(self, name: str) -> Clip:
        """Return what a condition names: a finished video of this store, or something that was sent."""
        if not re.fullmatch(r"(video|upload|char)_[0-9a-f]+", name):
            words = f"A job can't start from '{name}', only from what its store holds."
            raise UnstrungError("unknown_source", "conditions", words)
        clip = self.store.clip(name)
        found = [self.clips / clip.file] if clip else list(self.uploads.glob(f"{name}.*"))
        if not found:
            words = f"'{name}', which this was to be made from, is not here any more: delete this and ask anew."
            raise UnstrungError("source_gone", "conditions", words)
        return engine.open_file(str(found[0]))

    def _open(self, request: Request) -> Model:
        """Return the request's model, loaded once for as long as the same is asked for."""
        assert request.model
        if self._model is None or self._model[0] != request.model:
            self.close()
            self._model = request.model, engine.open_model(request.model, self.device)
        return self._model[1]

    def _keep(self, job: Job, clip: Clip, recipe: Recipe) -> None:
        since = time.perf_counter()
        path = self.clips / film_of(job)
        write_clip(clip, path, recipe=recipe, force=True)
        write_picture(clip.thumbnail(512), self.previews / f"{job.id}.webp", force=True)
        write_picture(clip.contact_sheet(), self.previews / f"{job.id}.jpg", force=True)
        seconds = {**recipe.seconds, "write": time.perf_counter() - since}
        kept = StoredClip(
            job.id, job.owner, path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), recipe, time.time()
        )
        resolved = engine.check(job.request).target
        if not self.store.complete(job, kept, Timing.measured(resolved, seconds)):
            path.unlink(missing_ok=True)
            raise Canceled

    @contextmanager
    def _heartbeat(self, job: Job) -> Iterator[None]:
        """Say in the background that the job is being made: a stage may take longer than a lease."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(LEASE / 4):
                with suppress(Exception):  # a store that does not answer once is asked again
                    self.store.beat(job)
                    self.store.attend(self.name)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def sweep(self) -> int:
        """Remove films that belong to no clip and to no job that runs, and pictures that belong to no job; return how many."""
        # in this order, so that a clip that is finished meanwhile is seen in one place or in the other
        there = list(self.clips.glob("*.mp4"))
        running = self.store.page(status=Status.IN_PROGRESS, limit=10_000)
        kept = {film_of(job) for job in running}
        kept |= self.store.files(path.name.rpartition("-")[0] for path in there if path.name not in kept)
        strays = [path for path in there if path.name not in kept and not _arrives(path)]
        strays += [part for part in self.clips.glob(".*.part") if part.stat().st_mtime < time.time() - 3 * LEASE]
        strays += self._pictures_of_none()
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def _pictures_of_none(self) -> list[Path]:
        old = time.time() - ARRIVING_SECONDS  # an import's pictures come before their job
        there = []
        for path in self.previews.glob("*"):
            with suppress(FileNotFoundError):  # its job has been removed just now
                if path.stat().st_mtime < old:
                    there.append(path)
        known = self.store.known(path.stem for path in there)
        return [path for path in there if path.stem not in known]

    def close(self) -> None:
        """Give back the model."""
        if self._model is not None:
            self._model[1].close()
            self._model = None


def film_of(job: Job) -> str:
    """Return the name under which a job's worker writes its film.

    Attempts begin at one again when a job is tried again, and whoever was canceled may still be writing: the worker is in
    the name too, so that nobody writes over, or takes away, what another has finished.
    """
    return f"{job.id}-{job.attempt}.{hashlib.sha256(str(job.worker).encode()).hexdigest()[:8]}.mp4"


def remove_pictures(previews: Path, id: str) -> None:
    """Remove a job's pictures from the folder of previews."""
    for suffix in PICTURES:
        (previews / f"{id}{suffix}").unlink(missing_ok=True)


def _arrives(path: Path) -> bool:
    return ARRIVING.fullmatch(path.name) is not None and path.stat().st_mtime > time.time() - ARRIVING_SECONDS
