"""Any of diffusers' video pipelines as a `Model`: words and what is given in, a clip out, and on the way what is to be told."""

from __future__ import annotations

import gc
import inspect
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unstrung.card import ModelCard
from unstrung.errors import Canceled, GivenBack, InvalidRequest, NotEnoughMemory, UnstrungError
from unstrung.events import Emit, Note, Preview, Progress
from unstrung.media.clip import Clip, Frames
from unstrung.models.device import why_not_compiled
from unstrung.models.hub import caches, lora, parallel, preview, upsample
from unstrung.models.hub.families import DRAFT_SHIFT, DRAFT_STEPS, DRAFTS, SHIFT, Family, Way, Weights
from unstrung.models.hub.given import BY_STRENGTH, GO_ON, RULES, joined, strength
from unstrung.models.hub.kept import Kept
from unstrung.models.hub.parallel import Team
from unstrung.models.hub.pipes import Pipes
from unstrung.request import Request, tasks_of

PREVIEW_EVERY, PREVIEW_SIDE = 3, 256  # steps, and pixels
SOFTWARE = ("diffusers", "transformers", "torch")


class HubModel:
    """A diffusers pipeline that is loaded, and those of its family that share its parts."""

    def __init__(self, card: ModelCard, family: Family, weights: Weights, pipes: Pipes, about: Mapping[str, Any]) -> None:
        self.card, self._family, self._weights, self._pipes, self._about = card, family, weights, pipes, about
        self._colours = preview.Colours(family)
        self._software = {name: version(name) for name in SOFTWARE}  # 18 ms, once
        self._guessed: Mapping[str, Any] = {}  # what a recipe says of steps that were not computed
        self._upsampler: upsample.Found | None = None  # of the request at work
        self._shifted: float | None = None  # the levels of its noise
        self._team: Team | None = None  # the processes that make films with several GPUs

    def generate(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Make the clip of a resolved request; where memory ends in the middle, once more under a smaller plan."""
        self._check_row(request)
        self._upsampler = upsample.find(request, self._weights)
        if "gpus" in request.options:
            parallel.check(request, self._weights, self._family, self._pipes.folder, self._pipes.device)
        if request.options.get("gpus", 1) > 1:
            return self._together(request, emit, given)
        self._part()
        plan = self._pipes.plan_for(request)
        self._check_cache(request)
        if request.options["compile"] and (why := why_not_compiled(self._pipes.device)):
            raise InvalidRequest("options", f"option compile is True; torch.compile does not work here: {why}")
        try:
            return self._run(request, emit, given)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
        smaller = self._pipes.step_down(request)
        if smaller is None:
            raise NotEnoughMemory(f"Memory ran out under the plan '{plan.name}', and there is no smaller one: ask for less.")
        words = f"Memory ran out under the plan '{plan.name}': it goes on under '{smaller.name}'."
        emit(Note("smaller_plan", words, {"from": plan.to_dict(), "to": smaller.to_dict()}))
        try:
            return self._run(request, emit, given)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            words = (
                f"Memory ran out under the plan '{plan.name}', and then under '{smaller.name}': ask for fewer pixels or seconds."
            )
            raise NotEnoughMemory(words) from None

    def _together(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Make the clip with several processes, which stay for the next one."""
        gpus = request.options["gpus"]
        for one in request.loras:
            lora.find(one)
        plan = self._pipes.plan_together(request, gpus)
        if self._team is None or not self._team.serves(gpus, plan.tiled):
            self._part()
            place = {"folder": str(self._pipes.folder), "device": self._pipes.device, "sha256": self._about["sha256"]}
            self._team = Team(gpus, plan.tiled, {"card": self.card.id, **place})
        return self._team.film(request, emit, given)

    def _part(self) -> None:
        if self._team is not None:
            self._team.close()
            self._team = None

    def _run(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        assert request.fps and request.width and request.height
        way, self._shifted = self._way(request), self._shift(request)
        loras = [lora.find(one) for one in request.loras]  # what is not here is said before anything is loaded
        emit(Progress("load", 0, 1))
        with _nothing_collected():
            self._pipes.use_loras(loras, emit)
            pipe = self._pipes.get(way.pipeline)
        emit(Progress("load", 1, 1))
        emit(Progress("encode", 0, 1))
        if not way.sized:
            words = f"{self.card.id} draws at its own size, in the shape of its picture: it is scaled to what was asked for."
            emit(Note("scaled", words))
        self._check_length(pipe, request)
        passes = self._passes(pipe, request, given)
        self._colours.learn(pipe)  # before the first step: in the middle, the VAE would take the transformer's place
        self._tell_what_is_ignored(pipe, request, emit)
        kept = Kept(request, given, self._weighed(request))
        tensors = kept.load()
        keeps = kept if tensors is None and not self._family.pieces else None
        report = _Report(self._pipes, pipe, self._family, self._colours, request, emit, keeps)
        sound = None
        try:
            if tensors is not None:
                emit(Note("kept", "It had been sampled before: it is decoded alone."))
                frames, sound = report.decoded(tensors)
            else:
                out = self._sampled(pipe, passes, report, kept)
                frames, sound = _bytes(_film(out, pipe)), getattr(out, "audio", None)
                if kept.guessed.get("measured"):
                    emit(Note("measured", "This film was made in full, and measured: the next ones like it take fewer steps."))
        except GivenBack:
            raise  # somebody else will go on
        except Canceled:
            kept.drop()  # nobody wants it
            raise
        kept.drop()
        self._guessed = kept.guessed
        if way.takes in GO_ON:
            frames = joined(given[request.conditions[0].source], frames, passes[-1].arguments)
        frames = frames[: request.num_frames]
        if (lacking := (request.num_frames or 0) - len(frames)) > 0:
            emit(Note("short", f"{type(pipe).__name__} has drawn {len(frames)} frames: the last one stays for {lacking} more."))
            frames = np.concatenate([frames, np.repeat(frames[-1:], lacking, 0)])
        if way.takes == "first_last":  # both as they were given: where one frame too many is drawn, one in the middle goes
            count = max(condition.frame_index for condition in request.conditions) + 1
            frames = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
        clip = Clip(frames, request.fps).cover(request.width, request.height)
        return clip if sound is None else _with_sound(clip, sound[0], _sampling_rate(pipe))

    def _passes(self, pipe: Any, request: Request, given: Mapping[str, Clip]) -> list[_Pass]:
        """Return how a pipeline is called: once, or with an upsampler twice."""
        rule = RULES[self._way(request).takes]
        if self._upsampler is None:
            return [_Pass(request, {**self.arguments(pipe, request), **rule(request, given, pipe)})]
        assert request.width and request.height
        row, weights = self._upsampler.row, upsample.counted(self._weights, request)
        sizes = upsample.passes(weights, self._family, request.width, request.height)
        found = []
        for (_, width, height), later, more in zip(sizes, (row.steps, 0), ({"output_type": "latent"}, row.again), strict=True):
            sized = replace(request, width=width, height=height)
            fitted = {name: clip.cover(width, height) for name, clip in given.items()}
            arguments = {**self.arguments(pipe, sized), **rule(sized, fitted, pipe), **more}
            found.append(_Pass(sized, arguments, later))
        return found

    def _sampled(self, pipe: Any, passes: list[_Pass], report: _Report, kept: Kept) -> Any:
        """Call a pipeline, with all that it is to tell, to guess and to compile; in the second pass nothing is guessed."""
        first, *again = passes
        self._check_cache(first.request)  # the plan may be a smaller one now
        self._pipes.compile(first.request.options["compile"])
        with caches.cached(pipe, first.request, self._weighed(first.request)) as kept.guessed:
            out = self._called(pipe, first, report)
        for one in again:
            assert self._upsampler
            latents = self._pipes.upsampled(self._upsampler, out.frames)
            out = self._called(pipe, replace(one, arguments={**one.arguments, "latents": latents}), report)
        return out

    def _called(self, pipe: Any, one: _Pass, report: _Report) -> Any:
        assert one.request.seed is not None and one.request.num_inference_steps
        report.expect(one)
        with _told(pipe, report) as told, torch.random.fork_rng():
            torch.manual_seed(one.request.seed)  # for pipelines that draw some noise past the generator
            try:
                return pipe(**one.arguments, **told)
            except Exception as error:
                if self._family.weights or isinstance(error, UnstrungError) or _is_out_of_memory(error):
                    raise
                words = str(error).strip().partition("\n")[0] or type(error).__name__  # nobody here knows what it allows
                raise UnstrungError("model_failed", "model", f"{type(pipe).__name__} does not do that: {words}") from error

    def _tell_what_is_ignored(self, pipe: Any, request: Request, emit: Emit) -> None:
        """Say what a pipeline that no row is of does not take, though it is asked for."""
        if self._family.weights:
            return
        taken = inspect.signature(pipe.__call__).parameters
        guided = ("guidance_scale",) if self._family.guidance else ()  # else a guider takes it
        said = ("prompt", "negative_prompt", *guided, "num_inference_steps")
        ignored = [name for name in said if name not in taken and getattr(request, name)]
        if self._way(request).takes in BY_STRENGTH and not strength(pipe) and request.conditions[0].strength < 1:
            ignored.append("strength")
        if ignored:
            emit(Note("ignored", f"{type(pipe).__name__} takes no {', '.join(ignored)}: that changes nothing."))

    def arguments(self, pipe: Any, request: Request) -> dict[str, Any]:
        """Return what a pipeline is called with, beside what is given and what tells of its progress."""
        family, weights, way = self._family, self._weights, self._way(request)
        assert request.seed is not None and request.num_inference_steps
        pipe.scheduler = self._pipes.scheduler(request.sampler, self._shift(request))
        arguments: dict[str, Any] = {
            "width": request.width, "height": request.height,
            "num_frames": request.num_frames, "frames": request.num_frames, "video_length": request.num_frames,
            "num_inference_steps": request.num_inference_steps, "max_sequence_length": family.text_tokens,
            "pyramid_num_inference_steps_list": _shares(request.num_inference_steps, way.sizes),
            # Text2Video-Zero's own shares of them
            "t0": request.num_inference_steps * 44 // 50, "t1": request.num_inference_steps * 47 // 50,
            "generator": torch.Generator(self._pipes.device if way.there else "cpu").manual_seed(request.seed),
            "output_type": "np", "seed": request.seed, "sample_audio": getattr(pipe, "audio_vae", None) is not None,
            **family.arguments, **weights.arguments, **{name: request.options[name] for name in weights.options},
            "prompt": self._prompt(request),
        }  # fmt: skip
        name, levels = weights.schedule or ("", ())
        if name and name != SHIFT and request.num_inference_steps == weights.steps:
            arguments[name] = list(levels)
        if request.negative_prompt:  # some have one of their own where nothing is said
            arguments["negative_prompt"] = request.negative_prompt
        if family.fps:
            arguments[family.fps] = request.fps
        if family.guidance:
            arguments[family.guidance] = request.guidance_scale
        else:
            pipe.guider = pipe.guider.new(guidance_scale=request.guidance_scale)
        taken = inspect.signature(pipe.__call__).parameters
        return {name: value for name, value in arguments.items() if name in taken}

    def _check_row(self, request: Request) -> None:
        """Raise `InvalidRequest` for what a model of this row can't do, before anything is loaded."""
        way = self._way(request)
        assert request.num_frames and request.num_inference_steps
        if way.most and request.num_frames > way.most:
            words = f"num_frames is {request.num_frames}; {self.card.id} draws at most {way.most}"
            words += " between two pictures" if request.conditions else ""
            seconds = way.most / (request.fps or self.card.fps)
            raise InvalidRequest("num_frames", f"{words}: ask for {seconds:.3g} seconds or fewer.")
        if request.num_inference_steps < way.sizes:
            words = f"num_inference_steps is {request.num_inference_steps}; {self.card.id} draws at {way.sizes} sizes"
            raise InvalidRequest("num_inference_steps", f"{words}, and takes a step at each: --steps {way.sizes} or more.")
        if self._weights.fixed and (request.width, request.height) != self._weights.size:
            width, height = self._weights.size
            words = (
                f"size is {request.width}x{request.height}; {self.card.id} draws {width}x{height} alone: --size {width}x{height}"
            )
            raise InvalidRequest("size", words)

    def _check_cache(self, request: Request) -> None:
        plan = self._pipes.plan.name if self._pipes.plan else caches.WHOLE[0]
        caches.check(request, plan, self._way(request))

    def _way(self, request: Request) -> Way:
        return self._family.ways[tasks_of(request, self._family.frame_stride)[0]]

    def _shift(self, request: Request) -> float | None:
        """Return the shift of the levels of noise, where it is not to be what the weights' own scheduler says."""
        few = {source.partition("#")[0] for loras in DRAFTS.values() for source in loras}
        if request.num_inference_steps == DRAFT_STEPS and few & {lora.source.partition("#")[0] for lora in request.loras}:
            return DRAFT_SHIFT
        name, levels = self._weights.schedule or ("", ())
        return self._way(request).shift or (levels[0] if name == SHIFT else None)

    def _prompt(self, request: Request) -> str:
        """Return what the pipeline is to read, where a row has words of its own too."""
        words = self._weights.arguments.get("prompt", "{words}")
        return str(words.format(words=request.prompt, **request.options))

    def _weighed(self, request: Request) -> dict[str, Any]:
        """Return what the sampling depends on beside the request: all weights, the levels of noise, and whose code it is."""
        more = {"upsampler": self._upsampler.about["sha256"]} if self._upsampler else {}
        more |= {} if (shift := self._shift(request)) is None else {"shift": shift}
        return {"sha256": self._about["sha256"], "loras": self._pipes.loras(), "software": self._software, **more}

    def _check_length(self, pipe: Any, request: Request) -> None:
        most = self._family.text_tokens
        if getattr(pipe, "tokenizer", None) is None:
            return  # it reads nothing
        for name in ("prompt", "negative_prompt"):
            words = (self._prompt(request) if name == "prompt" else request.negative_prompt or "").split()
            if len(_tokens(pipe, words)) <= most:
                continue
            fits = bisect_right(range(len(words)), most, key=lambda n: len(_tokens(pipe, words[:n]))) - 1
            said = f"The {name.replace('_', ' ')} has {len(words)} words; {self.card.id} reads the first {fits}: shorten it."
            raise InvalidRequest(name, said, code="too_long")

    def about(self) -> dict[str, object]:
        """Return what a recipe says of the model."""
        if self._team is not None:
            return {**self._about, **self._team.about}
        plan = self._pipes.plan
        placed: dict[str, object] = {"plan": plan.name, "tiled": plan.tiled} if plan else {}
        placed["dtype"] = str(self._pipes.kind).removeprefix("torch.")
        if self._upsampler:
            placed["upsampler"] = self._upsampler.about
        if self._shifted is not None:
            placed["shift"] = self._shifted
        return {**self._about, **placed, "cache": self._guessed, "loras": self._pipes.loras(), "software": self._software}

    def close(self) -> None:
        """Drop the pipelines."""
        self._part()
        self._pipes.close()


@dataclass(frozen=True)
class _Pass:
    """One call of a pipeline: what is drawn, with which arguments, and how many steps come after it in another one."""

    request: Request
    arguments: Mapping[str, Any]
    later: int = 0


def _tokens(pipe: Any, words: list[str]) -> list[int]:
    tokenizer = getattr(pipe.tokenizer, "tokenizer", pipe.tokenizer)  # some have one for pictures too around it
    found: list[int] = tokenizer(" ".join(words)).input_ids
    return found


def _film(out: Any, pipe: Any) -> Any:
    """Return the one film that a pipeline has drawn: most have it among several, some alone, and some by another name."""
    found = next((getattr(out, name) for name in ("frames", "video", "images") if getattr(out, name, None) is not None), None)
    if found is None:
        raise UnstrungError("model_failed", "model", f"{type(pipe).__name__} has drawn no frames.")
    return found if getattr(found, "ndim", None) == 4 else found[0]


def _sampling_rate(pipe: Any) -> int:
    return int(getattr(pipe.vocoder.config, "output_sampling_rate", None) or pipe.audio_sample_rate)


def _bytes(frames: Any) -> Frames:
    """Return frames as bytes, where a pipeline has made them in a way of its own."""
    found = frames if isinstance(frames, np.ndarray) else np.stack([np.asarray(frame) for frame in frames])
    return found if found.dtype == np.uint8 else np.rint(found.clip(0, 1) * 255).astype(np.uint8)


def _shares(steps: int, sizes: int) -> list[int]:
    """Return how many of all steps are made at each size, the smallest first: what can't be divided goes to the smaller ones."""
    return [steps // sizes + (i < steps % sizes) for i in range(sizes)]


def _with_sound(clip: Clip, sound: Any, rate: int) -> Clip:
    """Return a clip with its sound (channels, samples), or of one channel (samples)."""
    audio = torch.atleast_2d(torch.as_tensor(sound)).detach().float().cpu().numpy().T.clip(-1, 1)
    return Clip(clip.frames, clip.fps, np.ascontiguousarray(audio), rate)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Look for no garbage meanwhile: libraries make a million things as they are loaded, all to stay (10 % of a first film)."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _told(pipe: Any, report: _Report) -> Iterator[dict[str, Any]]:
    """Have a pipeline tell how far it is, and show what comes; yield the arguments that make it do so."""
    takes = "callback_on_step_end" in inspect.signature(pipe.__call__).parameters
    heard: dict[tuple[Any, str], Any] = {
        (pipe, "progress_bar"): report.bar, (pipe.vae, "decode"): report.decoding(pipe.vae.decode),
    }  # fmt: skip
    if hasattr(pipe, "video_processor") and getattr(pipe, "safety_checker", None) is None:  # which looks at what that makes
        heard[pipe.video_processor, "postprocess_video"] = report.frames
    if hasattr(pipe, "_unpack_audio_latents"):
        heard[pipe, "_unpack_audio_latents"] = report.sounding(pipe._unpack_audio_latents)
    if not takes:
        heard[pipe.scheduler, "step"] = report.stepping(pipe.scheduler.step)
    for (part, name), told in heard.items():
        setattr(part, name, told)
    try:
        yield {"callback_on_step_end": report.step} if takes else {}
    except BaseException:
        pipe.maybe_free_model_hooks()  # what is cut off leaves no part where another has to go
        raise
    finally:
        for part, name in heard:
            delattr(part, name)  # and the class's own is there again


class _Report:
    """Hears of a pipeline's steps, and tells: how far it is, and every few of them what the video will look like."""

    def __init__(
        self, pipes: Pipes, pipe: Any, family: Family, colours: preview.Colours, request: Request, emit: Emit, kept: Kept | None
    ) -> None:  # fmt: skip
        self._pipes, self._pipe, self._family, self._colours = pipes, pipe, family, colours
        self._request, self._emit, self._kept = request, emit, kept
        self._total, self._done, self._steps, self._begun = 0, 0, 0, False
        self._barless = False  # whether the pipeline asks for no bar
        self._passed, self._later = 0, 0  # steps of the passes before and after the one at work
        self._before: Tensor | None = None
        self._sound: Tensor | None = None  # latents of it, where there is one
        self._known: tuple[Tensor, list[float], list[tuple[float, float]]] | None = None  # of the timesteps that they are of

    def expect(self, one: _Pass) -> None:
        """Hear which pass comes now."""
        self._request, self._later, self._passed, self._before = one.request, one.later, self._done, None

    def bar(self, iterable: Any = None, total: int | None = None) -> _Bar:
        """Stand in for the pipeline's own progress bar."""
        self._total = self._done + int(total if total is not None else len(iterable)) + self._later
        if not self._begun:
            self._begun = True
            self._emit(Progress("encode", 1, 1))
        self._emit(Progress("sample", self._done, self._total))
        return _Bar(iterable, self._advance)

    def _advance(self, n: int = 1) -> None:
        self._done += n
        self._emit(Progress("sample", self._done, max(self._total, self._done)))

    def step(self, pipe: Any, i: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """Hear of the end of a step, with its latents."""
        if not self._begun:
            self.bar(total=self._request.num_inference_steps)
            self._barless = True
        if self._barless:
            self._advance()
        if self._family.layout == preview.UNKNOWN:
            return {}
        latents = kept.get("latents")
        self._steps += 1  # while `i` begins anew with each piece of a film, and with each size of it
        n = self._steps - self._passed
        before, self._before = self._before, None
        if latents is not None and (n + 1) % PREVIEW_EVERY == 0:
            self._before = latents.clone()  # some are written over in place
        if not i or n % PREVIEW_EVERY or latents is None or before is None or before.shape != latents.shape:
            return {}
        known, at = self._levels(pipe.scheduler, timestep, i)
        if at + 1 < len(known) - 1 and (clean := preview.foreseen(before, latents, (known[at], known[at + 1]))) is not None:
            asked = self._request
            assert asked.num_frames and asked.height and asked.width
            shown = preview.unpacked(clean, self._family, asked.num_frames, asked.height, asked.width)
            if shown is not None:
                self._emit(Preview(preview.enlarged(self._colours.frames(shown), PREVIEW_SIDE), self._steps))
        return {}

    def _levels(self, scheduler: Any, timestep: Any, i: int) -> tuple[list[tuple[float, float]], int]:
        """Return the levels of a scheduler's steps, and which step one is: not the i-th where a pipeline leaves out the first."""
        if self._known is None or self._known[0] is not scheduler.timesteps:
            self._known = scheduler.timesteps, scheduler.timesteps.tolist(), preview.levels(scheduler)
        _, steps, known = self._known
        alone = timestep is not None and torch.as_tensor(timestep).numel() == 1  # some have one for each frame
        return known, steps.index(float(timestep)) if alone and float(timestep) in steps else i

    def stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a scheduler's step that is heard of, for pipelines that call nobody back."""
        count = 0

        def told(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            out = step(*args, **kwargs)
            self.step(self._pipe, count, None, {"latents": out[0]})
            count += 1
            return out

        return told

    def sounding(self, unpack: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return what a pipeline does with the latents of a film's sound before it decodes the pictures, heard of."""

        def told(*args: Any, **kwargs: Any) -> Tensor:
            self._sound = unpack(*args, **kwargs)
            return self._sound

        return told

    def decoding(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        """Return a VAE's decoding that says when it begins, and tries again in tiles where memory does not suffice."""

        def told(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._emit(Progress("decode", 0, 1))
            if self._kept is not None:
                self._kept.save([one for one in (latents, *args, self._sound) if one is not None])
            only_so = False
            try:
                out = decode(latents, *args, **kwargs)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                only_so = isinstance(error, NotImplementedError)  # as Allegro's
                if not (only_so or _is_out_of_memory(error)) or getattr(self._pipe.vae, "use_tiling", True):
                    raise
                out = None
            if out is None:  # only here is what the error held given back
                if not only_so:
                    words = "Decoding needs more memory than there is: it is done again, in tiles."
                    self._emit(Note("smaller_plan", words))
                self._pipes.tile()
                out = decode(latents, *args, **kwargs)
            self._emit(Progress("decode", 1, 1))
            return out

        return told

    def frames(self, video: Tensor, output_type: str = "np") -> list[Frames]:
        """Return what was decoded (b c t h w) as bytes (t h w c), rounded as diffusers itself does it, a frame at a time.

        Its own way has the whole film as float32, and copies that once more.
        """
        processor = self._pipe.video_processor
        films = []
        for film in video:
            channels, count, height, width = film.shape
            frames = np.empty((count, height, width, channels), np.uint8)
            for n, place in enumerate(frames):
                frame = processor.denormalize(film[:, n]) if processor.config.do_normalize else film[:, n]
                values = frame.float().cpu().numpy()
                np.rint(np.multiply(values, 255, out=values), out=place.transpose(2, 0, 1), casting="unsafe")
            films.append(frames)
        return films

    def decoded(self, tensors: list[Tensor]) -> tuple[Frames, Tensor | None]:
        """Return the frames (t h w c) of what was kept, and its sound: the end of each pipeline, by its own parts."""
        self._emit(Progress("encode", 1, 1))
        pipe, sound = self._pipe, None
        try:
            assert self._request.seed is not None
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(self._request.seed)  # for decoders that add noise of their own
                placed = [tensor.to(pipe._execution_device) for tensor in tensors]
                heard = placed.pop() if hasattr(pipe, "vocoder") else None
                video = self.decoding(pipe.vae.decode)(*placed, return_dict=False)[0]
                if heard is not None:
                    sound = pipe.vocoder(pipe.audio_vae.decode(heard.to(pipe.audio_vae.dtype), return_dict=False)[0])
                return self.frames(video)[0], sound
        finally:
            pipe.maybe_free_model_hooks()


class _Bar:
    """What a pipeline takes for its progress bar."""

    def __init__(self, iterable: Any, advance: Callable[[int], None]) -> None:
        self._iterable, self._advance = iterable, advance

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""

    def __iter__(self) -> Iterator[Any]:
        for one in self._iterable:
            yield one
            self._advance(1)

    def update(self, n: int = 1) -> None:
        """Hear of steps that were made."""
        self._advance(n)

    def close(self) -> None:
        """Leave it as it is."""


def _is_out_of_memory(error: Exception) -> bool:
    told = ("not enough memory", "allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


def load_model(
    card: ModelCard, family: Family, weights: Weights, folder: Path, device: str | None, about: Mapping[str, Any]
) -> HubModel:
    """Return a model whose weights lie in a folder; they are loaded with its first request, for that says how."""
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return HubModel(card, family, weights, Pipes(card, family, weights, folder, where), {**about, "device": where})
