"""What our adapter costs beside diffusers' own pipeline, called by hand: `python bench/hub.py`.

The pipelines are those of the tests: real classes, tiny random weights, made on the spot. The same film is drawn by the bare
pipeline and through `generate`, by turns; what is told on the way is told, previews are drawn. The models are as small as they
can be, so this is the most that the adapter costs beside a step: with real weights a step takes a thousand times as long.

The last line of stdout is one JSON document: medians, and `overhead`, the ratio less one, for each model. The target is 2 %.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch

from unstrung.card import ModelCard
from unstrung.models.hub import _KNOWN, card_of
from unstrung.models.hub.adapter import HubModel
from unstrung.models.hub.pipes import Pipes
from unstrung.request import Request, resolve

tiny: Any = importlib.import_module("tiny")  # the tests' own
MODELS = ("cogvideox-2b", "mochi-1", "ltx-video", "wan2.1-1.3b")
TARGET = 0.02


def measure(model: str, folder: Path, rounds: int, steps: int, side: int) -> dict[str, Any]:
    """Draw the same film both ways, by turns, and return the medians in seconds."""
    family, weights = _KNOWN[model]
    card: ModelCard = card_of(family, weights)
    pipes = Pipes(card, family, weights, tiny.save(model, folder), "cpu")
    adapter = HubModel(card, family, weights, pipes, {"sha256": ""})
    asked = Request(
        "a red fox",
        model=model,
        width=side,
        height=side,
        num_frames=2 * family.frame_stride + 1,
        num_inference_steps=steps,
        seed=1,
    )
    run = resolve(asked, card).run
    pipe = pipes.get(family.ways["text-to-video"].pipeline)
    pipe.set_progress_bar_config(disable=True)

    def bare() -> None:
        pipe(**adapter.arguments(pipe, replace(run, seed=1)))

    def ours() -> None:
        adapter.generate(run, lambda event: None, {})

    ways = {"bare": bare, "ours": ours}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in sorted(ways, reverse=bool(turn % 2)):
            since = time.perf_counter()
            ways[name]()
            if turn:  # the first is to warm up
                times[name].append(time.perf_counter() - since)
    found = {name: round(median(each), 4) for name, each in times.items()}
    return {**found, "overhead": round(found["ours"] / found["bare"] - 1, 4)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Small numbers: that it runs, not how fast.")
    quick = parser.parse_args().quick
    rounds, steps, side = (1, 2, 64) if quick else (9, 30, 256)
    torch.set_num_threads(1)
    out: dict[str, Any] = {"bench": "hub", "target": TARGET, "steps": steps, "size": side, "models": {}}
    with tempfile.TemporaryDirectory() as name:
        for model in MODELS:
            out["models"][model] = measure(model, Path(name), rounds, steps, side)
            print(model, out["models"][model], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    machine = f"{platform.machine()}, one thread, Python {platform.python_version()}, torch {torch.__version__}"
    print(json.dumps({**out, "machine": machine, "commit": commit.stdout.strip() or None}))


if __name__ == "__main__":
    main()
