"""What a run looks like from outside: a sheet of samples and a plot of the loss, written while it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from unstrung.diffusion.guidance import cfg
from unstrung.diffusion.samplers import sample_renoise
from unstrung.diffusion.sigmas import shifted
from unstrung.models.device import autocast
from unstrung.models.native import codec
from unstrung.models.native.config import CHANNELS, WINDOW

if TYPE_CHECKING:
    from unstrung.models.native.text import MiniLM
    from unstrung.train.loop import Trainer

# unchosen, and never changed, so that the sheets of a run can be laid side by side
PROMPTS = (
    "a red fox running through the snow at night",
    "a close-up of a fluffy kitten with striking blue eyes sitting on a soft, cream-colored pillow",
    "teenage male playing basketball on his driveway in Florida. Sunny afternoon",
    "a red car drives to the right on a city street",
    "a whale swimming under water",
    "a rocket flying through space",
    "a woman in a red dress dancing on a stage",
    "a green dinosaur walking in the forest at sunset",
    "a yellow taxi on a city street at night",
    "a sailboat on the sea at sunset",
    "a penguin standing on a sandy beach",
    "a tiger walking in the snow",
    "a fire engine driving to the left in the desert at night",
    "a football bouncing on the grass",
    "a slice of pizza spinning on a kitchen table",
    "an airplane flying among the clouds",
)


@torch.no_grad()
def sample_sheet(trainer: Trainer, encoder: MiniLM, steps: int = 10, scale: float = 3.0) -> Image.Image:
    """Draw the fixed prompts with the mean model, each as its first and its last frame."""
    tiles = []
    for number, prompt in enumerate(PROMPTS):
        texts = encoder.encode_batch([prompt, ""])
        text, mask = torch.zeros(2, 64, 384), torch.zeros(2, 64)
        for i, states in enumerate(texts):
            text[i, : len(states)], mask[i, : len(states)] = torch.from_numpy(states), 1

        def velocity(x: torch.Tensor, sigma: float, text: torch.Tensor = text, mask: torch.Tensor = mask) -> torch.Tensor:
            levels = torch.full((2, x.shape[1]), sigma)
            given = (a.to(trainer.device) for a in (x.expand(2, *x.shape), levels, text, mask))
            with autocast(trainer.device.type):
                guess = trainer.ema.model(*given).float().cpu()
            return (x - cfg(guess[0], guess[1], scale)) / sigma

        generator = torch.Generator().manual_seed(number)

        def fresh(generator: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(CHANNELS, WINDOW, 96, 160, generator=generator)

        noise = fresh()
        latent = sample_renoise(velocity, noise, shifted(steps), noise=fresh, on_step=lambda *_: None)
        frames = codec.decode(latent.numpy())
        tiles.append(np.concatenate([frames[0], frames[-1]], axis=1))
    return Image.fromarray(_grid(tiles, 4))


def _grid(tiles: list[npt.NDArray[np.uint8]], columns: int) -> npt.NDArray[np.uint8]:
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)


def loss_plot(log: Path, size: tuple[int, int] = (900, 420)) -> Image.Image:
    """Plot a run's loss (thin: every step of half-second windows, thick: held out) over samples, both on log scales."""
    # a run that was killed may have left half a line
    rows = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    seen = [(r["samples"], r["loss"]) for r in rows if r["shape"][1] == 4]
    held = [(r["samples"], r["held_out"]) for r in rows if "held_out" in r]
    width, height = size
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    if len(seen) < 2:
        return image
    x0, x1 = np.log10(max(1000, seen[0][0])), np.log10(max(2000, seen[-1][0]))
    values = [v for _, v in seen + held]
    y0, y1 = np.log10(min(values) * 0.9), np.log10(min(1.2, max(values)))

    def place(point: tuple[int, float]) -> tuple[float, float]:
        x = (np.log10(max(point[0], 1000)) - x0) / max(1e-9, x1 - x0)
        y = (np.log10(point[1]) - y0) / max(1e-9, y1 - y0)
        return 60 + float(x) * (width - 80), height - 40 - float(np.clip(y, 0, 1)) * (height - 60)

    for value in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        if y0 <= np.log10(value) <= y1:
            y = place((1000, value))[1]
            draw.line((60, y, width - 20, y), fill=(225, 225, 225))
            draw.text((20, y - 6), f"{value:g}", fill=(90, 90, 90))
    for power in range(3, 10):
        if x0 <= power <= x1:
            x = place((10**power, 0.1))[0]
            draw.line((x, 20, x, height - 40), fill=(225, 225, 225))
            draw.text((x - 10, height - 32), f"1e{power}", fill=(90, 90, 90))
    draw.line([place(p) for p in seen], fill=(150, 190, 235))
    if len(held) > 1:
        draw.line([place(p) for p in held], fill=(200, 60, 40), width=3)
    draw.text((width - 260, 24), "blue: training   red: held out   x: samples", fill=(90, 90, 90))
    return image


def report_run(trainer: Trainer) -> None:
    """Write the sample sheet and the loss plot of a run into its folder."""
    from unstrung.models.native.text import MiniLM

    folder = trainer.plan.folder
    sample_sheet(trainer, MiniLM(threads=1)).save(folder / f"samples-{trainer.samples:09}.png")
    loss_plot(folder / "log.jsonl").save(folder / "loss.png")
