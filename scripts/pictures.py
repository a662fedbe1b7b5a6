"""Make the pictures of the docs: `python scripts/pictures.py toyworld|nano|loss`.

`toyworld` needs the art (unstrung data toyworld), `loss` a run's log, `nano` only the built-in model. Nothing is chosen:
the scenes are the first numbers, the films the first seed.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PROMPTS = (
    "a red fox running through the snow at night",
    "teenage male playing basketball on his driveway in Florida. Sunny afternoon",
    "a close-up of a fluffy kitten with striking blue eyes sitting on a soft, cream-colored pillow",
    "a whale swimming under water",
    "a red car drives to the right on a city street",
    "a rocket flying through space",
    "a woman in a red dress dancing on a stage",
    "a sailboat on the sea at sunset",
    "a penguin walking on a sandy beach",
    "a slice of pizza spinning on a kitchen table",
)


def sheet(rows: list[tuple[str, np.ndarray]], columns: int, side: int = 160) -> Image.Image:
    """Lay strips of frames (t h w 3) in columns, each with its words below it."""
    frames, height, width = rows[0][1].shape[:3]
    cell_w, cell_h = frames * (side + 2) + 14, side * height // width + 34
    image = Image.new("RGB", (columns * cell_w + 12, -(-len(rows) // columns) * cell_h + 12), (24, 24, 26))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12)
    for i, (words, strip) in enumerate(rows):
        x, y = 12 + i % columns * cell_w, 12 + i // columns * cell_h
        for n, frame in enumerate(strip):
            picture = Image.fromarray(frame).resize((side, side * height // width), Image.Resampling.LANCZOS)
            image.paste(picture, (x + n * (side + 2), y))
        draw.text((x, y + side * height // width + 4), textwrap.shorten(words, frames * side // 6), (200, 200, 205), font)
    return image


def toyworld() -> None:
    """Draw the toy world's first scenes at three moments each."""
    from unstrung.corpus.toyworld.captions import caption
    from unstrung.corpus.toyworld.render import Renderer
    from unstrung.corpus.toyworld.scene import sample_scene

    renderer = Renderer()
    scenes = [sample_scene(n) for n in range(24)]
    rows = [(caption(s, n), renderer.render(s, 160, 96, 1, 3)) for n, s in enumerate(scenes)]
    sheet(rows, 2).save(IMAGES / "toyworld.png", optimize=True)


def nano() -> None:
    """Make the first film of each prompt with the built-in model, and show four of its frames."""
    from unstrung import Request, generate
    from unstrung.engine import open_model

    model = open_model("nano")
    rows = []
    for prompt in PROMPTS:
        clip, _ = generate(Request(prompt, seed=1), model=model)
        rows.append((prompt, clip.frames[[0, 39, 78, 117]]))
    sheet(rows, 2, side=200).save(IMAGES / "nano.png", optimize=True)


def loss() -> None:
    """Plot the losses of the run in runs/nano."""
    from unstrung.train.report import loss_plot

    loss_plot(Path("runs/nano/log.jsonl")).save(IMAGES / "loss.png", optimize=True)


if __name__ == "__main__":
    {"toyworld": toyworld, "nano": nano, "loss": loss}[sys.argv[1]]()
