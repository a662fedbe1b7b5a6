"""Count what each cache of `--set cache=` keeps between steps: the tests' tiny pipelines, with it and without.

At a step near the end, all tensors that anybody holds are added up, once for each storage. What a cache adds to a film without
one is divided by the picture's tokens (where the prompt's are among the same states, it is more) and the width of the
transformer. It is said for numbers of two bytes, whatever was computed in, and for two passes, one with the prompt and one
without. TaylorSeer keeps what the transformer gives, whose width is 64 or 128 however wide the states are: with real weights it
is next to nothing. The last line is one JSON document.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch

from unstrung.events import Event, Progress
from unstrung.models.hub import _KNOWN, card_of
from unstrung.models.hub.adapter import HubModel
from unstrung.models.hub.caches import transformers
from unstrung.models.hub.families import MAGCACHE
from unstrung.models.hub.memory import tokens
from unstrung.models.hub.pipes import Pipes
from unstrung.request import Request, resolve

tiny: Any = importlib.import_module("tiny")  # the tests' own
MODELS = ("cogvideox-2b", "mochi-1", "ltx-video", "wan2.1-1.3b", "wan2.1-vace-1.3b", "hunyuan-video-1.5", "ltx-2", "skyreels-v2")
STEPS, SIDE = 14, 128


def held() -> int:
    """Return the bytes of all tensors, each storage once."""
    gc.collect()
    found = {}
    for one in gc.get_objects():
        if type(one) in (torch.Tensor, torch.nn.Parameter) and not one.is_meta:
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def measure(model: str, folder: Path) -> dict[str, float]:
    """Return what each cache keeps, in bytes a token and unit of width."""
    family, weights = _KNOWN[model]
    card = card_of(family, weights)
    pipes = Pipes(card, family, weights, tiny.save(model, folder), "cpu")
    adapter = HubModel(card, family, weights, pipes, {"sha256": model})
    frames = family.frame_stride + family.frame_offset
    counts: dict[str, int] = {}

    def made(cache: str) -> None:
        asked = Request(
            "a red fox", model=model, width=SIDE, height=SIDE, num_frames=frames, num_inference_steps=STEPS, seed=1,
            guidance_scale=4.0, options={"cache": cache},
        )  # fmt: skip

        def hear(event: Event) -> None:
            if isinstance(event, Progress) and (event.stage, event.done) == ("sample", STEPS - 2):
                counts[cache] = held()

        adapter.generate(resolve(asked, card).run, hear, {})

    for cache in ("none", *family.caches):
        made(cache)
        if cache in ("none", MAGCACHE):  # what is loaded once is not the cache's; MagCache measures first
            made(cache)
    (transformer, *_) = transformers(next(iter(pipes._pipes.values())))
    config = transformer.config
    heads = config.get("num_attention_heads", 2)
    width = heads * config.get("attention_head_dim", 0)
    n = tokens(weights, family, SIDE, SIDE, frames) - family.text_tokens
    size = 2 / pipes.kind.itemsize
    found = {cache: round((counts[cache] - counts["none"]) / n / width * size, 1) for cache in family.caches}
    print(f"{model}: {found} bytes a token and unit of width", flush=True)
    return found


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"kept": {model: measure(model, Path(folder)) for model in MODELS}}))


if __name__ == "__main__":
    main()
