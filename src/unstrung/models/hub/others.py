"""Pipelines in folders: the row that is most like one, or a row made of what its class and its parts' files say of it.

What these do not say is not known: without a row there are no previews, no caches and no LoRAs, and plans count as much as for a
family that nobody has measured.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unstrung.errors import MissingWeights, UnknownModel
from unstrung.models.hub import INDEX, counted, parts_of
from unstrung.models.hub.families import FAMILIES, IMAGE, NOTHING, TEXT, VIDEO, Family, Way, Weights
from unstrung.models.hub.fetch import PICKLES, WEIGHTS

FRAMES = ("num_frames", "frames", "video_length")  # what pipelines call how many they draw
FROM_PICTURE = re.compile(r"Image(To|2)Video|(?<!T)I2V|VideoToWorld")  # in the names of those that draw nothing without one
FPS, SIZE, COUNT, STEPS, GUIDANCE = 16, (832, 480), 49, 50, 5.0  # where a pipeline says nothing of it
TOKENS = 512  # of a prompt
PIXELS, TIMES = ("spatial_compression_ratio", "scale_factor_spatial"), ("temporal_compression_ratio", "scale_factor_temporal")


def read(name: str, folder: Path) -> tuple[Family, Weights]:
    """Return the family of the pipeline in a folder, and weights for it; raise `UnknownModel` or `MissingWeights` for none.

    A repository that a row is of has that row, whole. Others are as the row of their class that is most like them, but for what
    that says of its own weights.
    """
    index = folder / INDEX
    try:
        made_by = str(json.loads(index.read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UnknownModel(f"'{name}' is no model: there is no {index} that names a pipeline of diffusers.") from None
    billions = _counted(name, folder)
    rows = [
        (family, weights)
        for family in FAMILIES
        for weights in family.weights
        if any(family.ways[task].pipeline == made_by for task in weights.tasks)
    ]
    place: dict[str, Any] = {"id": name, "repo_id": str(folder), "billions": billions}
    if own := next((row for row in rows if name == f"hf:{row[1].repo_id}"), None):
        return own[0], replace(own[1], **place)
    if rows:
        family, like = max(rows, key=lambda row: _alike(row[0], row[1], folder))
        told: dict[str, Any] = {"summary": f"A {made_by} of your own.", "license": "see-card"}
        return family, replace(like, **place, **told, arguments=NOTHING, options=NOTHING, schedule=None)
    if found := _family_of(made_by, name, folder, billions):
        return found
    known = ", ".join(sorted({way.pipeline for family in FAMILIES for way in family.ways.values()}))
    words = f"'{name}' is a {made_by}, which is no pipeline of diffusers that draws videos."
    raise UnknownModel(f"{words} These are best known: {known}.")


def _counted(name: str, folder: Path) -> Mapping[str, float]:
    """Return how many billions of weights each part has; raise `MissingWeights` where one has only a pickle, or none has any."""
    for part in sorted(parts_of(folder)):
        files = list((folder / part).glob("*"))
        if any(path.suffix in PICKLES for path in files) and not any(path.suffix == WEIGHTS for path in files):
            words = (
                f"{folder / part} has weights only as a pickle, which can run anything when it is read: '{name}' is not loaded."
            )
            raise MissingWeights(f"{words} Save it again with safe_serialization=True.")
    try:
        found = counted(folder)
    except ValueError as error:
        raise MissingWeights(f"'{name}' can't be read: {error}.") from None
    if not found:
        raise MissingWeights(f"'{name}' has no weights: there are no {WEIGHTS} files in the parts of {folder}.")
    return found


def _alike(family: Family, weights: Weights, folder: Path) -> int:
    """Return how much a pipeline in a folder is like a row: what changes how it is run counts more than how large it is."""
    vae, transformer = _config(folder, ("vae",)), _config(folder, ("transformer",))
    learned = bool(transformer.get("use_learned_positional_embeddings"))
    blocks = transformer.get("attention_type") == "nabla"  # of 8 x 8 tokens: its sides are multiples of 128 pixels
    points = 16 * (family.latent[0] == (vae.get("z_dim") or vae.get("latent_channels")))
    points += 8 * (family.patch[0] == (transformer.get("patch_size_t") or 1))
    points += 8 * (blocks == (family.size_multiple == 128))
    points += 4 * (("transformer_2" in weights.billions) == (folder / "transformer_2").is_dir())
    return points + 2 * (weights.fixed == learned) + (_width(transformer) == weights.width)


def _family_of(made_by: str, name: str, folder: Path, billions: Mapping[str, float]) -> tuple[Family, Weights] | None:
    """Return a family and weights for a pipeline that no row is of; None for a class that draws no videos for us."""
    try:
        import diffusers
        import torch

        from unstrung.models.hub.preview import UNKNOWN
    except ImportError:
        raise MissingWeights(f"{name} needs diffusers, which the default install leaves out: pip install '.[hub]'") from None

    made = getattr(diffusers, made_by, None)
    if not (inspect.isclass(made) and issubclass(made, diffusers.DiffusionPipeline)):
        return None
    said = inspect.signature(made.__call__).parameters
    tasks = _tasks(made_by, said)
    if not tasks or "output_type" not in said:
        return None
    config = _config(folder, ("vae",))
    with torch.device("meta"):  # what its class computes of its configuration, without a weight
        vae = getattr(diffusers, config.get("_class_name", ""), diffusers.AutoencoderKL).from_config(config)
    stride, pixels = (_first(vae, keys) for keys in (TIMES, PIXELS))
    pixels = pixels or 2 ** (len(vae.config.get("block_out_channels") or (1,) * 4) - 1)
    count, fps = int(_default(said, *FRAMES) or COUNT), int(_default(said, "fps") or FPS)
    width, height = _default(said, "width") or SIZE[0], _default(said, "height") or SIZE[1]
    channels, stride = int(_first(vae, ("latent_channels", "z_dim")) or 4), stride or 1
    family = Family(
        "diffusers", ways={task: Way(made_by, takes, cached=False) for task, takes in tasks.items()},
        size_multiple=max(2 * pixels, 16), frame_stride=stride, frame_offset=count % stride, latent=(channels, stride, pixels),
        patch=(1, 2), layout=UNKNOWN, text_tokens=_tokens(folder, said), weights=(), fps="fps",
        guidance=None if "guider" in inspect.signature(made.__init__).parameters else "guidance_scale", loras=False,
        float32=("vae",) if isinstance(vae, diffusers.AutoencoderKLWan) else (), samplers={}, pieces=True,
    )  # fmt: skip
    steps, guidance = _default(said, "num_inference_steps") or STEPS, _default(said, "guidance_scale")
    return family, Weights(
        name, str(folder), "see-card", f"A {made_by}, for which there is no row here.", tuple(tasks), billions,
        width=_width(_config(folder, ("transformer", "unet"))) or 1280, size=(width, height), fps=fps, seconds=count / fps,
        max_frames=10 * count, steps=steps, guidance=GUIDANCE if guidance is None else guidance, draft_steps=max(1, steps // 2),
    )  # fmt: skip


def _tasks(made_by: str, said: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """Return what a pipeline can do, and by which rule it takes what is given: by what it can be called with, and its name."""
    picture = said.get("image")
    needs_picture = picture is not None and (picture.default is picture.empty or bool(FROM_PICTURE.search(made_by)))
    needed = {key for key, one in said.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    if "video" in said and "strength" in said:
        return {} if needed - {"self", "prompt", "video"} or "mask_video" in said else {VIDEO: "video"}
    if not set(FRAMES) & set(said) or needed - {"self", "prompt", "image"}:
        return {}
    return {
        **({TEXT: "nothing"} if "prompt" in said and not needs_picture else {}),
        **({IMAGE: "image"} if picture is not None else {}),
    }


def _tokens(folder: Path, said: Mapping[str, inspect.Parameter]) -> int:
    """Return how many tokens of a prompt are read: as the pipeline or its tokenizer has it."""
    tokenizer = _config(folder, ("tokenizer",), "tokenizer_config.json")
    told = _default(said, "max_sequence_length") or tokenizer.get("model_max_length")
    return told if isinstance(told, int) and 0 < told < 10**5 else TOKENS  # some write 10^30 for no end


def _default(said: Mapping[str, inspect.Parameter], *names: str) -> Any:
    """Return what a pipeline takes for the first of these that it knows, where nothing is said; None for nothing."""
    found = (said[name].default for name in names if name in said)
    return next((one for one in found if one is not inspect.Parameter.empty), None)


def _first(part: Any, keys: tuple[str, ...]) -> int | None:
    """Return the first of these numbers that a part has, or its configuration."""
    found = (getattr(part, key, None) if key in vars(part) else part.config.get(key) for key in keys)
    return next((int(one) for one in found if one), None)


def _width(config: Mapping[str, Any]) -> int | None:
    heads, each = config.get("num_attention_heads"), config.get("attention_head_dim")
    return heads * each if isinstance(heads, int) and isinstance(each, int) else None


def _config(folder: Path, parts: tuple[str, ...], name: str = "config.json") -> dict[str, Any]:
    """Return what the first of these parts that is there says of itself; raise `MissingWeights` where that can't be read."""
    place = next((place for part in parts if (place := folder / part / name).is_file()), None)
    try:
        found: dict[str, Any] = json.loads(place.read_text()) if place else {}
    except ValueError:
        raise MissingWeights(f"{place} can't be read: it is no JSON.") from None
    return found
