"""A model's pipelines, loaded when they are needed, and placed as its plan says: what fits is known before a byte is read."""

from __future__ import annotations

import gc
import inspect
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unstrung.card import ModelCard
from unstrung.errors import MissingWeights, NotEnoughMemory
from unstrung.events import Emit
from unstrung.models.device import bf16_is_fast, why_not_compiled
from unstrung.models.hub import INDEX, caches, counted, lora, memory, parts_of, upsample
from unstrung.models.hub.families import SPARE, Family, Single, Weights
from unstrung.models.hub.fetch import variant_of
from unstrung.models.hub.lora import File, Loras
from unstrung.models.hub.memory import Machine, Plan
from unstrung.request import Request


class Pipes:
    """The pipelines of one model, which share its parts."""

    def __init__(self, card: ModelCard, family: Family, weights: Weights, folder: Path, device: str) -> None:
        self._card, self._family, self.folder, self.device = card, family, folder, device
        here = {part: n for part, n in counted(folder).items() if part not in SPARE.get(family.id, ())}
        singles = {part: weights.billions[part] for part in weights.singles}
        self._weights = replace(weights, billions={**here, **singles}) if here else weights
        self._pipes: dict[str, Any] = {}
        self._machine: Machine | None = None  # as it was before anything was loaded
        self._upsampler: Any = None
        self._scheduler: tuple[Any, Any] | None = None
        self._loras: Loras | None = None
        self._ahead = True
        self._disk: tempfile.TemporaryDirectory[str] | None = None
        self.plan: Plan | None = None
        self.loaded: Callable[[Any], None] | None = None  # is given the pipeline when it is loaded and placed
        self.kind = torch.bfloat16 if bf16_is_fast(device) else torch.float32

    def plan_for(self, request: Request) -> Plan:
        """Choose a plan under which a request fits, the one at work if that will do; raise `NotEnoughMemory` for none."""
        # a stream takes its own hooks off after the first step, and with them the cache's: what is loaded for one does without
        cache = request.options.get("cache", caches.NONE)
        self._ahead = cache == caches.NONE
        if self._machine is None:
            self._machine = memory.look(self.device)
        asked = self._asked(request)
        best = memory.choose(*asked, request.fps, cache=cache)
        now = self.plan
        if now is None or all((now.name, now.tiled) != (plan.name, plan.tiled) for plan in memory.plans(*asked, cache=cache)):
            self._use(best)
        assert self.plan is not None
        return self.plan

    def plan_together(self, request: Request, count: int) -> Plan:
        """Return the plan of so many processes, each with the whole model; raise `NotEnoughMemory` where it does not fit."""
        if self._machine is None:
            self._machine = memory.look(self.device)
        weights, family, width, height, num_frames, machine = self._asked(request)
        try:
            fitting = memory.choose(weights, family, width, height, num_frames, memory.share(machine, count), request.fps)
        except NotEnoughMemory as error:
            words = f"option gpus is {count}, and each process holds the whole model: {error.message}"
            raise NotEnoughMemory(words) from None
        if self._pipes:
            self.close()  # what is loaded here makes room
        self.plan = None
        return fitting

    def step_down(self, request: Request) -> Plan | None:
        """Go over to the next smaller plan, after an out-of-memory; return None where there is none."""
        assert self.plan
        fitting = memory.plans(*self._asked(request), cache=request.options.get("cache", caches.NONE))
        named = [plan for plan in fitting if plan.name == self.plan.name]
        now = next((plan for plan in named if plan.tiled == self.plan.tiled), named[-1])  # tiles may not have been foreseen
        smaller = memory.step_down(now, fitting)
        if smaller is not None:
            self._use(smaller)
        return smaller

    def _asked(self, request: Request) -> tuple[Weights, Family, int, int, int, Machine]:
        assert request.width and request.height and request.num_frames and self._machine
        guidance = self._weights.guidance if request.guidance_scale is None else request.guidance_scale
        weights = lora.counted(upsample.counted(self._weights, request), request)
        weights = replace(weights, guidance=guidance)  # without it there is one pass a step
        return weights, self._family, request.width, request.height, request.num_frames, self._machine

    def get(self, name: str) -> Any:
        """Return the pipeline of that name: what the folder holds, or another one of the same parts."""
        import diffusers

        if not self._pipes:
            self._load()
            self._place()
        if name not in self._pipes:
            made = _like(getattr(diffusers, name), next(iter(self._pipes.values())))
            if self.plan and self.plan.name == "model-offload":
                made.enable_model_cpu_offload(device=self.device)
            self._pipes[name] = made
        return self._pipes[name]

    def upsampled(self, found: upsample.Found, latents: Any) -> Any:
        """Return latents (b c t h w) at twice their height and width."""
        import diffusers

        if self._upsampler is None:
            vae = next(iter(self._pipes.values())).vae  # only its numbers for what latents are like are read
            self._upsampler = getattr(diffusers, found.row.pipeline).from_pretrained(
                found.folder, vae=vae, dtype=self.kind, use_safetensors=True, local_files_only=True
            )
        part = getattr(self._upsampler, upsample.PART).to(self.device)
        try:
            return self._upsampler(latents=latents, output_type="latent", **found.row.doubling).frames
        finally:
            part.to("cpu")  # what comes after it has no room for it in its plan

    def scheduler(self, name: str | None, shift: float | None = None) -> Any:
        """Return a sampler by its name, with the settings of the weights' own, but perhaps another shift; without one, that."""
        import diffusers

        assert self._scheduler is not None, "nothing is loaded"
        config, own = self._scheduler
        if shift is not None:
            config = {**config, "flow_shift": shift}
        made = own if name is None else getattr(diffusers, self._family.samplers[name])
        changed = {}
        if "flow_shift" in config and "flow_shift" not in _fields(made):
            changed["shift"] = config["flow_shift"]
        if 3 * config.get("gamma", 0) >= 1:  # Helios's noise in blocks has a singular matrix then, which not all can factor
            changed["gamma"] = 1 / 3 - 1e-6
        return made.from_config(config, **changed)

    def compile(self, wanted: bool) -> None:
        """Have the transformers' blocks compiled when they are first used, or run as they are.

        On a GPU those of a transformer that looks at blocks of tokens always are: else all pairs of tokens lie in memory at once.
        """
        for part in caches.transformers(next(iter(self._pipes.values()))):
            needed = wanted or (_looks_at_blocks(part) and self.device.startswith("cuda"))
            for block in caches.blocks(part):
                if not needed:
                    block._compiled_call_impl = None
                elif block._compiled_call_impl is None:
                    block.compile()

    def use_loras(self, files: list[File], emit: Emit) -> None:
        """Have what is loaded run with these LoRAs and no others; raise `InvalidRequest` for one that fits another model.

        Where layers come and go by turns, or lie in eight bits, nothing can be put into one any more: there the model is loaded
        anew, and placed afterwards.
        """
        by_layers = self.plan is not None and self.plan.name in memory.BY_LAYERS
        if by_layers and self._loras and self._loras.others(files):
            self.close()
        fresh = not self._pipes
        if fresh:
            self._load()
            if not by_layers:
                self._place()
        if self._loras is None:
            self._loras = Loras(next(iter(self._pipes.values())), self._card, self._family)
        try:
            self._loras.use(files, emit)
            if fresh and by_layers:
                self._place()
        except BaseException:
            if fresh and by_layers:  # it is loaded, and lies nowhere
                self.close()
            raise

    def loras(self) -> list[dict[str, Any]]:
        """Return what a recipe says of the LoRAs in use."""
        return self._loras.about() if self._loras else []

    def tile(self) -> None:
        """Decode in tiles from now on."""
        for pipe in self._pipes.values():
            pipe.vae.enable_tiling()
        self.plan = replace(self.plan, tiled=True) if self.plan else None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Drop all that is loaded."""
        self._pipes.clear()
        self._upsampler = self._loras = None
        if self._disk is not None:
            self._disk.cleanup()
            self._disk = None
        gc.collect()  # pipelines and their parts know one another
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _use(self, plan: Plan) -> None:
        if self._pipes or self.plan is not None:
            self.close()  # what is placed can't be placed again
        self.plan = plan

    def _load(self) -> None:
        """Load what the folder holds: in what the device computes with, but for what loses too much in that."""
        import diffusers
        import transformers
        from diffusers.models.attention_dispatch import attention_backend

        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()  # how far it is, is said by events
        kinds = {"default": self.kind, **{name: torch.float32 for name in self._family.float32}}
        try:
            # by its own class: `DiffusionPipeline` leaves out no part that a pipeline can be without
            made_by = getattr(diffusers, json.loads((self.folder / INDEX).read_text())["_class_name"])
            absent = {*self._weights.singles, *SPARE.get(self._family.id, ())} & set(_fields(made_by))
            pipe = made_by.from_pretrained(
                self.folder, dtype=kinds, use_safetensors=True, local_files_only=True, variant=self._variant(),
                **dict.fromkeys(absent),
            )  # fmt: skip
            pipe.register_modules(**{part: self._single(part, file) for part, file in self._weights.singles.items()})
        except ImportError as error:  # of what one family's parts alone need
            words = str(error).strip().splitlines()[0]
            raise MissingWeights(f"{self._card.id} needs a library that is not here: {words}") from None
        except (OSError, ValueError) as error:  # the second where a part is not there that has to be
            words = str(error).strip().partition("\n")[0]
            raise MissingWeights(f"The weights of {self._card.id} in {self.folder} can't be read: {words}") from None
        for transformer in (one for one in caches.transformers(pipe) if _looks_at_blocks(one)):
            if self.device.startswith("cuda") and (why := why_not_compiled(self.device)):
                raise MissingWeights(f"{self._card.id} looks at blocks of tokens, which has to be compiled on a GPU: {why}")
            # no other takes such a mask; what is set for one model would stay set for all
            with attention_backend("flex"):
                transformer.set_attention_backend("flex")
        self._scheduler = pipe.scheduler.config, type(pipe.scheduler)
        self._pipes[type(pipe).__name__] = pipe

    def _place(self) -> None:
        """Put what was loaded where the plan wants it."""
        (pipe,) = self._pipes.values()
        if self.plan is None:
            pipe.to(self.device)
        else:
            if self.plan.name == "disk":
                self._disk = tempfile.TemporaryDirectory(prefix="unstrung-")
            memory.apply(pipe, self.plan, self.device, Path(self._disk.name) if self._disk else None, self._ahead)
        if self.loaded:
            self.loaded(pipe)

    def _single(self, part: str, file: Single) -> Any:
        """Return a transformer with the weights of one file; what is packed is unpacked layer by layer while it computes."""
        import diffusers

        config = self.folder / part
        made = getattr(diffusers, json.loads((config / "config.json").read_text())["_class_name"])
        packed = {"quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=self.kind)} if file.size else {}
        try:
            transformer = made.from_single_file(file.path, config=str(config), dtype=self.kind, local_files_only=True, **packed)
        except (ValueError, KeyError, IndexError, RuntimeError, OSError) as error:
            words = str(error).strip().partition("\n")[0] or type(error).__name__
            raise MissingWeights(f"{file.path} does not fit the {part} of {self._weights.id}: {words}") from None
        if lacking := [name for name, weight in transformer.named_parameters() if weight.is_meta]:
            raise MissingWeights(f"{file.path} does not fit the {part} of {self._weights.id}: it has no {lacking[0]}.")
        if not packed:
            for name, weight in transformer.named_parameters():  # as `from_pretrained` has them
                if set(made._keep_in_fp32_modules or ()) & set(name.split(".")):
                    weight.data = weight.data.float()
        return transformer

    def _variant(self) -> str | None:
        """Return which of several kinds of files is there to be read, if they have names of their own."""
        named = self._weights.variant
        for part in parts_of(self.folder):
            there = {variant_of(path.name) for path in (self.folder / part).glob("*.safetensors")}
            if named in there or (there and "" not in there):
                return named if named in there else min(there)
        return None


def _like(made: Any, pipe: Any) -> Any:
    """Return another pipeline of the parts of one. (`from_pipe` would turn them all into float32.)"""
    known = {**pipe.config, **pipe.components}
    needed = {name for name, one in _fields(made).items() if one.default is one.empty and name != "self"}
    return made(**{name: known.get(name) for name in _fields(made) if name in known or name in needed})


def _looks_at_blocks(transformer: Any) -> bool:
    return getattr(transformer.config, "attention_type", None) == "nabla"


def _fields(made: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(made.__init__).parameters
