"""Our own family: a video diffusion transformer, trained from scratch on data whose every work is listed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unstrung.card import Limits, ModelCard, Option
from unstrung.diffusion.samplers import SAMPLERS
from unstrung.diffusion.sigmas import SCHEDULES
from unstrung.errors import MissingWeights

if TYPE_CHECKING:
    from unstrung.models.native.pipeline import NativePipeline

# OpenVINO tells an analytics service of its use where this package is there; where it seems not to be, it tells nobody
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

FOLDER = Path(__file__).parent / "weights"

CARDS = (
    ModelCard(
        id="nano",
        family="native",
        summary="The built-in model: a toy world in clay, drawn on a CPU in seconds. 23 million parameters.",
        tasks=("text-to-video",),
        license="Apache-2.0",
        revision="4",
        size_multiple=2,
        fps=24,
        defaults={
            "width": 640, "height": 360, "seconds": 5.0, "num_inference_steps": 10, "guidance_scale": 3.0, "sampler": "renoise",
        },
        limits=Limits(min_side=64, max_side=1920, min_seconds=1.0, max_seconds=60.0, max_steps=200),
        memory={"ram": 1_500_000_000},
        options={"schedule": Option("shifted", "how the noise levels are spaced", choices=tuple(SCHEDULES))},
        samplers=tuple(SAMPLERS),
        languages=("en",),
        notes=(
            "It draws 160x96 at 8 frames a second; a second network makes 24 of 640x384 of them. More pixels show no more.",
            "It knows about a hundred animals, vehicles, people, foods and toys in fifteen places, by day, sunset and night.",
            "It cannot write, count, or show real people and places.",
        ),
    ),
)  # fmt: skip


def check(card: ModelCard) -> None:
    """Raise `MissingWeights` where the weights are not installed; nothing is loaded."""
    if not (FOLDER / f"{card.id}.safetensors").exists():
        words = f"The weights of {card.id} are not installed: reinstall unstrung, or train them with 'unstrung train nano'."
        raise MissingWeights(words)


def expand(prompt: str) -> str:
    """Return a prompt with what it leaves open, in words that our models know."""
    from unstrung.models.native import wording

    return wording.expand(prompt)


def load(card: ModelCard, device: str | None = None) -> NativePipeline:
    """Load a native model; `device` None is the CPU with OpenVINO, "cuda" a GPU with PyTorch."""
    from unstrung.models.native.pipeline import load_pipeline

    return load_pipeline(card, FOLDER, device)
