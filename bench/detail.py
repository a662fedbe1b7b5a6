"""How near the film network comes to scenes drawn large, beside plain mixing and enlarging: `python bench/detail.py`.

Scenes of the toy world are drawn at four times nano's size and at 24 frames a second; from every third frame, made small, both
have to give them all back: as they are drawn, and softened and roughened as a network's frames are. Errors are means over all
pixels, in levels of 255, of the colours and of the differences between neighbours, which are edges. The last line of stdout is
one JSON document. Needs the toy world's art (`unstrung data toyworld`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from unstrung.corpus.toyworld.art import open_atlas
from unstrung.corpus.toyworld.render import Renderer, art_names
from unstrung.corpus.toyworld.scene import sample_scene
from unstrung.models.native.detail import SCALE
from unstrung.models.native.film import OpenVINODetail, to_film
from unstrung.train.detail import ART_SIZE, DRAWN_FPS, SMALL, STEPS_BETWEEN, spoiled


def errors(guess: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return the mean error of frames (t h w 3), and that of their edges, in levels."""
    a, b = guess.astype(np.float32), truth.astype(np.float32)
    edges = [np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis)).mean() for axis in (1, 2)]
    return float(np.abs(a - b).mean()), float(np.mean(edges))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="?", default=Path("src/unstrung/models/native/weights/detail.safetensors"))
    parser.add_argument("--scenes", type=int, default=24)
    args = parser.parse_args()
    renderer, detail = Renderer(open_atlas(art_names(), size=ART_SIZE)), OpenVINODetail(args.weights)
    width, height = SMALL[0] * SCALE, SMALL[1] * SCALE
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(args.scenes):  # training begins at a random number of 31 bits
        truth = renderer.render(sample_scene(number), width, height, DRAWN_FPS * STEPS_BETWEEN, 2 * STEPS_BETWEEN + 1)
        small = F.avg_pool2d(torch.from_numpy(truth[::STEPS_BETWEEN]).permute(0, 3, 1, 2).float() / 127.5 - 1, SCALE)
        # one scene is softened and roughened alike in all its frames, with grain of its own in each
        rough = spoiled(small.flatten(0, 1)[None], torch.Generator().manual_seed(number))[0].reshape(small.shape)
        for kind, pictures in (("clean", small), ("rough", rough)):
            drawn = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            for name, network in (("plain", None), ("network", detail)):
                start = time.perf_counter()
                film = to_film(
                    drawn, DRAWN_FPS, DRAWN_FPS * STEPS_BETWEEN, len(truth), (width, height), lambda done: None, network
                )
                seconds[name].append((time.perf_counter() - start) / len(truth))
                found[f"{kind} {name}"].append(errors(film, truth))
    for name, rows in found.items():
        print(f"{name:14s}  colours {np.mean([row[0] for row in rows]):.2f}  edges {np.mean([row[1] for row in rows]):.2f}")
    told = {name: [round(float(np.mean(column)), 3) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    each = {name: round(1000 * float(np.median(times)), 1) for name, times in seconds.items()}
    print(json.dumps({"scenes": args.scenes, "errors": told, "ms_a_frame": each}))


if __name__ == "__main__":
    main()
