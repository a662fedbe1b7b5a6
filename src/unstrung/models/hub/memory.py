"""Which way of placing a model fits this machine, and what would where none does, before anything is loaded.

The constants were counted by `bench/hub_memory.py`, which runs diffusers' real modules without data; docs/hub.md holds what comes
of them against what others measured. All is arithmetic but `look`, which asks the machine, and `apply`, which does as planned.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unstrung.errors import NotEnoughMemory
from unstrung.models.device import bf16_is_fast, bf16_is_foreseen, may_have_gpu
from unstrung.models.hub import upsample
from unstrung.models.hub.caches import NONE
from unstrung.models.hub.families import CACHE_DIT, DENOISERS, FAMILIES, FIRST_BLOCK, MAGCACHE, Family, Weights
from unstrung.request import Request

GB = 10**9
BASE_VRAM = 800_000_000  # the driver's context, and what the allocator and the libraries keep beside tensors
BASE_RAM = 1_500_000_000  # Python, PyTorch and diffusers
GROUP = 0.10  # of a transformer: two of its thirty to sixty blocks, the one at work and the next, and what lies outside of blocks
LEAVES = 0.20  # of a text encoder: its table of words is the largest leaf, a fifth of UMT5's weights
FLOAT8, BESIDE = 1, 0.06  # bytes of a weight of eight bits; norms and embeddings, a share of all, stay as they are
TEXT_WORK = 300_000_000  # states of what reads the prompt
FRAME_BYTES = 6  # a value of a decoded frame: in float32 at the most, as a byte, and as one of a picture that is cut to its size

# what a cache keeps from step to step until the film is decoded: bytes a token, unit of width and pass (`bench/hub_caches.py`);
# TaylorSeer next to nothing
KEPT: Mapping[str, int] = MappingProxyType({FIRST_BLOCK: 6, MAGCACHE: 4, CACHE_DIT: 12})

SHORT_SIDES = (1080, 720, 480, 360, 240)
PETAFLOPS_A_SECOND: Mapping[str, float] = MappingProxyType({"H100": 0.30, "A100": 0.15})  # as the published times say
TIMES: Mapping[str, float] = MappingProxyType(  # of what a resident model takes: rough
    {"resident": 1.0, "model-offload": 1.05, "group-offload": 1.3, "fp8": 1.5, "disk": 8.0}
)
BY_LAYERS = ("group-offload", "fp8", "disk")  # plans in which layers come and go by turns, or are not what they were
WHAT: Mapping[str, str] = MappingProxyType(
    {
        "resident": "all of it in the memory that computes",
        "model-offload": "one part after the other on the GPU, the rest in RAM",
        "group-offload": "a few layers at a time on the GPU, the rest in RAM",
        "fp8": "the same with weights of eight bits: the picture differs a little",
        "disk": "a few layers at a time, the rest on the disk: slow",
    }
)


@dataclass(frozen=True)
class Costs:
    """What a family's parts need beside their weights, in bytes. Of a family that was not counted, much is assumed."""

    state: int = 75  # a token and unit of the transformer's width
    together: bool = True  # both passes of guidance in one batch
    area: int = 46_000  # a pixel of the picture, while it is decoded, whatever the length
    frame: int = 100  # a pixel of each frame
    tile: int = 256 * 256  # pixels that are decoded at once where the decoder is tiled
    joined: int = 20  # a pixel of each frame, for tiles to be put together
    piece: int | None = None  # frames that are drawn at once, where a film is drawn piece by piece
    before: int = 0  # frames, as many as the transformer sees beside a piece of what went before it
    held: int = 0  # a pixel of each frame that is decoded already while the next piece is drawn
    share: float = 1.0  # of a step's work, where some are of smaller pictures


_COGVIDEOX = Costs(state=30, area=45_000, frame=21, tile=360 * 240, joined=21)
_LTX = Costs(state=70, area=100, frame=101, tile=512 * 512)
_WAN = Costs(state=36, together=False, area=19_500, frame=13, joined=42)
_HELIOS = Costs(state=96, together=False, area=19_500, frame=25, joined=42, piece=33, before=10, held=12)
_HUNYUAN = Costs(state=75, together=False, area=2_000, frame=1_796)
COSTS: Mapping[str, Costs] = MappingProxyType(
    {
        "cogvideox": _COGVIDEOX,
        "cogvideox-1.5": _COGVIDEOX,
        "mochi": Costs(state=30, area=5_000, frame=1_830),  # not counted: as cogvideox, of which it has the blocks
        "ltx": _LTX,
        "ltx-0.9.5": _LTX,
        "wan": _WAN,
        "wan-5b": Costs(state=75, together=False, area=21_500, frame=13, joined=42),
        "wan-vace": Costs(state=54, together=False, area=19_500, frame=13, joined=42),
        "hunyuan-video-1.5": _HUNYUAN,
        "kandinsky-5": _HUNYUAN,  # not counted: their VAE is HunyuanVideo's
        "kandinsky-5-pro": _HUNYUAN,
        "sana-video": _WAN,  # not counted, as the next ones: their VAE is Wan's
        "skyreels-v2": _WAN,
        "skyreels-v2-df": Costs(state=74, together=False, area=19_500, frame=13, joined=42, piece=121),
        "helios": _HELIOS,
        "helios-pyramid": replace(_HELIOS, share=0.55),
        "ltx-2": Costs(state=75, area=100, frame=86, tile=512 * 512),
    }
)


@dataclass(frozen=True)
class Machine:
    """What is free, in bytes; `vram` None where there is no GPU."""

    vram: int | None
    ram: int
    disk: int
    gpu: str = ""  # its name
    width: int = 2  # bytes of a number that it computes with
    processes: int = 1  # that make a film together, each of which has what is said here


@dataclass(frozen=True)
class Plan:
    """A way of placing a model, and what it needs at the most, in bytes, by stage. `time` is in times of a resident model's."""

    name: str
    tiled: bool
    vram: Mapping[str, int]  # by stage: encode, sample, decode; all 0 where the CPU computes
    ram: int
    disk: int
    time: float
    petaflops: float  # an estimate: 2 x weights x tokens, and attention, over all steps
    seconds: float | None = None  # only for GPUs whose speed has been published

    @property
    def peak(self) -> int:
        """Return the most memory of the GPU that any stage needs, in bytes."""
        return max(self.vram.values())

    def lacks(self, machine: Machine) -> str:
        """Say what the machine has too little of; empty where the plan fits."""
        has = (
            ("memory of the GPU", self.peak, machine.vram or 0),
            ("RAM", self.ram, machine.ram),
            ("disk", self.disk, machine.disk),
        )
        short = [f"{need / GB:.1f} GB of {what}, {free / GB:.1f} are free" for what, need, free in has if need > free]
        return "; ".join(short)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        seconds = None if self.seconds is None else round(self.seconds)
        return {
            "plan": self.name, "tiled": self.tiled, "what": WHAT[self.name], "vram": dict(self.vram), "ram": self.ram,
            "disk": self.disk, "time": self.time, "petaflops": round(self.petaflops, 1), "seconds": seconds,
        }  # fmt: skip


def look(device: str | None = None) -> Machine:
    """Return what is free on this machine now; `device` "cpu" leaves a GPU out of it."""
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    if importlib.util.find_spec("torch") is None:
        return Machine(None, _free_ram(), disk)
    if not may_have_gpu() and device in (None, "cpu"):
        return Machine(None, _free_ram(), disk, width=2 if bf16_is_foreseen() else 4)
    import torch

    if device != "cpu" and torch.cuda.is_available():
        place = torch.device(device or "cuda")
        return Machine(torch.cuda.mem_get_info(place)[0], _free_ram(), disk, torch.cuda.get_device_name(place))
    return Machine(None, _free_ram(), disk, width=2 if bf16_is_fast(device or "cpu") else 4)


def share(machine: Machine, processes: int) -> Machine:
    """Return what one of several processes has, each on a GPU of its own: the others are taken to be as free as the first."""
    return replace(machine, ram=machine.ram // processes, processes=processes)


def _free_ram() -> int:
    """Return the RAM that is free, in bytes: as Linux says, elsewhere two thirds of all, or 8 GB where nobody says."""
    if sys.platform == "linux":
        said = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        if "MemAvailable" in said:
            return int(said["MemAvailable"].split()[0]) * 1024
    if sys.platform == "win32":
        return 8 * GB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 2 // 3


@dataclass(frozen=True)
class _Needs:
    """Bytes: weights by part, and what a request's work takes beside them."""

    texts: tuple[int, ...]
    transformers: tuple[int, ...]
    eight: int  # all transformers, in eight bits
    vae: int
    sampling: int
    decoding: int
    decoding_tiled: int
    frames: int

    @property
    def all(self) -> int:
        return sum(self.texts) + sum(self.transformers) + self.vae

    def work(self, tiled: bool) -> dict[str, int]:
        return {"encode": TEXT_WORK, "sample": self.sampling, "decode": self.decoding_tiled if tiled else self.decoding}


def tokens(weights: Weights, family: Family, width: int, height: int, num_frames: int) -> int:
    """Return how many tokens the transformer sees at once, the prompt's included."""
    _, frames, pixels = family.latent
    costs = COSTS.get(family.id, Costs())
    num_frames = min(num_frames, costs.piece or num_frames) + costs.before
    in_time = -(-(num_frames - 1) // frames) + 1  # the first frame is one by itself
    side = pixels * family.patch[1]
    return -(-in_time // family.patch[0]) * -(-width // side) * -(-height // side) + family.text_tokens


def petaflops(weights: Weights, family: Family, width: int, height: int, num_frames: int) -> float:
    """Return an estimate of the sampling's work, in 10^15 operations: multiplications by weights, and attention."""
    parameters = next((n for part, n in weights.billions.items() if part in DENOISERS), max(weights.billions.values())) * 1e9
    layers = parameters / (14 * weights.width**2)
    costs = COSTS.get(family.id, Costs())
    times = (2 if weights.guidance > 1 else 1) * math.ceil(num_frames / (costs.piece or num_frames)) * costs.share
    work = 0.0
    for steps, wide, high in upsample.passes(weights, family, width, height):
        n = tokens(weights, family, wide, high, num_frames)
        work += steps * times * (2 * parameters * n + 4 * n * n * weights.width * layers)
    return work / 1e15


def _needs(weights: Weights, family: Family, width: int, height: int, num_frames: int, bytes_: int, cache: str) -> _Needs:
    costs = COSTS.get(family.id, Costs())
    _, width, height = upsample.passes(weights, family, width, height)[-1]  # the last one is the largest
    more = bytes_ // 2  # the costs were counted in bfloat16, those of what is always float32 in that
    sizes = {part: int(n * 1e9) * (4 if part in family.float32 else bytes_) for part, n in weights.billions.items()}
    sizes |= {part: file.size for part, file in weights.singles.items() if file.size}
    large = tuple(size for part, size in sizes.items() if part in DENOISERS)
    texts = tuple(size for part, size in sizes.items() if "encoder" in part) or (0,)  # a transformer may read by itself
    area = width * height
    batch = 2 if weights.guidance > 1 and costs.together else 1
    again = 1 if "vae" in family.float32 else more
    states = tokens(weights, family, width, height, num_frames) * weights.width * more
    kept = states * KEPT.get(cache, 0) * (2 if weights.guidance > 1 else 1)
    decoding = kept + again * area * (costs.area + costs.frame * num_frames)
    tile = min(costs.tile, area)
    tiled = kept + again * (tile * (costs.area + costs.frame * num_frames) + area * costs.joined * num_frames)
    return _Needs(
        texts=texts,
        transformers=large,
        eight=int(sum(large) / bytes_ * (FLOAT8 + BESIDE * bytes_)),
        vae=sum(sizes.values()) - sum(large) - sum(texts),
        sampling=states * batch * costs.state + area * num_frames * costs.held + kept,
        decoding=decoding,
        decoding_tiled=min(decoding, tiled),
        frames=area * num_frames * 3 * FRAME_BYTES,
    )


def _placed(name: str, needs: _Needs) -> tuple[dict[str, int], int, int]:
    """Return the bytes of weights on the GPU by stage, in RAM and on the disk; RAM holds what is being loaded, part by part."""
    texts, large, vae = sum(needs.texts), sum(needs.transformers), needs.vae
    largest = max(*needs.texts, *needs.transformers, vae)
    pieces = {"encode": vae + int(max(needs.texts) * LEAVES), "sample": vae + int(max(needs.transformers) * GROUP), "decode": vae}
    if name == "resident":
        return dict.fromkeys(("encode", "sample", "decode"), needs.all), largest, 0
    if name == "model-offload":
        return {"encode": max(needs.texts), "sample": max(needs.transformers), "decode": vae}, needs.all, 0
    if name == "group-offload":
        return pieces, needs.all, 0
    if name == "fp8":
        pieces["sample"] = vae + int(needs.eight * max(needs.transformers) / large * GROUP)
        return pieces, max(largest, needs.eight + texts + vae), 0
    assert name == "disk", name
    return pieces, largest, texts + large


def _on_cpu(name: str, needs: _Needs, tiled: bool) -> tuple[int, int]:
    """Return the RAM and the disk that a plan needs where the CPU computes: weights and work in one memory."""
    texts, work = sum(needs.texts), max(needs.work(tiled).values())
    largest = max(*needs.texts, *needs.transformers, needs.vae)
    if name == "resident":
        return needs.all + work, 0
    if name == "fp8":  # one layer at a time becomes what it was
        return max(largest, texts + needs.vae + needs.eight + work), 0
    placed, loading, disk = _placed(name, needs)
    return max(loading, *(placed[stage] + bytes_ for stage, bytes_ in needs.work(tiled).items())), disk


def every(
    weights: Weights, family: Family, width: int, height: int, num_frames: int, machine: Machine, *, cache: str = NONE
) -> Iterator[Plan]:
    """Yield all plans for a kind of machine, with or without a GPU, the fastest first, whether they fit or not."""
    needs = _needs(weights, family, width, height, num_frames, machine.width, cache)
    work = petaflops(weights, family, width, height, num_frames)
    speed = next((speed for gpu, speed in PETAFLOPS_A_SECOND.items() if gpu in machine.gpu), None)
    packed = any(file.size for file in weights.singles.values())
    for name, time in TIMES.items():
        if (machine.vram is None and name.endswith("-offload")) or (packed and name == "fp8"):
            continue  # what is packed already is not packed again
        if machine.processes > 1 and name != "resident":
            continue  # each process holds the whole model
        for tiled in (False, True) if needs.decoding_tiled < needs.decoding else (False,):
            vram = dict.fromkeys(("encode", "sample", "decode"), 0)
            if machine.vram is None:
                ram, disk = _on_cpu(name, needs, tiled)
            else:
                placed, ram, disk = _placed(name, needs)
                vram = {stage: BASE_VRAM + placed[stage] + beside for stage, beside in needs.work(tiled).items()}
            slower = time * (1.05 if tiled else 1)
            seconds = work / speed * slower if speed and machine.vram is not None else None
            yield Plan(name, tiled, vram, BASE_RAM + ram + needs.frames, disk, round(slower, 2), work, seconds)


def plans(
    weights: Weights, family: Family, width: int, height: int, num_frames: int, machine: Machine, *, cache: str = NONE
) -> list[Plan]:
    """Return all plans that fit the machine, the fastest first."""
    return [plan for plan in every(weights, family, width, height, num_frames, machine, cache=cache) if not plan.lacks(machine)]


def choose(
    weights: Weights, family: Family, width: int, height: int, num_frames: int, machine: Machine, fps: int | None = None,
    *, cache: str = NONE,
) -> Plan:  # fmt: skip
    """Return the fastest plan that fits; raise `NotEnoughMemory` with the size, the length or the model that would.

    `fps` is for those of other than the weights' own.
    """
    fitting = plans(weights, family, width, height, num_frames, machine, cache=cache)
    if fitting:
        return fitting[0]
    fps = fps or weights.fps
    least = min(every(weights, family, width, height, num_frames, machine, cache=cache), key=lambda plan: (plan.peak, plan.ram))
    seconds = num_frames / fps
    words = f"{weights.id} at {width}x{height} for {seconds:.3g} s does not fit. It needs at least {least.lacks(machine)}."
    if plans(weights, family, width, height, num_frames, machine):
        raise NotEnoughMemory(f"{words} Without the cache '{cache}' it would: --set cache={NONE}")
    smaller = fitting_size(weights, family, width, height, num_frames, machine, fps)
    if smaller:
        wide, high, frames = smaller
        length = "" if frames == num_frames else f" --seconds {int(frames / fps)}"  # which becomes so many frames again
        raise NotEnoughMemory(f"{words} This would fit: --size {wide}x{high}{length}")
    other = fitting_model(machine)
    advice = f"This model would: --model {other.id}" if other else "No open model fits; the built-in one does: --model nano"
    raise NotEnoughMemory(f"{words} No size of this model fits. {advice}")


def fitting_size(
    weights: Weights, family: Family, width: int, height: int, num_frames: int, machine: Machine, fps: int
) -> tuple[int, int, int] | None:
    """Return the largest standard size of the same shape that fits at this length, else the longest film at the smallest."""
    sizes = [] if weights.fixed else list(_smaller(family, width, height))
    asked = [(wide, high, num_frames) for wide, high in sizes]
    wide, high = sizes[-1] if sizes else (width, height)
    shorter = range(int(num_frames / fps), 0, -1)
    asked += [(wide, high, frames) for seconds in shorter if (frames := _frames(family, seconds * fps)) < num_frames]
    return next(((w, h, n) for w, h, n in asked if plans(weights, family, w, h, n, machine)), None)


def _smaller(family: Family, width: int, height: int) -> Iterator[tuple[int, int]]:
    short, unit = min(width, height), family.size_multiple
    for side in SHORT_SIDES:
        if side < short:
            wide, high = (max(unit, round(s * side / short / unit) * unit) for s in (width, height))
            if wide <= width and high <= height and (wide, high) != (width, height):
                yield wide, high


def _frames(family: Family, wanted: int) -> int:
    """Return how many frames the model draws where so many are wanted: by its own rule, rounded up."""
    steps = -(-(wanted - family.frame_offset) // family.frame_stride)
    return max(0, steps) * family.frame_stride + family.frame_offset


def fitting_model(machine: Machine) -> Weights | None:
    """Return the smallest model that fits at its own size and length."""
    rows = sorted(((w, f) for f in FAMILIES for w in f.weights), key=lambda row: sum(row[0].billions.values()))
    return next((w for w, f in rows if own_plans(w, f, machine)), None)


def own_plans(weights: Weights, family: Family, machine: Machine) -> list[Plan]:
    """Return the plans that fit a machine for a model's own size and length, the fastest first."""
    return plans(weights, family, *weights.size, _frames(family, round(weights.seconds * weights.fps)), machine)


def step_down(plan: Plan, fitting: list[Plan]) -> Plan | None:
    """Return the next plan that needs less memory of the GPU (of the machine, without one), after this one was too much."""
    later = fitting[fitting.index(plan) + 1 :]
    return next((p for p in later if (p.peak, p.ram) < (plan.peak, plan.ram)), None)


def forecast(
    weights: Weights, family: Family, request: Request, device: str | None = None, machine: Machine | None = None
) -> list[dict[str, Any]]:
    """Return every plan for a resolved request as a row: what it needs, and `why` it does not fit, which is empty where it does.

    Where none fits, a last row says in `why` what would.
    """
    machine = machine or look(device)
    assert request.width and request.height and request.num_frames and request.fps
    steps = request.num_inference_steps or weights.steps
    guidance = weights.guidance if request.guidance_scale is None else request.guidance_scale
    asked = (replace(weights, steps=steps, guidance=guidance), family, request.width, request.height, request.num_frames, machine)
    cache = request.options.get("cache", NONE)
    rows = [{**plan.to_dict(), "why": plan.lacks(machine)} for plan in every(*asked, cache=cache)]
    if all(row["why"] for row in rows):
        try:
            choose(*asked, request.fps, cache=cache)
        except NotEnoughMemory as error:
            rows.append({"plan": "none", "why": error.message})
    return rows


def apply(pipe: Any, plan: Plan, device: str, folder: Path | None = None, ahead: bool = True) -> None:
    """Put a loaded diffusers pipeline under a plan; once, for what is placed can't be placed again. `folder` is for "disk".

    Where the layers come and go by turns, on an NVIDIA card, the next ones come `ahead`, while one computes.
    """
    import torch

    if plan.tiled and hasattr(pipe.vae, "use_tiling"):
        pipe.vae.enable_tiling()
    if hasattr(pipe.vae, "use_slicing"):  # each VAE has the method, and some raise there
        pipe.vae.enable_slicing()
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    if plan.name == "model-offload":
        pipe.enable_model_cpu_offload(device=device)
        return
    for name, part in parts.items():
        _place(name, part, plan, torch.device(device), folder, ahead)


def _place(name: str, part: Any, plan: Plan, device: Any, folder: Path | None, ahead: bool) -> None:
    """Put a part of a pipeline where the plan wants it: transformers by blocks, what reads prompts by leaves, the rest whole."""
    from diffusers.hooks.group_offloading import apply_group_offloading

    transformer, encoder = name in DENOISERS, "encoder" in name
    if plan.name == "fp8" and transformer:
        import torch

        part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=part.dtype)
    apart = plan.name in BY_LAYERS and not (plan.name == "fp8" and device.type == "cpu")
    if not apart or not (transformer or encoder):
        part.to(device)
        return
    where = None
    if plan.name == "disk":
        assert folder is not None, "the plan 'disk' needs a folder"
        where = str(folder / name)
        _untie(part)
    by: dict[str, Any] = (
        {"offload_type": "block_level", "num_blocks_per_group": 1} if transformer else {"offload_type": "leaf_level"}
    )
    by["use_stream"] = ahead and transformer and device.type == "cuda"
    apply_group_offloading(part, onload_device=device, offload_to_disk_path=where, **by)


def _untie(part: Any) -> None:
    """Give every module a parameter of its own over the same numbers.

    Where two share one (a text encoder's table of words has two names), diffusers writes it to the disk, makes it empty, and then
    writes the second name's file from what is empty now.
    """
    from torch.nn import Parameter

    seen: set[int] = set()
    for module in part.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                setattr(module, name, Parameter(parameter.detach(), requires_grad=False))
            seen.add(id(parameter))
