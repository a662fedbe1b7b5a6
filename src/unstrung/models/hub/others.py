"""Pipelines in folders: the row that is most like one, or a row made of what its class and its parts' files say of it.

What these do not say is not known: without a row there are no previews, no caches and no LoRAs, and plans count as much as for a
family that nobody has measured.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unstrung.errors import MissingWeights, UnknownModel
from unstrung.models.hub import INDEX, counted, parts_of
from unstrung.models.hub.families import (
    CONTROL,
    EXTEND,
    FAMILIES,
    FIRST_LAST,
    IMAGE,
    KEYFRAMES,
    NOTHING,
    TEXT,
    VIDEO,
    Family,
    Way,
    Weights,
)
from unstrung.models.hub.fetch import PICKLES, WEIGHTS
from unstrung.models.hub.given import CONTROLS, PICTURES, WINDOW

FRAMES = ("num_frames", "frames", "video_length")  # what pipelines call how many they draw
RATES = ("fps", "frame_rate")  # and how many a second
FROM_PICTURE = re.compile(r"Image(To|2)Video|(?<!T)I2V|VideoToWorld")  # in the names of those that draw nothing without one
FPS, SIZE, COUNT, STEPS, GUIDANCE = 16, (832, 480), 49, 50, 5.0  # where a pipeline says nothing of it
FASTEST = 60  # frames a second that may be asked for
TOKENS = 512  # of a prompt
PIXELS, TIMES = ("spatial_compression_ratio", "scale_factor_spatial"), ("temporal_compression_ratio", "scale_factor_temporal")
GIVEN = {"self", "prompt", "video", *PICTURES, *CONTROLS, *FRAMES, *RATES}  # what a request gives of what a pipeline needs
LARGER = re.compile("upsampler|upscaler")  # parts of pipelines that go on with what another one has drawn
# what pipelines are called with beside what is asked for, where what they do without it is less, or nothing
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "ChronoEditPipeline": {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 10**6},  # else five frames
    "EasyAnimatePipeline": {"negative_prompt": ""},
    "EasyAnimateInpaintPipeline": {"negative_prompt": ""},
}
SAME = ("MotifVideoImage2VideoPipeline", "Cosmos2_5_TransferPipeline")  # what fails with a VAE of other numbers than the rest
FAILS = "fails in diffusers itself, whatever is asked for"
NOT_GIVEN = "nothing that is asked for here gives these"
REFUSED = {  # what signatures do not say
    "ConsisIDPipeline": f"is called with id_cond, id_vit_hidden (a face): {NOT_GIVEN}",
    # https://github.com/huggingface/diffusers/issues/13638
    "EasyAnimateControlPipeline": f"{FAILS}: it calls its own encode_prompt with what that does not take",
    "I2VGenXLPipeline": f"{FAILS}: it looks for a part of its text encoder that transformers 5 has elsewhere",
    "LTX2HDRPipeline": "draws linear light, which films of eight bits do not hold",
    "SanaWMPipeline": f"is called with c2w, intrinsics (a camera's path): {NOT_GIVEN}",
}


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
    return _family_of(made_by, name, folder, billions)


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


def _family_of(made_by: str, name: str, folder: Path, billions: Mapping[str, float]) -> tuple[Family, Weights]:
    """Return a family and weights for a pipeline that no row is of; raise for a class that draws no videos for us."""
    try:
        import diffusers
        import torch

        from unstrung.models.hub.preview import UNKNOWN
    except ImportError:
        raise MissingWeights(f"{name} needs diffusers, which the default install leaves out: pip install '.[hub]'") from None

    made: Any = getattr(diffusers, made_by, None)
    if made_by not in REFUSED:
        _check_libraries(made, name, folder)
    if why := REFUSED.get(made_by) or _why_not(made, diffusers):
        known = ", ".join(sorted({way.pipeline for family in FAMILIES for way in family.ways.values()}))
        raise UnknownModel(f"'{name}' is a {made_by}, which {why}. These are best known: {known}.")
    said = inspect.signature(made.__call__).parameters
    denoiser = _config(folder, ("transformer", "unet"))
    config = _config(folder, ("vae",))
    tasks = _tasks(made_by, said, denoiser, config)
    with torch.device("meta"):  # what its class computes of its configuration, without a weight
        vae = getattr(diffusers, config.get("_class_name", ""), diffusers.AutoencoderKL).from_config(config)
    stride, pixels = (_first(vae, keys) for keys in (TIMES, PIXELS))
    pixels, stride = pixels or 2 ** (len(vae.config.get("block_out_channels") or (1,) * 4) - 1), stride or 1
    count, fps = int(_default(said, *FRAMES) or COUNT), int(_default(said, *RATES) or FPS)
    channels, tiles = int(_first(vae, ("latent_channels", "z_dim")) or 4), getattr(vae, "kernel", None)
    pieces = denoiser.get("chunk_partition")
    only = denoiser.get("video_length") or ((sum(pieces) - 1) * stride + 1 if pieces else None)
    every, first, longest = stride, count % stride, 10 * count
    if only:  # its transformer knows films of one length alone
        every, first, longest = only, 0, only * FASTEST // fps
    elif tiles:  # Allegro's decodes in tiles of one size alone, and what they do not cover stays black
        every, first = vae.stride[0], tiles[0]
    elif WINDOW in said:
        every = said[WINDOW].default * stride
    family = Family(
        "diffusers", ways={task: Way(made_by, takes, cached=False, most=only) for task, takes in tasks.items()},
        size_multiple=max(2 * pixels, 16), frame_stride=every, frame_offset=first, latent=(channels, stride, pixels),
        patch=(1, 2), layout=UNKNOWN, text_tokens=_tokens(folder, said), weights=(),
        fps=next((rate for rate in RATES if rate in said), RATES[0]),
        guidance=None if "guider" in inspect.signature(made.__init__).parameters else "guidance_scale", loras=False,
        float32=("vae",) if isinstance(vae, diffusers.AutoencoderKLWan) and made_by not in SAME else (), samplers={}, pieces=True,
        arguments=BESIDE.get(made_by, NOTHING),
    )  # fmt: skip
    steps, guidance = _default(said, "num_inference_steps") or STEPS, _default(said, "guidance_scale")
    if family.guidance is None:
        guidance = _config(folder, ("guider",), "guider_config.json").get("guidance_scale")
    return family, Weights(
        name, str(folder), "see-card", f"A {made_by}, for which there is no row here.", tuple(tasks), billions,
        width=_width(denoiser) or 1280, size=_size(said, denoiser, pixels), fps=fps, seconds=(only or count) / fps,
        max_frames=longest, steps=steps, guidance=GUIDANCE if guidance is None else guidance, draft_steps=max(1, steps // 2),
        fixed=tiles is not None,
    )  # fmt: skip


def _check_libraries(made: Any, name: str, folder: Path) -> None:
    """Raise `MissingWeights` where a pipeline, or one of its parts, is of a library that is not here."""
    import diffusers
    from diffusers.utils.import_utils import BACKENDS_MAPPING

    lacking = [library for library in getattr(made, "_backends", ()) if not BACKENDS_MAPPING[library][0]()]
    try:
        index = json.loads((folder / INDEX).read_text()).values()
        parts = [getattr(diffusers, part[1], None) for part in index if isinstance(part, list) and part[0] == "diffusers"]
    except (IndexError, TypeError):
        parts = []
    for part in (made, *parts):  # these are found out only when they compute
        if hasattr(inspect.getmodule(part), "is_torchvision_available") and not importlib.util.find_spec("torchvision"):
            lacking.append("torchvision")
    if lacking:
        words = " ".join(dict.fromkeys(lacking))
        raise MissingWeights(f"'{name}' needs {words}, which the default install leaves out: pip install {words}")


def _why_not(made: Any, diffusers: Any) -> str:
    """Return why a class draws no videos for us; "" for one that does."""
    if not (inspect.isclass(made) and issubclass(made, diffusers.DiffusionPipeline)):
        return f"diffusers {diffusers.__version__} does not have"
    said, parts = inspect.signature(made.__call__).parameters, inspect.signature(made).parameters
    if not any("video" in name or "frame" in name for name in said) and "Video" not in made.__name__:
        return "draws no videos"
    needed = [key for key, one in said.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    if lacking := [key for key in needed if key not in GIVEN]:
        return f"is called with {', '.join(lacking)}: {NOT_GIVEN}"
    if any(LARGER.search(part) for part in parts) or not {"prompt", *PICTURES} & set(said):
        return "goes on with what another pipeline has drawn: it makes no film of a prompt"
    films = [name for name in CONTROLS if name in said]
    if len(films) > 1:
        return f"is called with two films at once, {' and '.join(films)}: a request here has one"
    return "" if _tasks(made.__name__, said, NOTHING, NOTHING) and "output_type" in said else "draws no videos"


def _tasks(
    made_by: str, said: Mapping[str, inspect.Parameter], denoiser: Mapping[str, Any], vae: Mapping[str, Any]
) -> dict[str, str]:
    """Return what a pipeline can do, and by which rule it takes what is given: by what it can be called with, and its name."""
    if "mask_video" in said:  # EasyAnimate's looks into its VAE's configuration for what not all have there
        masks = "cache_mag_vae" in vae or denoiser.get("resize_inpaint_mask_directly") is False
        return {TEXT: "nothing", **dict.fromkeys((IMAGE, FIRST_LAST, KEYFRAMES, EXTEND) if masks else (), "mask")}
    if "controlnet_frame_indices" in said:
        return dict.fromkeys((IMAGE, FIRST_LAST, KEYFRAMES), "sparse")
    if "video" in said and ("strength" in said or said["video"].default is inspect.Parameter.empty):
        return {VIDEO: "video"}
    if set(CONTROLS) & set(said) - {"video"}:
        return {CONTROL: "control"}
    if not set(FRAMES) & set(said):
        return {}
    picture = next((said[name] for name in PICTURES if name in said), None)
    needs_picture = picture is not None and picture.name == "image" and (
        picture.default is picture.empty or bool(FROM_PICTURE.search(made_by))
    )  # fmt: skip
    found = {TEXT: "nothing"} if "prompt" in said and not needs_picture else {}
    if picture is not None:
        found[IMAGE] = "image_cut" if denoiser.get("image_condition_type") == "latent_concat" else "image"
    if "last_image" in said:
        found[FIRST_LAST] = "first_last"
    if "LTX2VideoCondition" in str(getattr(said.get("conditions"), "annotation", "")):
        found |= dict.fromkeys((IMAGE, FIRST_LAST, KEYFRAMES, EXTEND), "latent_conditions")
    return found


def _size(said: Mapping[str, inspect.Parameter], denoiser: Mapping[str, Any], pixels: int) -> tuple[int, int]:
    """Return the width and height that a pipeline draws where nothing is said: its own, or what its transformer was made for."""
    sample = denoiser.get("sample_size")
    found = []
    for side, otherwise in zip(("width", "height"), SIZE, strict=True):
        latents = denoiser.get(f"sample_{side}") or (sample if isinstance(sample, int) else None)
        found.append(_default(said, side) or (latents * pixels if latents else otherwise))
    return found[0], found[1]


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
