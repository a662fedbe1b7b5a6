"""LoRAs: found, read by their keys and shapes, refused where they don't fit, and put into a pipeline for one request at a time.

Trainers write the same numbers under other names. Those of layers that the loaded model has are understood in any of their
spellings; a publisher's own names are converted by diffusers. Only safetensors are read: a pickle runs what its maker wrote.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unstrung.card import ModelCard
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.events import Emit, Note
from unstrung.models.hub import digest, snapshots
from unstrung.models.hub.families import DRAFTS, FAMILIES, Family, Weights
from unstrung.models.hub.signatures import dotted, whose
from unstrung.request import Lora, Request

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
EXPERTS = ("transformer", "transformer_2")  # in the order in which they work, where there are two
FILE_BYTES = 2  # of a number in a file of LoRAs; where there are four, they are counted twice
_SIDES = {"A": "lora_A", "down": "lora_A", "B": "lora_B", "up": "lora_B"}  # trainers' words for the two matrices
_KEY = re.compile(r"(.+?)\.lora[_.](A|down|B|up)(?:\.default)?\.(weight|bias)")
_BEFORE = re.compile(r"(base_model\.model\.|model\.|diffusion_model\.|transformer\.|unet\.)+")
_TRAINER = re.compile(r"lora_(?:unet|transformer)_+")
Shapes = Mapping[str, tuple[int, int]]  # what goes into a layer, and what comes out, by its name


@dataclass(frozen=True)
class File:
    """A LoRA that was found: its keys with their shapes, and what it says of how its numbers are to be scaled."""

    source: str
    path: Path
    expert: int | None  # for which of two; None for all there are
    scale: float
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    says: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name by which the pipeline knows it."""
        return f"lora_{self.sha256[:16]}"


class Loras:
    """The LoRAs of one loaded pipeline: those that the last request asked for, and no others."""

    def __init__(self, pipe: Any, card: ModelCard, family: Family) -> None:
        self._pipe, self._card, self._family = pipe, card, family
        self._experts = [name for name in EXPERTS if getattr(pipe, name, None) is not None]
        self._layers = _layers(getattr(pipe, self._experts[0])) if self._experts else {}
        self._loaded: list[tuple[str, int | None, Mapping[str, Any]]] = []
        self._notes: list[Note] = []
        self._about: list[dict[str, Any]] = []

    def use(self, files: list[File], emit: Emit) -> None:
        """Have the pipeline run with these LoRAs, at their scales, and without any other.

        All are checked before one is loaded. Raises `InvalidRequest` for what can't be read, or fits another model.
        """
        for file in files:
            if file.expert is not None and file.expert > len(self._experts):
                words = f"'{file.source}' names expert {file.expert}; {self._card.id} has {len(self._experts)}: leave out the #."
                raise InvalidRequest("loras", words)
        self._check_once(files)
        asked = [_what(file) for file in files]
        if asked != self._loaded:
            self.drop()
            self._load(files)
            self._loaded = asked
        self._about = [{"source": file.source, "sha256": file.sha256, "scale": file.scale, **file.says} for file in files]
        for i, expert in enumerate(self._experts if files else []):
            here = [file for file in files if file.expert in (None, i + 1)]
            if here:
                getattr(self._pipe, expert).set_adapters([file.name for file in here], [file.scale for file in here])
        for note in self._notes:
            emit(note)

    def others(self, files: list[File]) -> bool:
        """Say whether these are not the ones that are in; scales aside."""
        return [_what(file) for file in files] != self._loaded

    def about(self) -> list[dict[str, Any]]:
        """Return what a recipe says of those in use: source, sha256, scale, and what peft was told."""
        return self._about

    def drop(self) -> None:
        """Take them all out: the model is what it was before."""
        if self._loaded:
            self._pipe.unload_lora_weights()
        self._loaded, self._notes, self._about = [], [], []

    def _check_once(self, files: list[File]) -> None:
        for i in range(1, len(self._experts) + 1):
            counted = Counter(file.sha256 for file in files if file.expert in (None, i))
            for file in files:
                if counted[file.sha256] > 1:
                    words = f"'{file.source}' is asked for {counted[file.sha256]} times: ask once, with the sum of the scales."
                    raise InvalidRequest("loras", words)

    def _load(self, files: list[File]) -> None:
        import torch

        notes = [note for file in files for note in self._checked(file)]
        own = getattr(self._pipe, self._experts[0]).dtype if files else torch.bfloat16
        kind = own if own.is_floating_point else torch.bfloat16  # weights may be kept in fewer bits than are computed with
        try:
            for file in files:
                fitting, _, _ = self._fitting(file, _tensors(file))
                ready = {f"transformer.{key}": tensor.to(kind) for key, tensor in fitting.items()}
                for i in range(len(self._experts)):
                    if file.expert in (None, i + 1):
                        second = {"load_into_transformer_2": True} if i else {}
                        with warnings.catch_warnings():
                            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several at once are meant
                            self._pipe.load_lora_weights(dict(ready), adapter_name=file.name, **second)
        except BaseException:
            self._pipe.unload_lora_weights()
            raise
        self._notes = notes

    def _checked(self, file: File) -> list[Note]:
        """Raise `InvalidRequest` where a LoRA is another model's; return what is to be said where it fits in part."""
        import torch

        meta = {key: torch.empty(shape, device="meta") for key, shape in file.shapes.items() if not key.endswith(".alpha")}
        fitting, total, why = self._fitting(file, meta)
        changed = {_split(key, self._layers)[0] for key in file.shapes}
        likely = whose(changed)
        mine = any(self._family.id in one.families for one in likely)
        if not fitting or (likely and not mine) or _deeper(changed, self._layers):
            raise InvalidRequest("loras", self._whose(file, changed, why), code="wrong_family")
        notes = []
        label = Path(file.source).name
        if len(fitting) < total:
            left = total - len(fitting)
            words = f"{left} of the {total} tensors in {label} have no place in {self._card.id}: they count for nothing."
            notes.append(Note("lora_in_part", words, {"source": file.source, "placed": len(fitting), "total": total}))
        if len(self._experts) > 1 and file.expert is None:
            words = (
                f"{label} is put into both experts; name one as {label}#1 (the first, where there is most noise) or {label}#2."
            )
            notes.append(Note("lora_for_both", words, {"source": file.source}))
        return notes

    def _fitting(self, file: File, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int, str]:
        """Return the tensors that have a place, by the model's own names; how many there are; and why diffusers knew no more."""
        named, why = _converted(self._pipe, file, tensors, self._layers)
        found: dict[str, Tensor] = {}
        for key, down in named.items():
            layer = key.removesuffix(".lora_A.weight")
            up = named.get(f"{layer}.lora_B.weight")
            if layer == key or layer not in self._layers or up is None or (down.ndim, up.ndim) != (2, 2):
                continue
            if (down.shape[1], up.shape[0]) != self._layers[layer] or down.shape[0] != up.shape[1]:
                continue
            found |= {key: down, f"{layer}.lora_B.weight": up}
            bias = named.get(f"{layer}.lora_B.bias")
            if bias is not None and bias.shape == up.shape[:1]:
                found[f"{layer}.lora_B.bias"] = bias
        return found, max(len(tensors), len(named)), why

    def _whose(self, file: File, changed: set[str], why: str) -> str:
        """Say whose a LoRA is, that does not fit here."""
        label, own, width, likely = Path(file.source).name, self._card.id, _width(file), whose(changed)
        if not likely:
            reason = f" Diffusers says: {why}." if why else ""
            return f"{label} is no LoRA that is known here: none of its {len(file.shapes)} tensors has a place in {own}.{reason}"
        known = [
            (one.name, weights.id) for one in likely for family in FAMILIES if family.id in one.families
            for weights in family.weights if weights.width == width and weights.id != own
        ]  # fmt: skip
        models = [model for _, model in known]
        who = " or ".join(dict.fromkeys(name for name, _ in known) if known else [one.name for one in likely])
        who += f" ({', '.join(models)})" if models else ""
        said = f" Try --model {models[0]}." if models else ""
        if not any(self._family.id in one.families for one in likely):
            return f"{label} is a LoRA for {who}, not for {own}.{said}"
        who = who if models else f"another {who}"
        return f"{label} is a LoRA for {who}, not for {own}: {self._difference(file, changed, why)}.{said}"

    def _difference(self, file: File, changed: set[str], why: str) -> str:
        if deeper := _deeper(changed, self._layers):
            return f"it changes {deeper}, and {self._card.id} ends before that"
        if not (width := _width(file)):
            return "it holds no two matrices for any layer, as a LoRA does (a LoKr or LoHa is not read)"
        taken = Counter(into for name, (into, _) in self._layers.items() if re.search(r"\.\d+\.", name)).most_common(1)
        if taken and taken[0][0] == width:
            return f"none of its {len(file.shapes)} tensors has a place there" + (f"; diffusers says: {why}" if why else "")
        return f"its layers are {width} wide, those of {self._card.id} {taken[0][0] if taken else 'other'}"


def _what(file: File) -> tuple[str, int | None, Mapping[str, Any]]:
    """Return what of a LoRA is in the model when it is loaded."""
    return file.sha256, file.expert, file.says


def find(lora: Lora) -> File:
    """Find a LoRA and read its header. Raises `InvalidRequest` for what is not here, or no safetensors file."""
    from safetensors import SafetensorError, safe_open

    if importlib.util.find_spec("peft") is None:
        raise UnstrungError(
            "not_installed", "loras", "LoRAs need peft, which the default install leaves out: pip install '.[hub]'"
        )
    if not math.isfinite(lora.scale):
        raise InvalidRequest("loras", f"scale is {lora.scale}, of '{lora.source}'; it must be a number, such as 0.8.")
    source, expert = _named(lora)
    path = _path(source)
    if path.suffix.lower() in PICKLES:
        words = f"'{source}' is a pickle, which runs what its maker wrote; only .safetensors files are read: ask for such a one."
        raise InvalidRequest("loras", words, code="pickle")
    if path.suffix.lower() != ".safetensors":
        raise InvalidRequest("loras", f"'{source}' is no LoRA; it must be a .safetensors file, or like hf:OWNER/NAME.")
    if not path.is_file():
        raise InvalidRequest("loras", f"There is no file '{source}': give the path of a .safetensors file, or hf:OWNER/NAME.")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            said = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        words = f"'{source}' can't be read as safetensors ({error}): it is damaged, or another kind of file; fetch it anew."
        raise InvalidRequest("loras", words, code="broken_file") from None
    return File(lora.source, path, expert, float(lora.scale), digest(path), shapes, _says(path, shapes, said))


def counted(weights: Weights, request: Request) -> Weights:
    """Return what is to be loaded for a request: the LoRAs that are here are parts of the transformers that they change."""
    more: Counter[str] = Counter()
    for lora in request.loras:
        source, expert = _named(lora)
        with suppress(InvalidRequest, OSError):  # of what is not here nobody knows how large it is
            size = _path(source).stat().st_size
            more.update(dict.fromkeys(EXPERTS if expert is None else EXPERTS[expert - 1 : expert], size))
    billions = {part: n + more[part] / FILE_BYTES / 1e9 for part, n in weights.billions.items()}
    singles = {part: one._replace(size=one.size and one.size + more[part]) for part, one in weights.singles.items()}
    return replace(weights, billions=billions, singles=singles)


def _named(lora: Lora) -> tuple[str, int | None]:
    """Return a LoRA's source, and for which of two experts it is; None for all there are."""
    named = re.fullmatch(r"(.+)#([12])", lora.source)
    return (named[1], int(named[2])) if named else (lora.source, None)


def _path(source: str) -> Path:
    return _in_hub(source) if source.startswith("hf:") else Path(source)


def _in_hub(source: str) -> Path:
    """Return the file that `hf:OWNER/NAME` or `hf:OWNER/NAME/FILE` means in the hub's cache."""
    parts = source.removeprefix("hf:").split("/")
    if len(parts) < 2 or any(not re.fullmatch(r"[\w.+-]+", part) or part in (".", "..") for part in parts):
        raise InvalidRequest(
            "loras", f"'{source}' names nothing on the hub; it must be like hf:OWNER/NAME or hf:OWNER/NAME/FILE."
        )
    repo, inside = "/".join(parts[:2]), "/".join(parts[2:])
    kept = [folder for folder in snapshots(repo).glob("*") if not inside or (folder / inside).exists()]
    if not kept:
        drawn = (model for model, loras in DRAFTS.items() if any(lora.partition("#")[0] == source for lora in loras))
        what = next((f"{model} --draft" for model in drawn), f"hf:{repo}{f'/{inside}' if inside else ''}")
        raise InvalidRequest("loras", f"'{source}' is not here: unstrung models pull {what}", code="not_here")
    newest = max(kept, key=lambda folder: folder.stat().st_mtime)
    if inside:
        return newest / inside
    found = sorted(newest.glob("*.safetensors"))
    if len(found) != 1:
        names = (
            f"it must be one of them: {', '.join(f'{source}/{path.name}' for path in found)}" if found else "only these are read"
        )
        raise InvalidRequest("loras", f"'{source}' holds {len(found)} .safetensors files; {names}.")
    return found[0]


def _says(path: Path, shapes: Mapping[str, Any], said: Mapping[str, str]) -> Mapping[str, Any]:
    """Return how peft was set when a LoRA was trained: diffusers keeps that in the file, peft itself beside it."""
    beside, text = path.parent / "adapter_config.json", said.get("lora_adapter_metadata")
    if text is None and any(key.startswith("base_model.") for key in shapes) and beside.is_file():
        text = beside.read_text(errors="replace")
    try:
        all_ = {key.removeprefix("transformer."): value for key, value in json.loads(text or "{}").items()}
        found = {key: all_[key] for key in ("lora_alpha", "alpha_pattern", "use_rslora") if all_.get(key)}
        return {**found, **({"lora_alpha": float(found["lora_alpha"])} if "lora_alpha" in found else {})}
    except (ValueError, TypeError, AttributeError):
        words = f"What '{path}' says of how it was trained is damaged, so nobody knows how much it counts: fetch it anew."
        raise InvalidRequest("loras", words, code="broken_file") from None


def _tensors(file: File) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {key: tensor for key, tensor in load_file(file.path).items() if not key.endswith(".alpha")}


def _alphas(file: File, layers: Shapes) -> dict[str, float]:
    """Return by what a trainer has multiplied each layer's rank; nothing where the file says nothing of it."""
    from safetensors import safe_open

    with safe_open(file.path, framework="pt") as opened:
        keys = [key for key in file.shapes if key.endswith(".alpha")]
        return {_split(key, layers)[0]: float(opened.get_tensor(key).float().mean()) for key in keys}


def _factor(file: File, layer: str, rank: int, alphas: Mapping[str, float]) -> float:
    """Return by what a layer's numbers are to be multiplied: alpha / rank, as they were trained."""
    from peft.utils.other import get_pattern_key

    if layer in alphas:
        return alphas[layer] / rank
    if "lora_alpha" not in file.says:
        return 1.0
    pattern = file.says.get("alpha_pattern") or {}
    alpha: float = pattern.get(get_pattern_key(list(pattern), layer), file.says["lora_alpha"])
    return alpha / (math.sqrt(rank) if file.says.get("use_rslora") else rank)


def _split(key: str, layers: Shapes) -> tuple[str, str]:
    """Return a key's layer, by the model's name for it where it has one, and what of it the key holds."""
    match = _KEY.fullmatch(key)
    layer, _, part = key.rpartition(".") if match is None else (match[1], "", f"{_SIDES[match[2]]}.{match[3]}")
    if trainer := _TRAINER.match(layer):
        flat = layer[trainer.end() :]
        layer = next((name for name in layers if name.replace(".", "_") == flat), None) or dotted(flat)
    elif before := _BEFORE.match(layer):
        layer = layer[before.end() :]
    return layer, part


def _converted(pipe: Any, file: File, tensors: Mapping[str, Tensor], layers: Shapes) -> tuple[dict[str, Tensor], str]:
    """Return the tensors, already scaled, by the model's own names where known; and what diffusers said, if it gave up."""
    alphas = _alphas(file, layers)
    known: dict[str, Tensor] = {}
    foreign: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        layer, part = _split(key, layers)
        if part == "lora_A.weight" and tensor.numel() and (factor := _factor(file, layer, tensor.shape[0], alphas)) != 1:
            tensor = tensor.float() * factor
        (known if layer in layers else foreign)[f"{layer}.{part}"] = tensor
    if not foreign:
        return known, ""
    try:
        named = pipe.lora_state_dict({f"diffusion_model.{key}": tensor for key, tensor in foreign.items()})
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError) as error:
        return {**known, **foreign}, f"{type(error).__name__}: {str(error)[:200]}"
    return {**known, **{_BEFORE.sub("", key, count=1): tensor for key, tensor in named.items()}}, ""


def _layers(transformer: Any) -> dict[str, tuple[int, int]]:
    """Return the layers that a LoRA can change, by name."""
    return {
        name: (int(module.in_features), int(module.out_features))
        for name, module in transformer.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    }


def _deeper(changed: set[str], layers: Shapes) -> str | None:
    """Return a block that a LoRA changes and the model, which has others like it, ends before; None where there is none."""
    depth: dict[str, int] = {}
    for name in layers:
        if match := re.match(r"(\w+)\.(\d+)\.", name):
            depth[match[1]] = max(depth.get(match[1], 0), int(match[2]))
    for name in sorted(changed):
        match = re.match(r"(\w+)\.(\d+)\.", name) or re.match(r"(\w*blocks)_(\d+)_", name)
        if match and int(match[2]) > depth.get(match[1], 10**9):
            return f"{match[1]}.{match[2]}"
    return None


def _width(file: File) -> int:
    """Return how wide most of the layers are that a LoRA changes."""
    wide = Counter(
        shape[1] for key, shape in file.shapes.items() if len(shape) > 1 and re.search(r"lora(_A|_down|\.down)\.", key)
    )
    return wide.most_common(1)[0][0] if wide else 0
