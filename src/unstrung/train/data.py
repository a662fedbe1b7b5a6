"""Batches for the trainer: drawn and read in processes of their own, in an order that depends on nothing but the seed."""

from __future__ import annotations

import multiprocessing as mp
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unstrung.corpus.feed import patient_get, undisturbed
from unstrung.models.native.config import FRAMES
from unstrung.train.config import Bucket, Phase, TrainConfig

HELD_OUT_START = 1 << 40  # numbers from here on are for the held-out loss, and never trained on


@dataclass(frozen=True)
class Batch:
    """Samples of one shape: video uint8 (b t h w 3), mask uint8 (b t h w), text (b l 384) and which of it is there (b l)."""

    step: int
    video: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    text: npt.NDArray[np.float16]
    text_mask: npt.NDArray[np.float32]


def pick_bucket(config: TrainConfig, step: int, samples: int) -> Bucket:
    """Return the bucket of a step, from the phase that the run has reached."""
    phase: Phase = next(p for p in config.phases if samples < p.until)
    buckets, weights = zip(*phase.weights, strict=True)
    bucket: Bucket = random.Random(f"bucket {config.seed} {step}").choices(buckets, weights)[0]
    return bucket


class BatchMaker:
    """Makes any batch of a run by its step."""

    def __init__(self, config: TrainConfig) -> None:
        from unstrung.corpus.toyworld.render import Renderer
        from unstrung.models.native.text import MiniLM

        self.config = config
        self.renderer = Renderer()
        self.encoder = MiniLM(threads=1)

    def make(self, step: int, first: int, bucket: Bucket, drop_text: float, held_out: bool = False) -> Batch:
        """Draw samples `first`, `first + 1`, ... into a batch of the bucket's shape."""
        from unstrung.corpus.toyworld.stream import draw

        c = self.config
        samples = [
            draw(self.renderer, n, bucket.width, bucket.height, c.fps, FRAMES * bucket.frames, held_out)
            for n in range(first, first + bucket.batch)
        ]
        words = ["" if random.Random(f"drop {n}").random() < drop_text else s.caption for n, s in enumerate(samples, first)]
        text = np.zeros((len(samples), c.text_tokens, c.model.text_width), np.float16)
        text_mask = np.zeros((len(samples), c.text_tokens), np.float32)
        for i, states in enumerate(self.encoder.encode_batch(words)):
            n = min(len(states), c.text_tokens)
            text[i, :n], text_mask[i, :n] = states[:n], 1
        return Batch(step, np.stack([s.frames for s in samples]), np.stack([s.mask for s in samples]), text, text_mask)


def _work(config: TrainConfig, tasks: Any, results: Any) -> None:
    maker = BatchMaker(config)
    while (task := tasks.get()) is not None:
        results.put(maker.make(*task))


def batches(config: TrainConfig, step: int, samples: int) -> Iterator[Batch]:
    """Yield the batches of a run from `step` on, made ahead by `config.workers` processes."""
    context = mp.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    workers = [
        context.Process(target=undisturbed, args=(_work, (config, tasks), results), daemon=True) for _ in range(config.workers)
    ]
    for worker in workers:
        worker.start()
    made: dict[int, Batch] = {}
    ahead, asked = 2 * config.workers + 1, step
    try:
        while True:
            while asked < step + ahead:
                bucket = pick_bucket(config, asked, samples)
                tasks.put((asked, samples, bucket, config.drop_text))
                samples += bucket.batch
                asked += 1
            while step not in made:
                batch: Batch = patient_get(results, workers)
                made[batch.step] = batch
            yield made.pop(step)
            step += 1
    finally:
        for worker in workers:
            worker.terminate()
