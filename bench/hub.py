"""What our adapter costs beside diffusers' own pipeline, called by hand: `python bench/hub.py`.

The pipelines are those of the tests: real classes, tiny random weights, made on the spot. The same film is drawn by the bare
pipeline and through `generate`, by turns; what is told on the way is told, previews are drawn. The models are as small as they
can be, so this is the most that the adapter costs beside a step: with real weights a step takes a thousand times as long.

The last line of stdout is one JSON document: for each model medians, and `overhead`, the median of the ratios of what was
measured one after the other, less one, with the bounds `between` which it lies in at least 19 of 20 cases. The target is 2 %.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
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
PAIRS = 31  # with 9 of them Mochi once came to 2.8 %, with 31 to 0.4
AT_LEAST = 20.0  # seconds of either way for each model, for what takes a third of one wobbles more


def measure(model: str, folder: Path, rounds: int, at_least: float, steps: int, side: int) -> dict[str, Any]:
    """Draw the same film both ways, by turns, and return the medians in seconds."""
    torch.set_num_threads(1)
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

    arguments = adapter.arguments(pipe, replace(run, seed=1))  # whoever calls it by hand has them

    def bare() -> None:
        pipe(**{**arguments, "generator": torch.Generator().manual_seed(1)})

    def ours() -> None:
        adapter.generate(run, lambda event: None, {})

    def timed(way: Callable[[], None]) -> float:
        since = time.perf_counter()
        way()
        return time.perf_counter() - since

    first = [timed(way) for _ in range(2) for way in (bare, ours)]  # to warm up
    rounds = max(rounds, int(at_least / first[-1]))
    gc.collect()
    gc.freeze()  # what the libraries made when they were loaded is not looked through in the middle of a film
    pairs = [(timed(bare), timed(ours)) if turn % 2 else (timed(ours), timed(bare))[::-1] for turn in range(rounds)]
    found = {name: round(median(times), 4) for name, times in zip(("bare", "ours"), zip(*pairs, strict=True), strict=True)}
    ratios = sorted(ours / bare - 1 for bare, ours in pairs)
    outside = max(0, int(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5) - 1)  # the sign test's: whatever the ratios' distribution
    between = [round(ratios[n], 4) for n in (outside, -1 - outside)]
    return {**found, "pairs": rounds, "overhead": round(median(ratios), 4), "between": between}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Small numbers: that it runs, not how fast.")
    quick = parser.parse_args().quick
    how = (1, 0.0, 2, 64) if quick else (PAIRS, AT_LEAST, 30, 256)
    out: dict[str, Any] = {"bench": "hub", "target": TARGET, "steps": how[2], "size": how[3], "models": {}}
    # measured, each is in a process of its own: what one leaves behind in the memory is not what another one costs
    alone = ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=None if quick else 1)
    with tempfile.TemporaryDirectory() as name, alone as pool:
        for model in MODELS:
            out["models"][model] = pool.submit(measure, model, Path(name), *how).result()
            print(model, out["models"][model], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    machine = f"{platform.machine()}, one thread, Python {platform.python_version()}, torch {torch.__version__}"
    print(json.dumps({**out, "machine": machine, "commit": commit.stdout.strip() or None}))


if __name__ == "__main__":
    main()
