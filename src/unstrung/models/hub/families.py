"""The open video models that diffusers can run, as data: a row for each family, and in it one for each set of weights.

Everything else is shared: `adapter.py` runs any of them, `memory.py` says what each needs. Facts are of each model's own page and
of the pipelines as installed; what was measured is in docs/log.md. A new family is a row here and a tiny pipeline in its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})
T5_XXL, UMT5_XXL, QWEN_7B = 4.76, 5.68, 8.29  # billions of weights of what reads the prompt
FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT = "first-block", "taylorseer", "magcache", "cache-dit"
_LIGHTX2V = "hf:lightx2v/"
# LoRAs that have learned to do without most of the steps, and without a second pass for the guidance, by model: what the preset
# draft is made with. Their own pages say four steps; where there are two experts, the first is for the first
DRAFTS: Mapping[str, tuple[str, ...]] = {
    "wan2.1-14b": (f"{_LIGHTX2V}Wan2.1-Distill-Loras/wan2.1_t2v_14b_lora_rank64_lightx2v_4step.safetensors",),
    "wan2.1-i2v-480p": (f"{_LIGHTX2V}Wan2.1-Distill-Loras/wan2.1_i2v_lora_rank64_lightx2v_4step.safetensors",),
    "wan2.2": (
        f"{_LIGHTX2V}Wan2.2-Lightning/Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1/high_noise_model.safetensors#1",
        f"{_LIGHTX2V}Wan2.2-Lightning/Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1.1/low_noise_model.safetensors#2",
    ),
    "wan2.2-i2v": (
        f"{_LIGHTX2V}Wan2.2-Lightning/Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1/high_noise_model.safetensors#1",
        f"{_LIGHTX2V}Wan2.2-Lightning/Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1/low_noise_model.safetensors#2",
    ),
}
SHIFT = "shift"
DRAFT_STEPS, DRAFT_SHIFT = 4, 5.0  # with one of these
DENOISERS = ("transformer", "transformer_2", "unet")  # parts of pipelines that take the noise away
FLOW = MappingProxyType({"euler": "FlowMatchEulerDiscreteScheduler"})


@dataclass(frozen=True)
class Way:
    """How a task is done: by which of diffusers' pipelines, and by which rule of `given.py` it takes what is given."""

    pipeline: str
    takes: str = "nothing"
    sized: bool = True  # False where the pipeline draws at a size of its own
    cached: bool = True  # False where the pipeline does not say which of its calls are with the prompt: no cache can tell
    there: bool = False  # True where the pipeline draws noise on the device itself, by a generator of that device alone
    sizes: int = 1  # at which it draws, one after the other: each gets its share of the steps
    most: int | None = None  # frames that it can draw, where the model can draw more in other ways
    shift: float | None = None  # of the levels of noise, where that is another than the weights'


class Single(NamedTuple):
    """Weights of a component in a file of their own."""

    path: str
    size: int | None  # in bytes where they stay packed, as in a GGUF file; None where they become as large as any


@dataclass(frozen=True)
class Weights:
    """One published set of weights: what it does, what it was made for, and how large it is."""

    id: str
    repo_id: str
    license: str
    summary: str
    tasks: tuple[str, ...]
    billions: Mapping[str, float]  # of weights, by the pipeline's component
    width: int  # of the transformer's states
    size: tuple[int, int]  # in pixels, width and height, that it is best at
    fps: int
    seconds: float
    max_frames: int
    steps: int
    guidance: float
    draft_steps: int
    variant: str | None = None  # of the files, where there are several
    # for the pipeline, beside what is asked for; a "prompt" holds places for the words and for options
    arguments: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    options: Mapping[str, tuple[Any, str]] = field(default_factory=lambda: NOTHING)  # what people may set too
    # of the levels of noise, as its makers draw: "shift" and that, or the pipeline's argument and all levels, at `steps`
    schedule: tuple[str, tuple[float, ...]] | None = None
    fixed: bool = False  # whether it draws at `size` alone
    singles: Mapping[str, Single] = field(default_factory=lambda: NOTHING)  # by component, what comes from a file of somebody's


@dataclass(frozen=True)
class Upsampler:
    """Weights that double the latents of a film that was sampled smaller, and how its last steps are then made once more."""

    repo_id: str
    pipeline: str
    billions: float
    doubling: Mapping[str, Any]  # arguments of its own pipeline
    again: Mapping[str, Any]  # of the model's pipeline, in the second one

    @property
    def steps(self) -> int:
        """Return how many steps the second pass makes: a share of those that it is told of."""
        told = len(self.again["timesteps"]) if "timesteps" in self.again else self.again["num_inference_steps"]
        return int(told * self.again["denoise_strength"])


@dataclass(frozen=True)
class Family:
    """What the models of a family share. Frames come in `frame_stride` x n + `frame_offset`; `latent` is channels, frames, pixels."""

    id: str
    ways: Mapping[str, Way]  # by task
    size_multiple: int
    frame_stride: int
    frame_offset: int
    latent: tuple[int, int, int]  # channels of a latent, and how many frames and pixels (a side) one stands for
    patch: tuple[int, int]  # how many latents, one after the other and a side, one token stands for
    layout: str  # of latents in the pipeline: "bcthw", "btchw", "bthwc", "packed", or "unknown": there are no previews then
    text_tokens: int
    weights: tuple[Weights, ...]
    fps: str | None = None  # the name of the pipeline's argument; None where the model knows one rate only
    extras_last: bool = False  # whether packed latents have what is given at frames of its own after the video's, not before
    guidance: str | None = "guidance_scale"  # None: by a guider
    loras: bool = True  # whether diffusers can put LoRAs into its pipelines
    float32: tuple[str, ...] = ()  # components that lose too much in bfloat16
    samplers: Mapping[str, str] = field(default_factory=lambda: FLOW)  # diffusers' schedulers, by our names
    singles: bool = False  # whether diffusers reads its transformers from single files, as they are published for other programs
    pieces: bool = False  # whether a film is decoded in pieces, the first of them before the last are sampled
    # of `caches.py`: none where a film is drawn piece by piece, for a cache would go on into the next
    caches: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


TEXT, IMAGE, FIRST_LAST, KEYFRAMES = "text-to-video", "image-to-video", "first-last-frame", "keyframes"
VIDEO, EXTEND, CONTROL = "video-to-video", "video-extension", "control"

_COGVIDEOX: Mapping[str, Any] = {
    "ways": {
        TEXT: Way("CogVideoXPipeline"),
        IMAGE: Way("CogVideoXImageToVideoPipeline", "image"),
        VIDEO: Way("CogVideoXVideoToVideoPipeline", "video"),
    },
    "size_multiple": 16, "frame_stride": 4, "frame_offset": 1, "latent": (16, 4, 8), "layout": "btchw", "text_tokens": 226,
    "caches": (FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT),
    "samplers": {"ddim": "CogVideoXDDIMScheduler", "dpm": "CogVideoXDPMScheduler"},
}  # fmt: skip
COGVIDEOX = Family(
    "cogvideox", **_COGVIDEOX, patch=(1, 2),
    weights=(
        Weights(
            "cogvideox-2b", "THUDM/CogVideoX-2b", "Apache-2.0", "Zhipu's small one, of 2024: free for any use.",
            (TEXT, VIDEO), {"transformer": 1.69, "text_encoder": T5_XXL, "vae": 0.22}, 1920,
            size=(720, 480), fps=8, seconds=6.0, max_frames=49, steps=50, guidance=6.0, draft_steps=20,
        ),
        Weights(
            "cogvideox-5b", "THUDM/CogVideoX-5b", "CogVideoX", "Zhipu's larger one, of 2024.",
            (TEXT, VIDEO), {"transformer": 5.57, "text_encoder": T5_XXL, "vae": 0.22}, 3072,
            size=(720, 480), fps=8, seconds=6.0, max_frames=49, steps=50, guidance=6.0, draft_steps=20,
        ),
        Weights(
            "cogvideox-5b-i2v", "THUDM/CogVideoX-5b-I2V", "CogVideoX", "The same, from a picture.",
            (IMAGE,), {"transformer": 5.57, "text_encoder": T5_XXL, "vae": 0.22}, 3072,
            size=(720, 480), fps=8, seconds=6.0, max_frames=49, steps=50, guidance=6.0, draft_steps=20, fixed=True,
        ),
    ),
)  # fmt: skip
COGVIDEOX_15 = Family(
    "cogvideox-1.5", **_COGVIDEOX, patch=(2, 2),
    weights=(
        Weights(
            "cogvideox1.5-5b", "THUDM/CogVideoX1.5-5B", "CogVideoX", "Larger pictures, twice as many a second.",
            (TEXT, VIDEO), {"transformer": 5.57, "text_encoder": T5_XXL, "vae": 0.22}, 3072,
            size=(1360, 768), fps=16, seconds=5.0, max_frames=161, steps=50, guidance=6.0, draft_steps=20,
        ),
        Weights(
            "cogvideox1.5-5b-i2v", "THUDM/CogVideoX1.5-5B-I2V", "CogVideoX", "The same, from a picture.",
            (IMAGE,), {"transformer": 5.57, "text_encoder": T5_XXL, "vae": 0.22}, 3072,
            size=(1360, 768), fps=16, seconds=5.0, max_frames=161, steps=50, guidance=6.0, draft_steps=20,
        ),
    ),
)  # fmt: skip

MOCHI = Family(
    "mochi",
    ways={TEXT: Way("MochiPipeline")},
    size_multiple=16, frame_stride=6, frame_offset=1, latent=(12, 6, 8), patch=(1, 2), layout="bcthw", text_tokens=256,
    caches=(FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT),
    weights=(
        Weights(
            "mochi-1", "genmo/mochi-1-preview", "Apache-2.0", "Genmo's, of 2024: lively motion, free for any use.",
            (TEXT,), {"transformer": 10.03, "text_encoder": T5_XXL, "vae": 0.46}, 3072,
            size=(848, 480), fps=30, seconds=5.0, max_frames=163, steps=64, guidance=4.5, draft_steps=28, variant="bf16",
        ),
    ),
)  # fmt: skip

_DISTILLED: Mapping[str, Any] = {"guidance": 1.0, "steps": 8, "draft_steps": 8}
_LTX_13B: Mapping[str, Any] = {
    "decode_timestep": 0.05, "decode_noise_scale": 0.025, "guidance_rescale": 0.7, "image_cond_noise_scale": 0.0,
}  # fmt: skip
_LTX_LEVELS = ("timesteps", (1000, 993, 987, 981, 975, 909, 725, 0.03))  # of its distilled ones, as published
_LTX: Mapping[str, Any] = {
    "size_multiple": 32, "frame_stride": 8, "frame_offset": 1, "latent": (128, 8, 32), "patch": (1, 1), "layout": "packed",
    "fps": "frame_rate", "singles": True, "caches": (FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT),
}  # fmt: skip
LTX = Family(
    "ltx",
    ways={
        TEXT: Way("LTXPipeline"),
        IMAGE: Way("LTXImageToVideoPipeline", "image"),
    },
    **_LTX, text_tokens=128,
    weights=(
        Weights(
            "ltx-video", "Lightricks/LTX-Video", "see-card", "Lightricks' first, small and quick.",
            (TEXT, IMAGE), {"transformer": 1.92, "text_encoder": T5_XXL, "vae": 0.42}, 2048,
            size=(704, 480), fps=24, seconds=5.0, max_frames=257, steps=50, guidance=3.0, draft_steps=20,
        ),
    ),
)  # fmt: skip
LTX_CONDITION = Family(
    "ltx-0.9.5",
    ways={
        TEXT: Way("LTXConditionPipeline"),
        IMAGE: Way("LTXConditionPipeline", "conditions"),
        FIRST_LAST: Way("LTXConditionPipeline", "conditions"),
        KEYFRAMES: Way("LTXConditionPipeline", "conditions"),
        EXTEND: Way("LTXConditionPipeline", "conditions"),
    },
    **_LTX, text_tokens=256,
    weights=(
        Weights(
            "ltx-video-0.9.5", "Lightricks/LTX-Video-0.9.5", "LTX-Video-OpenRAIL-M", "Pictures at any frame, and what went before.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND), {"transformer": 1.92, "text_encoder": T5_XXL, "vae": 1.25}, 2048,
            size=(704, 480), fps=24, seconds=5.0, max_frames=257, steps=40, guidance=3.0, draft_steps=20,
            arguments={"decode_timestep": 0.05, "decode_noise_scale": 0.025},
        ),
        Weights(
            "ltx-video-13b", "Lightricks/LTX-Video-0.9.7-dev", "LTXV-Open-Weights-0.X", "The large one.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND), {"transformer": 13.04, "text_encoder": T5_XXL, "vae": 1.25}, 4096,
            size=(1216, 704), fps=24, seconds=5.0, max_frames=257, steps=30, guidance=5.0, draft_steps=16,
            arguments=_LTX_13B,
        ),
        Weights(
            "ltx-video-13b-distilled", "Lightricks/LTX-Video-0.9.8-13B-distilled", "LTXV-Open-Weights-0.X", "The large one, in eight steps.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND), {"transformer": 13.04, "text_encoder": T5_XXL, "vae": 1.25}, 4096,
            size=(1216, 704), fps=24, seconds=5.0, max_frames=257, **_DISTILLED,
            arguments=_LTX_13B,
            schedule=_LTX_LEVELS,
        ),
    ),
)  # fmt: skip

# transformers that are published as files of their own alone, by their names: what is otherwise than in the row before the @
FILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {f"ltxv-2b-0.9.8-distilled{kind}.safetensors": {**_DISTILLED, "schedule": _LTX_LEVELS} for kind in ("", "-fp8")}
)

_LTX_UPSAMPLER: Mapping[str, Any] = {
    "repo_id": "Lightricks/ltxv-spatial-upscaler-0.9.7", "pipeline": "LTXLatentUpsamplePipeline", "billions": 0.126,
}  # fmt: skip
UPSAMPLERS: Mapping[str, Upsampler] = MappingProxyType(  # by the repository of the weights that they are for
    {
        "Lightricks/LTX-Video-0.9.7-dev": Upsampler(
            **_LTX_UPSAMPLER, doubling={}, again={"num_inference_steps": 10, "denoise_strength": 0.4}
        ),
        "Lightricks/LTX-Video-0.9.8-13B-distilled": Upsampler(
            **_LTX_UPSAMPLER,
            doubling={"adain_factor": 1.0, "tone_map_compression_ratio": 0.6},
            again={"timesteps": (1000, 909, 725, 421, 0), "denoise_strength": 0.999},
        ),
    }
)

_WAN_WAYS = {
    TEXT: Way("WanPipeline"),
    IMAGE: Way("WanImageToVideoPipeline", "image"),
    FIRST_LAST: Way("WanImageToVideoPipeline", "first_last"),
    VIDEO: Way("WanVideoToVideoPipeline", "video", cached=False),
}
_WAN: Mapping[str, Any] = {
    "text_tokens": 512, "frame_stride": 4, "frame_offset": 1, "layout": "bcthw", "float32": ("vae", "image_encoder"), "singles": True,
}  # fmt: skip
_WAN_SAMPLERS = {"unipc": "UniPCMultistepScheduler", "euler": "FlowMatchEulerDiscreteScheduler"}
_WAN_CLIP: Mapping[str, float] = {"text_encoder": UMT5_XXL, "vae": 0.13, "image_encoder": 0.63}
WAN = Family(
    "wan",
    ways=_WAN_WAYS, size_multiple=16, latent=(16, 4, 8), patch=(1, 2), samplers=_WAN_SAMPLERS, **_WAN,
    caches=(FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT),
    weights=(
        Weights(
            "wan2.1-1.3b", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Apache-2.0", "Alibaba's small one: good pictures on a small card.",
            (TEXT, VIDEO), {"transformer": 1.42, "text_encoder": UMT5_XXL, "vae": 0.13}, 1536,
            size=(832, 480), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=5.0, draft_steps=20,
        ),
        Weights(
            "wan2.1-14b", "Wan-AI/Wan2.1-T2V-14B-Diffusers", "Apache-2.0", "Alibaba's large one, of early 2025.",
            (TEXT, VIDEO), {"transformer": 14.29, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=5.0, draft_steps=20, schedule=(SHIFT, (5.0,)),
        ),
        Weights(
            "wan2.1-i2v-480p", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Apache-2.0", "From a picture, at 480p.",
            (IMAGE,), {"transformer": 16.4, **_WAN_CLIP}, 5120,
            size=(832, 480), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=5.0, draft_steps=20, schedule=(SHIFT, (3.0,)),
        ),
        Weights(
            "wan2.1-i2v-720p", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "Apache-2.0", "From a picture, at 720p.",
            (IMAGE,), {"transformer": 16.4, **_WAN_CLIP}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=5.0, draft_steps=20, schedule=(SHIFT, (5.0,)),
        ),
        Weights(
            "wan2.1-flf2v", "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", "Apache-2.0", "From a first and a last picture.",
            (FIRST_LAST,), {"transformer": 16.4, **_WAN_CLIP}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=5.5, draft_steps=20, schedule=(SHIFT, (16.0,)),
        ),
        Weights(
            "wan2.2", "Wan-AI/Wan2.2-T2V-A14B-Diffusers", "Apache-2.0", "Two experts of 14 billion, one after the other.",
            (TEXT,), {"transformer": 14.29, "transformer_2": 14.29, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=40, guidance=4.0, draft_steps=16, schedule=(SHIFT, (12.0,)),
            options={"guidance_scale_2": (3.0, "how closely the second expert follows the prompt")},
        ),
        Weights(
            "wan2.2-i2v", "Wan-AI/Wan2.2-I2V-A14B-Diffusers", "Apache-2.0", "The same, from a picture, or a first and a last one.",
            (IMAGE, FIRST_LAST), {"transformer": 14.29, "transformer_2": 14.29, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=40, guidance=3.5, draft_steps=16, schedule=(SHIFT, (5.0,)),
            options={"guidance_scale_2": (3.5, "how closely the second expert follows the prompt")},
        ),
    ),
)  # fmt: skip
WAN_5B = Family(
    "wan-5b",
    ways={TEXT: Way("WanPipeline"), IMAGE: Way("WanImageToVideoPipeline", "image")},
    size_multiple=32, latent=(48, 4, 16), patch=(1, 2), samplers=_WAN_SAMPLERS, **_WAN,
    caches=(FIRST_BLOCK, TAYLORSEER, MAGCACHE, CACHE_DIT),
    weights=(
        Weights(
            "wan2.2-5b", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Apache-2.0", "From words or a picture, 720p at 24 fps on one good card.",
            (TEXT, IMAGE), {"transformer": 5.0, "text_encoder": UMT5_XXL, "vae": 0.7}, 3072,
            size=(1280, 704), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=5.0, draft_steps=20,
        ),
    ),
)  # fmt: skip
WAN_VACE = Family(
    "wan-vace",
    ways={
        TEXT: Way("WanVACEPipeline"),
        IMAGE: Way("WanVACEPipeline", "mask"),
        FIRST_LAST: Way("WanVACEPipeline", "mask"),
        KEYFRAMES: Way("WanVACEPipeline", "mask"),
        EXTEND: Way("WanVACEPipeline", "mask"),
        CONTROL: Way("WanVACEPipeline", "control"),
    },
    size_multiple=16, latent=(16, 4, 8), patch=(1, 2), samplers=_WAN_SAMPLERS, **_WAN,
    caches=(TAYLORSEER,),  # the control is added between blocks: by the others twice, or nothing is left out
    weights=(
        Weights(
            "wan2.1-vace-1.3b", "Wan-AI/Wan2.1-VACE-1.3B-diffusers", "Apache-2.0", "Fills in what is not given: any frames, or a control video.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND, CONTROL), {"transformer": 2.15, "text_encoder": UMT5_XXL, "vae": 0.13}, 1536,
            size=(832, 480), fps=16, seconds=5.0, max_frames=81, steps=30, guidance=5.0, draft_steps=16, schedule=(SHIFT, (16.0,)),
        ),
        Weights(
            "wan2.1-vace-14b", "Wan-AI/Wan2.1-VACE-14B-diffusers", "Apache-2.0", "The same, large.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND, CONTROL), {"transformer": 17.3, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=16, seconds=5.0, max_frames=81, steps=30, guidance=5.0, draft_steps=16, schedule=(SHIFT, (16.0,)),
        ),
    ),
)  # fmt: skip

_HUNYUAN: Mapping[str, float] = {"transformer": 8.33, "text_encoder": QWEN_7B, "text_encoder_2": 0.22, "vae": 1.24}
_HUNYUAN_LICENSE = "Tencent-Hunyuan-Community"
HUNYUAN = Family(
    "hunyuan-video-1.5",
    ways={TEXT: Way("HunyuanVideo15Pipeline"), IMAGE: Way("HunyuanVideo15ImageToVideoPipeline", "image", sized=False)},
    size_multiple=16, frame_stride=4, frame_offset=1, latent=(32, 4, 16), patch=(1, 1), layout="bcthw", text_tokens=1000,
    guidance=None, loras=False, caches=(TAYLORSEER, CACHE_DIT),
    weights=(
        Weights(
            "hunyuan-video-1.5", "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v", _HUNYUAN_LICENSE,
            "Tencent's, of late 2025, at 480p. Not licensed in the EU, the UK and South Korea.",
            (TEXT,), _HUNYUAN, 2048,
            size=(848, 480), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=6.0, draft_steps=20,
        ),
        Weights(
            "hunyuan-video-1.5-720p", "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-720p_t2v", _HUNYUAN_LICENSE,
            "The same at 720p.",
            (TEXT,), _HUNYUAN, 2048,
            size=(1280, 720), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=6.0, draft_steps=20,
        ),
        Weights(
            "hunyuan-video-1.5-i2v", "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_i2v", _HUNYUAN_LICENSE,
            "The same from a picture, at 480p.",
            (IMAGE,), {**_HUNYUAN, "image_encoder": 0.43}, 2048,
            size=(848, 480), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=6.0, draft_steps=20,
        ),
    ),
)  # fmt: skip

_GEMMA_12B = 12.2
_LTX23: Mapping[str, float] = {
    "transformer": 19.0, "text_encoder": _GEMMA_12B, "connectors": 3.2, "vae": 0.73, "audio_vae": 0.1, "vocoder": 0.13,
}  # fmt: skip
_MOTION: Mapping[str, tuple[Any, str]] = {"motion_speed": (1.0, "how fast things move")}
_AUDIO: Mapping[str, tuple[Any, str]] = {
    "audio_guidance_scale": (7.0, "how closely the sound follows the prompt"), **_MOTION,
}  # fmt: skip
_LTX2_DISTILLED: Mapping[str, Any] = {
    **_DISTILLED, "options": _MOTION,
    "arguments": {
        "stg_scale": 0.0, "modality_scale": 1.0, "guidance_rescale": 0.0, "audio_guidance_scale": 1.0, "audio_stg_scale": 0.0,
        "audio_modality_scale": 1.0, "audio_guidance_rescale": 0.0,
    },
    "schedule": ("sigmas", (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)),
}  # fmt: skip
LTX2 = Family(
    "ltx-2",
    ways={
        TEXT: Way("LTX2Pipeline"),
        IMAGE: Way("LTX2ImageToVideoPipeline", "image"),
        FIRST_LAST: Way("LTX2ConditionPipeline", "latent_conditions"),
        KEYFRAMES: Way("LTX2ConditionPipeline", "latent_conditions"),
        EXTEND: Way("LTX2ConditionPipeline", "latent_conditions"),
    },
    size_multiple=32, frame_stride=8, frame_offset=1, latent=(128, 8, 32), patch=(1, 1), layout="packed", text_tokens=1024,
    fps="frame_rate", extras_last=True, caches=(TAYLORSEER,),
    weights=(
        Weights(
            "ltx-2", "Lightricks/LTX-2", "LTX-2-Community", "Pictures with sound, in one pass.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND),
            {"transformer": 18.9, "text_encoder": _GEMMA_12B, "connectors": 1.4, "vae": 1.2, "audio_vae": 0.1, "vocoder": 0.06}, 4096,
            size=(768, 512), fps=24, seconds=5.0, max_frames=481, steps=30, guidance=3.0, draft_steps=15, options=_AUDIO,
            arguments={"use_cross_timestep": False, "spatio_temporal_guidance_blocks": [29]},
        ),
        Weights(
            "ltx-2.3", "diffusers/LTX-2.3-Diffusers", "LTX-2-Community", "The same, of 2026: 22 billion.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND),
            _LTX23, 4096,
            size=(768, 512), fps=24, seconds=5.0, max_frames=481, steps=30, guidance=3.0, draft_steps=15, options=_AUDIO,
        ),
        Weights(
            "ltx-2.3-distilled", "diffusers/LTX-2.3-Distilled-Diffusers", "LTX-2-Community", "The same in eight steps.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND),
            _LTX23, 4096,
            size=(768, 512), fps=24, seconds=5.0, max_frames=481, **_LTX2_DISTILLED,
        ),
        Weights(
            "ltx-2.5", "Lightricks/LTX-2.5-Diffusers", "LTX-2-Community", "Lightricks' newest, with sound, in eight steps.",
            (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND),
            _LTX23, 4096,
            size=(768, 512), fps=24, seconds=5.0, max_frames=481, **_LTX2_DISTILLED,
        ),
    ),
)  # fmt: skip

SANA = Family(
    "sana-video",
    ways={TEXT: Way("SanaVideoPipeline"), IMAGE: Way("SanaImageToVideoPipeline", "image")},
    size_multiple=32, frame_stride=4, frame_offset=1, latent=(16, 4, 8), patch=(1, 2), layout="bcthw", text_tokens=300,
    float32=("vae",), arguments={"use_resolution_binning": False},  # sizes are honoured, not led to the nearest one of a list
    weights=(
        Weights(
            "sana-video", "Efficient-Large-Model/SANA-Video_2B_480p_diffusers", "see-card",
            "NVIDIA's, small and quick: attention that grows with the length and not its square.",
            (TEXT, IMAGE), {"transformer": 2.06, "text_encoder": 2.61, "vae": 0.13}, 2240,
            size=(832, 480), fps=16, seconds=5.0, max_frames=81, steps=50, guidance=6.0, draft_steps=20,
            arguments={"prompt": "{words} motion score: {motion_score}."}, options={"motion_score": (30, "how much moves")},
        ),
    ),
)  # fmt: skip

_KANDINSKY: Mapping[str, Any] = {
    # its first four latents are made like those that follow, so there must be some: 21 frames at least
    "frame_stride": 4, "frame_offset": 21, "latent": (16, 4, 8), "patch": (1, 2), "layout": "bthwc", "text_tokens": 512,
}  # fmt: skip
_KANDINSKY_PARTS: Mapping[str, float] = {"text_encoder": QWEN_7B, "text_encoder_2": 0.12, "vae": 0.25}
KANDINSKY = Family(
    "kandinsky-5",
    ways={TEXT: Way("Kandinsky5T2VPipeline"), IMAGE: Way("Kandinsky5I2VPipeline", "image")},
    size_multiple=16, **_KANDINSKY,
    weights=(
        Weights(
            "kandinsky-5-lite", "kandinskylab/Kandinsky-5.0-T2V-Lite-sft-5s-Diffusers", "MIT", "A small one of Sber's.",
            (TEXT,), {"transformer": 2.0, **_KANDINSKY_PARTS}, 1792,
            size=(768, 512), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=5.0, draft_steps=20,
        ),
        Weights(
            "kandinsky-5-lite-i2v", "kandinskylab/Kandinsky-5.0-I2V-Lite-5s-Diffusers", "MIT", "The same, from a picture.",
            (IMAGE,), {"transformer": 2.0, **_KANDINSKY_PARTS}, 1792,
            size=(768, 512), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=5.0, draft_steps=20,
        ),
    ),
)  # fmt: skip
KANDINSKY_PRO = Family(
    "kandinsky-5-pro",
    ways={IMAGE: Way("Kandinsky5I2VPipeline", "image")},
    size_multiple=128, **_KANDINSKY,  # its tokens look at squares of eight times eight others
    weights=(
        Weights(
            "kandinsky-5-pro-i2v", "kandinskylab/Kandinsky-5.0-I2V-Pro-sft-5s-Diffusers", "MIT", "The large one, from a picture.",
            (IMAGE,), {"transformer": 19.0, **_KANDINSKY_PARTS}, 4096,
            size=(768, 512), fps=24, seconds=5.0, max_frames=121, steps=50, guidance=5.0, draft_steps=20,
        ),
    ),
)  # fmt: skip

# it draws 33 frames at a time, and gives 4n + 1 of all
_HELIOS: Mapping[str, Any] = {
    "frame_stride": 32, "frame_offset": 1, "latent": (16, 4, 8), "patch": (1, 2), "layout": "bcthw", "text_tokens": 512,
    "float32": ("vae",), "samplers": {}, "pieces": True,
}  # fmt: skip
_HELIOS_PARTS: Mapping[str, float] = {"transformer": 14.3, "text_encoder": UMT5_XXL, "vae": 0.13}
HELIOS = Family(
    "helios",
    ways={
        TEXT: Way("HeliosPipeline"),
        IMAGE: Way("HeliosPipeline", "image", there=True),
        EXTEND: Way("HeliosPipeline", "follows", there=True),
    },
    size_multiple=16, **_HELIOS,
    weights=(
        Weights(
            "helios", "BestWishYsh/Helios-Base", "Apache-2.0", "A minute and more, piece by piece.",
            (TEXT, IMAGE, EXTEND), _HELIOS_PARTS, 5120,
            size=(640, 384), fps=24, seconds=5.0, max_frames=1440, steps=50, guidance=5.0, draft_steps=20,
        ),
    ),
)  # fmt: skip
HELIOS_PYRAMID = Family(
    "helios-pyramid",
    ways={
        TEXT: Way("HeliosPyramidPipeline", sizes=3),
        IMAGE: Way("HeliosPyramidPipeline", "image", there=True, sizes=3),
        EXTEND: Way("HeliosPyramidPipeline", "follows", there=True, sizes=3),
    },
    size_multiple=64, **_HELIOS,  # a quarter of the latents' side is to be whole tokens
    weights=(
        Weights(
            "helios-distilled", "BestWishYsh/Helios-Distilled", "Apache-2.0", "The same in six steps, two at each of three sizes.",
            (TEXT, IMAGE, EXTEND), _HELIOS_PARTS, 5120,
            size=(640, 384), fps=24, seconds=5.0, max_frames=1440, steps=6, guidance=1.0, draft_steps=6,
            arguments={"is_amplify_first_chunk": True},  # twice as many for the first piece, on which all others stand
        ),
        Weights(
            "helios-mid", "BestWishYsh/Helios-Mid", "Apache-2.0", "Between the two: undistilled, at three sizes.",
            (TEXT, IMAGE, EXTEND), _HELIOS_PARTS, 5120,
            size=(640, 384), fps=24, seconds=5.0, max_frames=1440, steps=60, guidance=5.0, draft_steps=30,
        ),
    ),
)  # fmt: skip

_SKYREELS: Mapping[str, Any] = {
    "size_multiple": 16, "latent": (16, 4, 8), "patch": (1, 2), "samplers": {"unipc": "UniPCMultistepScheduler"},
}  # fmt: skip
SKYREELS = Family(
    "skyreels-v2",
    ways={
        TEXT: Way("SkyReelsV2Pipeline"),
        IMAGE: Way("SkyReelsV2ImageToVideoPipeline", "image"),
    },
    **_SKYREELS, **_WAN, caches=(TAYLORSEER, CACHE_DIT),
    weights=(
        Weights(
            "skyreels-v2", "Skywork/SkyReels-V2-T2V-14B-720P-Diffusers", "see-card", "Made for films: shots and camera in its words.",
            (TEXT,), {"transformer": 14.29, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=24, seconds=4.0, max_frames=121, steps=50, guidance=6.0, draft_steps=20, schedule=(SHIFT, (8.0,)),
        ),
        Weights(
            "skyreels-v2-i2v", "Skywork/SkyReels-V2-I2V-14B-720P-Diffusers", "see-card", "The same, from a picture.",
            (IMAGE,), {"transformer": 16.4, **_WAN_CLIP}, 5120,
            size=(1280, 720), fps=24, seconds=4.0, max_frames=121, steps=50, guidance=5.0, draft_steps=20, schedule=(SHIFT, (5.0,)),
        ),
    ),
)  # fmt: skip
SKYREELS_FORCING = Family(
    "skyreels-v2-df",
    ways={
        TEXT: Way("SkyReelsV2DiffusionForcingPipeline"),
        IMAGE: Way("SkyReelsV2DiffusionForcingImageToVideoPipeline", "image", shift=5.0),
        # of one piece alone, of 97 frames or more: where there are several, diffusers counts the last picture wrong
        FIRST_LAST: Way("SkyReelsV2DiffusionForcingImageToVideoPipeline", "first_last", most=97, shift=5.0),
        EXTEND: Way("SkyReelsV2DiffusionForcingVideoToVideoPipeline", "overlaps"),
    },
    **_SKYREELS, **_WAN, arguments={"overlap_history": 17, "addnoise_condition": 20},
    weights=(
        Weights(
            "skyreels-v2-df", "Skywork/SkyReels-V2-DF-14B-720P-Diffusers", "see-card", "Longer films: each piece goes on from the one before.",
            (TEXT, IMAGE, FIRST_LAST, EXTEND), {"transformer": 14.29, "text_encoder": UMT5_XXL, "vae": 0.13}, 5120,
            size=(1280, 720), fps=24, seconds=4.0, max_frames=737, steps=30, guidance=6.0, draft_steps=15, schedule=(SHIFT, (8.0,)),
            arguments={"base_num_frames": 121},
        ),
    ),
)  # fmt: skip

FAMILIES = (
    COGVIDEOX, COGVIDEOX_15, MOCHI, LTX, LTX_CONDITION, WAN, WAN_5B, WAN_VACE, HUNYUAN, LTX2, SANA, KANDINSKY, KANDINSKY_PRO,
    HELIOS, HELIOS_PYRAMID, SKYREELS, SKYREELS_FORCING,
)  # fmt: skip
# whose transformers diffusers can divide among several GPUs, as was seen: it says so of LTX-2 too, and divides no rope of its kind
DIVIDED = frozenset({"ltx", "ltx-0.9.5", "wan", "wan-5b", "helios"})
# parts of a family's pipelines that we never ask for anything, and that are neither fetched nor loaded: of LTX-2.5 a model of
# language that writes prompts anew, another decoder, and what doubles latents
SPARE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"ltx-2": ("prompt_enhancer", "processor", "diffusion_decoder", "latent_upsampler", "temporal_latent_upsampler")}
)
