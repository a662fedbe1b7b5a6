"""Any other of diffusers' video pipelines: a row made of what its class and its parts' configurations say.

What they do not say is not known: there are no previews, no caches and no LoRAs, and plans count as much as for any family.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unstrung.errors import MissingWeights
from unstrung.models.hub.families import IMAGE, TEXT, VIDEO, Family, Way, Weights

FRAMES = ("num_frames", "frames", "video_length")  # what pipelines call how many they draw
FROM_PICTURE = re.compile(r"Image(To|2)Video|(?<!T)I2V|VideoToWorld")  # in the names of those that draw nothing without one
FPS, SIZE, COUNT, STEPS, GUIDANCE = 16, (832, 480), 49, 50, 5.0  # where a pipeline says nothing of it
TOKENS = 512  # of a prompt
PIXELS, TIMES = ("spatial_compression_ratio", "scale_factor_spatial"), ("temporal_compression_ratio", "scale_factor_temporal")


def family_of(made_by: str, name: str, folder: Path) -> tuple[Family, Weights] | None:
    """Return a family and weights for the pipeline in a folder, by its class; None for a class that draws no videos for us."""
    try:
        import diffusers
    except ImportError:
        raise MissingWeights(f"{name} needs diffusers, which the default install leaves out: pip install '.[hub]'") from None
    from unstrung.models.hub.pipes import counted

    made = getattr(diffusers, made_by, None)
    if not (inspect.isclass(made) and issubclass(made, diffusers.DiffusionPipeline)):
        return None
    said = inspect.signature(made.__call__).parameters
    tasks = _tasks(made_by, said)
    if not tasks or "output_type" not in said:
        return None
    vae, transformer = (_config(folder, parts) for parts in (("vae",), ("transformer", "unet")))
    stride = int(next((vae[key] for key in TIMES if vae.get(key)), 1))
    pixels = int(next((vae[key] for key in PIXELS if vae.get(key)), 2 ** (len(vae.get("block_out_channels", "four")) - 1)))
    count, fps = int(_default(said, *FRAMES) or COUNT), int(_default(said, "fps") or FPS)
    width, height = _default(said, "width") or SIZE[0], _default(said, "height") or SIZE[1]
    channels = int(vae.get("latent_channels") or vae.get("z_dim") or 4)
    family = Family(
        "diffusers", ways={task: Way(made_by, takes, cached=False) for task, takes in tasks.items()},
        size_multiple=max(2 * pixels, 16), frame_stride=stride, frame_offset=count % stride, latent=(channels, stride, pixels),
        patch=(1, 2), layout="unknown", text_tokens=_tokens(folder, said), weights=(), fps="fps",
        guidance=None if "guider" in inspect.signature(made.__init__).parameters else "guidance_scale", loras=False,
        float32=("vae",) if vae.get("_class_name") == "AutoencoderKLWan" else (), samplers={}, pieces=True,
    )  # fmt: skip
    steps, guidance = _default(said, "num_inference_steps") or STEPS, _default(said, "guidance_scale")
    heads, each = transformer.get("num_attention_heads"), transformer.get("attention_head_dim")
    return family, Weights(
        name, str(folder), "see-card", f"A {made_by}, for which there is no row here.", tuple(tasks), counted(folder),
        width=heads * each if isinstance(heads, int) and isinstance(each, int) else 1280, size=(width, height), fps=fps,
        seconds=count / fps, max_frames=10 * count, steps=steps, guidance=GUIDANCE if guidance is None else guidance,
        draft_steps=max(1, steps // 2),
    )  # fmt: skip


def _tasks(made_by: str, said: Mapping[str, inspect.Parameter]) -> dict[str, str]:
    """Return what a pipeline can do, and by which rule it takes what is given: by what it can be called with, and its name."""
    picture = said.get("image")
    needs_picture = picture is not None and (picture.default is picture.empty or bool(FROM_PICTURE.search(made_by)))
    if "video" in said and "strength" in said:
        return {VIDEO: "video"}
    needed = {key for key, one in said.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    if not set(FRAMES) & set(said) or needed - {"self", "prompt", "image"}:
        return {}
    return {
        **({TEXT: "nothing"} if "prompt" in said and not needs_picture else {}),
        **({IMAGE: "image"} if picture is not None else {}),
    }


def _tokens(folder: Path, said: Mapping[str, inspect.Parameter]) -> int:
    """Return how many tokens of a prompt are read: as the pipeline or its tokenizer has it."""
    told = _default(said, "max_sequence_length") or _config(folder, ("tokenizer",), "tokenizer_config.json").get(
        "model_max_length"
    )
    return told if isinstance(told, int) and 0 < told < 10**5 else TOKENS  # some write 10^30 for no end


def _default(said: Mapping[str, inspect.Parameter], *names: str) -> Any:
    """Return what a pipeline takes for the first of these that it knows, where nothing is said; None for nothing."""
    found = (said[name].default for name in names if name in said)
    return next((one for one in found if one is not inspect.Parameter.empty), None)


def _config(folder: Path, parts: tuple[str, ...], name: str = "config.json") -> dict[str, Any]:
    """Return what the first of these parts that is there says of itself."""
    found: dict[str, Any] = next(
        (json.loads(place.read_text()) for part in parts if (place := folder / part / name).is_file()), {}
    )
    return found
