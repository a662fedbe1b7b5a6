"""The open video models, through diffusers: any of its pipelines behind our own words."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unstrung.card import Limits, ModelCard, Option
from unstrung.errors import InvalidRequest, MissingWeights, UnknownModel
from unstrung.models.hub import fetch, shelf
from unstrung.models.hub.families import (
    DIVIDED,
    DRAFT_STEPS,
    DRAFTS,
    FAMILIES,
    FILES,
    MAGCACHE,
    NOTHING,
    SPARE,
    UPSAMPLERS,
    Family,
    Single,
    Weights,
)

if TYPE_CHECKING:
    from unstrung.models.hub.adapter import HubModel
    from unstrung.models.hub.memory import Machine
    from unstrung.request import Request

DEVICES = (None, "cpu", "cuda", "mps")
MIN_SIDE, MAX_SIDE = 64, 2048
INDEX = fetch.INDEX
GGUF = ".gguf"


def card_of(family: Family, weights: Weights) -> ModelCard:
    """Return a model's card."""
    width, height = weights.size
    options = {name: Option(default, meaning) for name, (default, meaning) in weights.options.items()}
    experts = "transformer_2" in weights.billions  # each makes some of the steps: MagCache counts them as if one made all
    if guesses := tuple(name for name in family.caches if name != MAGCACHE or not experts):
        options["cache"] = Option("none", "how to guess some steps: sooner, and a little different", choices=("none", *guesses))
        options["cache_threshold"] = Option(0.0, "how much a step may differ and yet be guessed; 0: as the cache thinks best")
    options["compile"] = Option(False, "compile the transformer: the first film takes minutes more, the next ones less")
    notes = [f"Its weights: {weights.repo_id}.", f"It reads {family.text_tokens} tokens of a prompt."]
    if upsampler := UPSAMPLERS.get(weights.repo_id):
        options["upsample"] = Option(False, "draw it smaller, double its latents, and make the last steps once more: more detail")
        notes.append(f"Its option upsample needs weights of their own: unstrung models pull hf:{upsampler.repo_id}")
    if family.id in DIVIDED:
        options["gpus"] = Option(1, "how many GPUs make the film together, each with the whole model")
    return ModelCard(
        id=weights.id, family=family.id, summary=weights.summary, tasks=weights.tasks, license=weights.license,
        repo_id=weights.repo_id, size_multiple=family.size_multiple, frame_stride=family.frame_stride,
        frame_offset=family.frame_offset, fps=weights.fps,
        defaults={
            "width": width, "height": height, "seconds": weights.seconds, "num_inference_steps": weights.steps,
            "guidance_scale": weights.guidance, "sampler": None,
        },
        presets={"draft": _draft(weights), "final": {}},
        limits=Limits(
            min_side=max(MIN_SIDE, 2 * family.size_multiple), max_side=MAX_SIDE, max_seconds=weights.max_frames / weights.fps,
            min_fps=1 if family.fps else weights.fps, max_fps=60 if family.fps else weights.fps,
        ),
        options=options, samplers=tuple(family.samplers), loras=family.loras,
        notes=tuple(notes),
    )  # fmt: skip


def _draft(weights: Weights) -> dict[str, Any]:
    """Return what the preset draft changes: few steps with the LoRAs that were made for that, else fewer steps."""
    loras = DRAFTS.get(weights.id.partition("@")[0])  # from a GGUF file too
    if not loras:
        return {"num_inference_steps": weights.draft_steps}
    once = {name: 1.0 for name in weights.options if name.startswith("guidance_scale")}
    return {"num_inference_steps": DRAFT_STEPS, "guidance_scale": 1.0, "loras": loras, "options": once}


_KNOWN = {weights.id: (family, weights) for family in FAMILIES for weights in family.weights}
CARDS = tuple(card_of(family, weights) for family, weights in _KNOWN.values())


def find(name: str) -> ModelCard | None:
    """Return the card of a model that is in no list; None for other names.

    That is a folder with a pipeline in it, `hf:OWNER/NAME`, or a listed one whose transformer comes from a file of its own:
    `NAME@FILE.safetensors` or `NAME@FILE.gguf`, with two files and a comma between where it has two.
    """
    if (base := _base(name)) != name:
        return card_of(*_singles(f"{base}@{','.join(_files(name))}"))
    if name.startswith("hf:"):
        if shelf.file_of(name):
            words = f"'{name}' is one file: a LoRA is given as --lora {name}, a transformer as --model NAME@{name}."
            raise UnknownModel(words)
        folder = pulled(shelf.repository(name))
        if folder is None:
            raise MissingWeights(f"The weights of {name} are not here: unstrung models pull {name}")
    elif "/" in name or os.sep in name or name.startswith("."):
        folder = Path(name)
        if (folder / INDEX).is_file():
            name = str(folder.resolve())  # a worker, and who makes the film again, may stand elsewhere
    else:
        return None
    from unstrung.models.hub import others

    return card_of(*others.read(name, folder))


def check(card: ModelCard) -> None:
    """Raise `MissingWeights` where diffusers or the weights are not installed; nothing is loaded."""
    base = _base(card.id)
    for needed in ("torch", "diffusers", "transformers", *(["gguf"] if base != card.id and GGUF in card.id.lower() else [])):
        if importlib.util.find_spec(needed) is None:
            raise MissingWeights(f"{card.id} needs {needed}, which the default install leaves out: pip install '.[hub]'")
    if _folder(card) is None:
        raise MissingWeights(f"The weights of {base} are not here: unstrung models pull {card.id}")


def forecast(card: ModelCard, request: Request, device: str | None = None) -> list[dict[str, Any]]:
    """Return the ways of placing a model for a resolved request, the fastest first, and why those that don't fit do not."""
    from unstrung.models.hub import lora, memory, upsample

    family, weights = _row(card)
    machine = memory.look(device)
    if (gpus := request.options.get("gpus", 1)) > 1:
        from unstrung.models.hub.parallel import check_count

        check_count(gpus, device)
        machine = memory.share(machine, gpus)
    return memory.forecast(lora.counted(upsample.counted(weights, request), request), family, request, device, machine)


def fits(card: ModelCard, machine: Machine) -> str:
    """Return whether a film of a model's own size fits a machine: "yes", "slowly" (by the CPU, or from the disk), or "no"."""
    from unstrung.models.hub import memory

    family, weights = _row(card)
    found = memory.own_plans(weights, family, machine)
    if not found:
        return "no"
    return "slowly" if machine.vram is None or found[0].name == "disk" else "yes"


def variant(card: ModelCard) -> str:
    """Return which variant of its repository's files a model is loaded from; "" is the plain one."""
    return (_KNOWN[_base(card.id)][1].variant or "") if _base(card.id) in _KNOWN else ""


def drafts(model: str) -> list[str]:
    """Return the files on the hub that a model's preset draft is made with; raise `InvalidRequest` where it needs none."""
    loras = DRAFTS.get(model.partition("@")[0])
    if not loras:
        words = f"The preset draft of '{model}' needs nothing more; there are LoRAs for: {', '.join(DRAFTS)}."
        raise InvalidRequest("draft", words)
    return [source.partition("#")[0] for source in loras]


def load(card: ModelCard, device: str | None = None) -> HubModel:
    """Load a model from the weights that lie here."""
    if device not in DEVICES:
        raise InvalidRequest("device", f"device is '{device}'; {card.id} runs on: {', '.join(d for d in DEVICES if d)}.")
    check(card)
    from unstrung.models.hub.adapter import load_model

    folder = _folder(card)
    assert folder is not None
    family, weights = _row(card)
    return load_model(card, family, weights, folder, device, _about(card, weights, folder))


def _about(card: ModelCard, weights: Weights, folder: Path) -> dict[str, Any]:
    """Return the revision of the weights in a folder, the digests of all files that they come from, and one of these."""
    parts = parts_of(folder) - {*weights.singles, *SPARE.get(card.family, ())}
    files = {path.relative_to(folder).as_posix(): path for part in parts for path in (folder / part).rglob("*.safetensors")}
    files |= {f"{part}/{Path(file.path).name}": Path(file.path) for part, file in weights.singles.items()}
    digests = {name: digest(path) for name, path in files.items()}
    return {"revision": card.revision or folder.name, "sha256": shelf.over(digests), "files": digests}


def parts_of(folder: Path) -> set[str]:
    """Return the parts of the pipeline in a folder, none where there is none; what else lies there is nobody's business."""
    if not (folder / INDEX).is_file():
        return set()
    return {name for name in json.loads((folder / INDEX).read_text()) if not name.startswith("_")}


def counted(folder: Path) -> Mapping[str, float]:
    """Return how many billions of weights each part of a pipeline has, from the heads of its files."""
    found: dict[str, float] = {}
    for path in sorted(path for part in parts_of(folder) for path in (folder / part).glob("*.safetensors")):
        found[path.parent.name] = found.get(path.parent.name, 0.0) + fetch.billions(fetch.head(path))
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; the hub's cache has it in the name of what a link leads to."""
    name = path.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else fetch.digest(path)


def without(model: str) -> tuple[str, ...]:
    """Return the parts of a model whose weights come from files of their own."""
    return tuple(_singles(model)[1].singles) if _base(model) != model else ()


def spare(model: str) -> tuple[str, ...]:
    """Return the parts of a listed model's pipeline that nobody here has any use for."""
    base = _base(model)
    return SPARE.get(_KNOWN[base][0].id, ()) if base in _KNOWN else ()


def _base(name: str) -> str:
    """Return which listed model is meant where a file comes after it; other names as they are."""
    base, at, files = name.partition("@")
    return base if at and files.lower().endswith(fetch.SINGLE) and base in _KNOWN else name


def _files(name: str) -> list[str]:
    """Return the paths of the files that a name has, between commas that follow an ending: others are of a file's own name.

    Links stay as they are: those of the hub's cache lead to files without an ending.
    """
    found = []
    for file in re.split(r"(?i)(?<=\.gguf),|(?<=\.safetensors),", name.partition("@")[2]):
        if file.startswith("hf:"):
            file = str(shelf.path(shelf.repository(file)) / (shelf.file_of(file) or ""))
        found.append(os.path.abspath(file))  # noqa: PTH100
    return found


def _row(card: ModelCard) -> tuple[Family, Weights]:
    """Return a model's family and weights."""
    if card.id in _KNOWN:
        return _KNOWN[card.id]
    if _base(card.id) != card.id:
        return _singles(card.id)
    assert card.repo_id
    from unstrung.models.hub import others

    return others.read(card.id, Path(card.repo_id))


def _singles(name: str) -> tuple[Family, Weights]:
    """Return a listed model whose transformers come from files of their own."""
    from dataclasses import replace

    family, weights = _KNOWN[_base(name)]
    parts = [part for part in weights.billions if part.startswith("transformer")]
    files = [Path(file) for file in _files(name)]
    if not family.singles:
        able = ", ".join(other.id for other in FAMILIES if other.singles)
        raise UnknownModel(f"diffusers reads no single files for {weights.id}; it does for: {able}.")
    if len(files) != len(parts):
        raise UnknownModel(f"{weights.id} has {len(parts)} transformers ({', '.join(parts)}), and {len(files)} files are named.")
    singles, billions = {}, dict(weights.billions)
    for part, file in zip(parts, files, strict=True):
        size, found = _sizes(file)
        singles[part] = Single(str(file), size)
        billions[part] = min(found, billions[part])  # a file may hold other parts too
    summary = f"{weights.summary} Its transformer comes from a file of its own."
    otherwise = FILES.get(files[0].name, NOTHING)
    return family, replace(weights, id=name, summary=summary, singles=singles, billions=billions, **otherwise)


def _sizes(file: Path) -> tuple[int | None, float]:
    """Return the bytes of what stays packed, None where nothing does, and how many billions of weights a file has, if it says so.

    Raises `MissingWeights` for a file that holds none, or holds them as diffusers does not read them.
    """
    try:
        with file.open("rb") as opened:
            if file.suffix.lower() == GGUF:
                if opened.read(4) != b"GGUF":
                    raise MissingWeights(f"{file} is no GGUF file.")
                return file.stat().st_size, math.inf
        head = fetch.head(file)
        billions = fetch.billions(head)
    except (ValueError, KeyError, TypeError):  # of what another program says of its tensors
        raise MissingWeights(f"{file} is no safetensors file.") from None
    except OSError as error:
        words = f"{file} can't be read: {error.strerror}: give the path of a file, or hf:OWNER/NAME/FILE."
        raise MissingWeights(words) from None
    if scaled := next((name for name in head if "scale_weight" in name or "weight_scale" in name or name == "scaled_fp8"), None):
        words = f"{file} holds weights in eight bits with scales ({scaled}), which diffusers does not read"
        raise MissingWeights(f"{words}: take one in bf16, or a GGUF.")
    return None, billions


def _folder(card: ModelCard) -> Path | None:
    """Return where a model's weights lie, or None."""
    assert card.repo_id
    if _base(card.id) not in _KNOWN:  # a folder of somebody's; what is in the list never comes from where one happens to stand
        return Path(card.repo_id)
    return pulled(card)


def pulled(card: ModelCard) -> Path | None:
    """Return where what was pulled of a card's repository lies, by us or by another program; None where nothing does."""
    assert card.repo_id
    parts = without(card.id)
    return shelf.path(card, parts) if shelf.installed(card, parts) else _in_cache(card)


def _in_cache(card: ModelCard) -> Path | None:
    """Return the newest snapshot of a model's repository in the hub's cache, but for what we know not to be whole."""
    assert card.repo_id
    lacking = shelf.lacking(card)
    found = [index for index in sorted(snapshots(card.repo_id).glob(f"*/{INDEX}")) if index.parent.name != lacking]
    return max(found, key=lambda index: index.stat().st_mtime).parent if found else None


def snapshots(repo_id: str) -> Path:
    """Return where a repository's snapshots lie in the cache that all programs of the Hugging Face hub share."""
    home = os.environ.get("HF_HOME", Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub"))
    return cache / f"models--{repo_id.replace('/', '--')}" / "snapshots"
