"""A film from a host: asked for, watched while it is made, fetched, and fitted to what was asked for."""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from unstrung.card import ModelCard
from unstrung.errors import Canceled, GivenBack, InvalidRequest, UnstrungError
from unstrung.events import Emit, Note, Preview, Progress
from unstrung.media.clip import Clip
from unstrung.media.codec import read_clip, read_picture
from unstrung.media.vet import MOST_FRAME_BYTES, check_length
from unstrung.models.remote.host import Answer, Host, Refusal, Trouble
from unstrung.models.remote.memo import ID, Memo, find_memo, no_memo
from unstrung.models.remote.place import PATIENCE, Place
from unstrung.request import Request

# what the API never had, and open servers take under these names
EXTRAS = ("seed", "negative_prompt", "num_inference_steps", "guidance_scale", "fps", "num_frames")
NEEDS = {"fps": "num_frames"}  # a number of frames means nothing to a host that knows no rate
UNKNOWN = ("unknown_parameter", "extra_forbidden")

POLL = (0.25, 10.0)  # seconds between two looks, whatever the host says
LOOK = 0.5  # seconds after which somebody who cancels is heard
HELLO, ASKING = 5.0, 30.0  # seconds for a host to be there at all, and to take the first question
LEAST_FILM = 64 * 2**20  # bytes that a film's file may have, whatever its length; else as many as its frames
MOST_PICTURE = 8 * 2**20  # bytes
BAD_ENDS = ("failed", "canceled", "cancelled", "expired", "error")
USELESS = ("remote_film", "remote_short", "too_large")  # what is wrong with a film itself, and would be the next time too

T = TypeVar("T")


@dataclass(frozen=True)
class Video:
    """A video on a host, as far as it is there; `extras` is what hosts of our own kind say more."""

    id: str
    status: str
    progress: int
    model: str | None
    error: Mapping[str, Any]
    extras: Mapping[str, Any] | None
    pause: float  # seconds until it is worth another look


class Remote:
    """A model that is asked for over the network. Between two films it holds its host's address, and what it has just fetched."""

    def __init__(self, card: ModelCard, find: Callable[[str], Place]) -> None:
        self.card, self._find = card, find
        self.host = Host(find(card.id))
        self._about: dict[str, object] = {}
        self._last: Memo | None = None

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Have the film made there; whatever stops this stops the host's work too, unless somebody will go on with it."""
        self.close()
        self.host, self._about = Host(self._find(self.card.id)), {}  # where it is, and its key, may have been changed meanwhile
        picture = _picture(request, given, self.card.id)
        errand = Errand(self.host, request, emit)
        errand.tick()
        errand.memo = _memo(self.host.place, request, picture, emit)
        try:
            video = errand.follow(errand.found() or errand.create(picture))
            if video.status != "completed":
                said = self.host.clean(
                    video.error.get("message") or f"the video {video.id} is {video.status}, and no more is said."
                )
                code = self.host.clean(video.error.get("code") or "")[:64] or "remote_failed"
                raise UnstrungError(code, None, f"{self.host.name} says: {said}")
            clip = errand.fetch(video)
            self._about = {"revision": video.model, **errand.origin(video)}
            clip = errand.fit(clip)
        except BaseException as error:
            errand.part(error)
            raise
        self._last = errand.memo
        return clip

    def about(self) -> dict[str, object]:
        """Return what a recipe says of it: what the host says of its model. Weights that are elsewhere have no digest here."""
        return {"revision": None, "sha256": None, "device": "remote", "host": self.host.name, **self._about}

    def close(self) -> None:
        """Forget the last film at its host: by now its caller has it, which is not so where that died before."""
        if self._last is not None:
            self._last.forget()
            self._last = None


@dataclass
class Errand:
    """One film's way there and back."""

    host: Host
    request: Request
    emit: Emit
    memo: Memo = field(default_factory=no_memo)
    video: Video | None = None  # as it was last seen
    stage: str = "sample"
    done: int = 0  # per cent of the stage
    _lost: list[str] = field(default_factory=list)  # what the host does not know
    _heard: bool = False  # a question may have been heard, though no answer came
    _seen: bytes = b""  # the last preview
    _queue: object = None  # the last place in it
    _told: float = field(default=-math.inf)  # when the last progress was emitted

    def tick(self) -> None:
        """Say how far it is, at most a few times a second; this is where somebody who cancels is heard."""
        if time.monotonic() - self._told >= LOOK:
            self.tell(self.stage, self.done)

    def tell(self, stage: str, done: int) -> None:
        """Say how far it is, in per cent of a stage."""
        self.stage, self.done, self._told = stage, done, time.monotonic()
        self.emit(Progress(stage, done, 100))

    def found(self) -> Video | None:
        """Return the video that was asked for by somebody who has died since; None where the host has it no more, or failed."""
        if self.memo.id is None:
            return None
        known = Video(self.memo.id, "queued", 0, None, {}, None, POLL[0])
        try:
            video = self._look(known)
        except Refusal as no:
            if no.status in (401, 403):  # which says nothing of the video
                raise
            video = replace(known, status="expired")
        if video.status in BAD_ENDS:
            self.memo.begin_anew()
            return None
        self.video = video
        words = f"{self.host.name} was asked for this film before, as {self.host.clean(video.id)}: it goes on with that."
        self.emit(Note("found_again", words, {"id": self.host.clean(video.id), "status": self.host.clean(video.status)[:64]}))
        return video

    def create(self, picture: bytes | None) -> Video:
        """Ask for the film, in fewer words where the host knows fewer.

        Nothing is emitted once it is there: whoever cancels then would leave it behind.
        """
        gone: set[str | None] = set()
        while True:
            fields, extras = _fields(self.request, self.host.place.model, gone)
            # a name of its own for every question, so that one whose answer was lost makes nothing new
            name = self.memo.name(json.dumps([fields, extras]).encode())
            if picture is not None:
                fields["input_reference"] = ("first.png", picture, "image/png")
            try:
                video = self._video(self._insist(partial(self.host.create, name, fields, extras), first=True))
            except Refusal as no:
                if no.code not in UNKNOWN or not extras:
                    raise
                gone |= ({no.field, NEEDS.get(no.field or "")} & {*extras}) or {*extras}
            else:
                if not (self.memo.found and video.status in BAD_ENDS):
                    break
                self.memo.begin_anew()  # it is the one of somebody who has died since, and has come to nothing
        self._lost = [name for name in EXTRAS if name in gone]
        self.video = video
        self.memo.remember(video.id)
        return video

    def follow(self, video: Video) -> Video:
        """Watch the video until it ends, well or badly, and pass on what is seen of it."""
        if self._lost:
            words = f"{self.host.name} knows nothing of {', '.join(self._lost)}: there it chooses by itself."
            again = " The same seed may give another film." if "seed" in self._lost else ""
            self.emit(Note("not_heeded", words + again, {"fields": self._lost}))
        while video.status not in ("completed", *BAD_ENDS):
            self._queued(video)
            if video.progress != self.done:
                self.tell("sample", video.progress)
                self._preview(video)
            self._wait(video.pause)
            self.video = video = self._look(video)
        return video

    def part(self, error: BaseException) -> None:
        """Stop what the host makes, unless somebody will go on with it, and keep in mind only what that one can use."""
        if self.video is None:
            silent = isinstance(error, Canceled) or (isinstance(error, UnstrungError) and error.code == "remote_silent")
            lost = (silent and self._heard) or not isinstance(error, UnstrungError)  # the video may be there all the same
            over = not lost and self.memo.id is None
        elif self.video.status == "completed":
            over = isinstance(error, UnstrungError) and error.code in USELESS
        elif self.video.status in BAD_ENDS:
            over = True
        else:
            over = not isinstance(error, GivenBack) and self.cancel(self.video)
        (self.memo.forget if over else self.memo.leave)()

    def cancel(self, video: Video) -> bool:
        """Stop what the host makes; say whether the host has heard it."""
        with suppress(UnstrungError, Trouble):
            self.host.cancel(video.id)
            return True
        return False

    def fetch(self, video: Video) -> Clip:
        """Return the finished film; raise `UnstrungError` for one that is too large, or can't be read."""
        self.tell("sample", 100)
        self.tell("decode", 0)
        asked = _bytes(self.request)

        def tell(got: int, whole: int) -> None:
            self.done = min(99, 100 * got // whole) if whole else self.done
            self.tick()

        with TemporaryDirectory(prefix="unstrung-") as folder:
            path = Path(folder) / "film.mp4"
            try:
                self._insist(lambda: self.host.fetch(video.id, path, max(LEAST_FILM, asked), tell))
                check_length(path, max(MOST_FRAME_BYTES, 2 * asked))
                clip = read_clip(path)
            except UnstrungError as error:
                if error.field not in ("source", "file"):
                    raise
                why = error.message.replace(f"'{path}'", "it")
                words = f"What {self.host.name} sent as a film is none that can be used: {why}"
                raise UnstrungError("remote_film", None, words) from None
        self.tell("decode", 100)
        return clip

    def fit(self, clip: Clip) -> Clip:
        """Return the film at the rate, the length and the size that were asked for, and say so where it came otherwise.

        Raises `UnstrungError` where much is missing at its end.
        """
        asked = self.request
        assert asked.width and asked.height and asked.num_frames and asked.fps
        came = f"{clip.width}x{clip.height}, {clip.num_frames} frames at {clip.fps} fps"
        clip = clip.trim(0, min(clip.num_frames, -(-asked.num_frames * clip.fps // asked.fps) + 1))
        # the same either way round, and this one never holds more large frames than came
        size = asked.width, asked.height
        fitted = clip.cover(*size).at_rate(asked.fps) if clip.fps < asked.fps else clip.at_rate(asked.fps).cover(*size)
        missing = asked.num_frames - fitted.num_frames
        if missing > min(asked.fps / 3, asked.num_frames / 10):
            words = f"{self.host.name} made {clip.seconds:.3g} s, and {asked.num_frames / asked.fps:.3g} s were asked for: "
            raise UnstrungError("remote_short", "seconds", words + "ask for a length that its model makes.")
        if missing > 0:
            frames = np.concatenate([fitted.frames, np.repeat(fitted.frames[-1:], missing, 0)])
            fitted = replace(fitted, frames=frames)
        fitted = fitted.trim(0, asked.num_frames)
        goes = f"{fitted.width}x{fitted.height}, {fitted.num_frames} frames at {fitted.fps} fps"
        if came != goes:
            held = f" Its last frame is held for {missing} more." if missing > 0 else ""
            words = f"{self.host.name} made {came}; it was scaled and cut to what was asked for: {goes}.{held}"
            self.emit(Note("fitted", words, {"came": came, "is": goes}))
        return fitted

    def origin(self, video: Video) -> dict[str, object]:
        """Return what the recipe of a host of our own kind says of its model, whose credits go with the film."""
        if video.extras is None:
            return {}
        try:
            recipe, _ = self.host.recipe(video.id)
        except (UnstrungError, Trouble):
            return {}
        model, words = recipe.get("model"), recipe.get("understood")
        if isinstance(words, dict) and (words.get("known") or words.get("unknown")):
            known, unknown = ([*map(self.host.clean, _list(words.get(name))[:50])] for name in ("known", "unknown"))
            text = f"{self.host.name} knows: {', '.join(known) or 'none of these words'}"
            text += f"; it does not know: {', '.join(unknown)}." if unknown else "."
            self.emit(Note("understood", text, {"known": known, "unknown": unknown}))
        if not isinstance(model, dict):
            return {}
        told: dict[str, object] = {"credits": model["credits"]} if model.get("credits") else {}
        if model.get("license"):
            told["license"] = self.host.clean(model["license"])
        revision = self.host.clean(model.get("revision") or "")
        return {**told, "revision": f"{video.model or ''} {revision}".strip() or None}

    def _look(self, video: Video) -> Video:
        """Return a video as it is now, under the id that it had."""
        return replace(self._video(self._insist(partial(self.host.retrieve, video.id))), id=video.id)

    def _video(self, answer: Answer) -> Video:
        """Return the video that the host answers with, and when to ask again."""
        document, said = answer
        id, error, extras = (document.get(name) for name in ("id", "error", "unstrung"))
        if not isinstance(id, str) or not ID.fullmatch(id) or not isinstance(document.get("status"), str):
            words = f"{self.host.name} answers, but not with a video as the Videos API has it."
            raise UnstrungError("remote_garbled", None, words)
        after = said.get("openai-poll-after-ms", "")[:9]
        return Video(
            id=id, status=document["status"], model=self.host.clean(document.get("model") or "")[:200] or None,
            progress=int(min(max(_number(document.get("progress")) or 0, 0), 100)),
            error=error if isinstance(error, dict) else {}, extras=extras if isinstance(extras, dict) else None,
            pause=min(max(int(after) / 1000 if after.isdecimal() else 1.0, POLL[0]), POLL[1]),
        )  # fmt: skip

    def _insist(self, ask: Callable[[], T], first: bool = False) -> T:
        """Ask until there is an answer, for as long as a host may be silent; for the `first` question that is not long."""
        name, since, pause = self.host.name, math.inf, POLL[0]
        while True:
            try:
                return ask()
            except Trouble as trouble:
                self._heard = self._heard or trouble.reached
                if first and trouble.status == 500:  # it may have been heard, and a host of another kind makes it twice
                    raise UnstrungError("http_500", None, f"{name} says: {trouble}") from None
                patience = min(self.host.place.patience, (ASKING if trouble.reached else HELLO) if first else math.inf)
                since = min(since, time.monotonic())  # from the first trouble on: an answer itself may take longer
                left = since + patience - time.monotonic()
                if left <= 0:
                    cure = (
                        f"check {self.host.place.url_from}, and that the host runs" if first else f"give it more with {PATIENCE}"
                    )
                    words = f"{name} has not answered for {patience:g} s ({trouble}): {cure}."
                    raise UnstrungError("remote_silent", None, words) from None
                if pause == POLL[0]:
                    self.emit(Note("silent", f"{name} does not answer ({trouble}): it is asked again."))
                self._wait(min(max(pause, trouble.after), left))
                pause = min(2 * pause, POLL[1])

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.tick()
            time.sleep(min(left, LOOK))

    def _queued(self, video: Video) -> None:
        """Say how many films go first, whenever that changes."""
        place = (video.extras or {}).get("position")
        if place == self._queue or not isinstance(place, int):
            return
        self._queue, starts = place, _number((video.extras or {}).get("starts_in"))
        when = "" if starts is None else f"; it begins in about {starts:.0f} s"
        words = f"{place} go{'es' if place == 1 else ''} before this film" if place else "This film is the next"
        self.emit(Note("position", f"{words} on {self.host.name}{when}.", {"position": place, "starts_in": starts}))

    def _preview(self, video: Video) -> None:
        """Show what is seen of the film so far, where the host shows it; what goes wrong here harms nothing."""
        if video.extras is None:
            return
        clip = None
        with suppress(UnstrungError, Trouble, OSError), TemporaryDirectory(prefix="unstrung-") as folder:
            path = Path(folder) / "preview.png"
            self.host.fetch(video.id, path, MOST_PICTURE, lambda *_: None, variant="preview")
            if (data := path.read_bytes()) != self._seen:
                self._seen, clip = data, read_picture(path)
        if clip is not None:
            self.emit(Preview(clip.frames, video.progress))


def _memo(place: Place, request: Request, picture: bytes | None, emit: Emit) -> Memo:
    """Return what is known of this film: the same request to the same host is the same film, whoever makes which attempt."""
    asked = [place.url, place.model, request.to_dict(), hashlib.sha256(picture or b"").hexdigest()]
    try:
        return find_memo(hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32])
    except UnstrungError as error:
        emit(Note("not_remembered", f"{error.message}: a film whose maker dies is asked for anew."))
        return no_memo()


def _picture(request: Request, given: Mapping[str, Clip], model: str) -> bytes | None:
    """Return the first frame that is given, as a PNG; raise `InvalidRequest` for what the API has no words for."""
    if not request.conditions:
        return None
    first = request.conditions[0]
    if len(request.conditions) > 1 or first.frame_index or first.strength < 1:
        words = f"{model} can be given one picture, as the first frame and as it is: its host can be told of nothing else."
        raise InvalidRequest("conditions", words, code="not_supported")
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(given[first.source].frames[0]).save(out, "PNG")
    return out.getvalue()


def _fields(request: Request, model: str, gone: set[str | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is asked for in the API's words, and in those that it never had, without those that the host does not know."""
    assert request.num_frames and request.fps
    fields: dict[str, Any] = {"model": model, "prompt": request.prompt, "size": f"{request.width}x{request.height}"}
    more = {name: getattr(request, name) for name in EXTRAS if name not in gone}
    extras = {name: value for name, value in more.items() if value not in (None, "")}
    # the API knows whole seconds alone: a part of one is said in frames, or else asked for whole, and cut
    if request.num_frames % request.fps == 0 or "num_frames" not in extras:
        fields["seconds"] = str(-(-request.num_frames // request.fps))
    return fields, extras


def _bytes(request: Request) -> int:
    assert request.width and request.height and request.num_frames
    return request.width * request.height * request.num_frames * 3


def _number(value: Any) -> float | None:
    """Return what a host says as a number, if it is one."""
    with suppress(OverflowError):
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
