"""Train the film network on the toy world drawn large: `unstrung train detail`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unstrung.corpus.feed import asked_to_stop, drawn
from unstrung.corpus.toyworld.art import open_atlas
from unstrung.corpus.toyworld.motion import View, view
from unstrung.corpus.toyworld.render import Renderer, art_names
from unstrung.corpus.toyworld.scene import sample_scene
from unstrung.models.device import autocast
from unstrung.models.native.detail import SCALE, WIDTHS, DetailNet
from unstrung.train.checkpoint import export_weights, import_weights

CROP = 48  # of the small pictures
CROPS = 6  # of one scene
BATCH = 24
LEARNING_RATE = 1.5e-3
ART_SIZE = 256  # of the actors' pictures: twice what nano is trained on
SMALL = (160, 96)
DRAWN_FPS, STEPS_BETWEEN = 8, 3

Bytes = npt.NDArray[np.uint8]


def draw_crops(renderer: Any, number: int) -> tuple[Bytes, Bytes, npt.NDArray[np.float32], Bytes]:
    """Draw scene `number` large at two neighbouring moments and one between, and cut crops mostly where an actor is.

    Returns large a and b (n 192 192 3), shares (n), and the truth between (n 192 192 3).
    """
    rng = random.Random(f"detail {number}")
    scene = sample_scene(number)
    start = rng.uniform(0, 8)
    w, h = SMALL[0] * SCALE, SMALL[1] * SCALE
    frames, masks = renderer.render_with_mask(scene, w, h, DRAWN_FPS * STEPS_BETWEEN, STEPS_BETWEEN + 1, start)
    moving = view(scene, start) != View()
    rows, columns = np.nonzero(masks.max(0)[::8, ::8] > 128)
    a, b, between, shares = [], [], [], []
    size = CROP * SCALE
    for _ in range(CROPS):
        if len(rows) and rng.random() < (0.5 if moving else 0.8):
            k = rng.randrange(len(rows))
            cy, cx = 8 * rows[k] + rng.randint(-40, 40), 8 * columns[k] + rng.randint(-40, 40)
        else:
            cy, cx = rng.randrange(h), rng.randrange(w)
        # at whole small pixels, so that the small crop is the large one's mean
        top, left = (int(np.clip(c - size // 2, 0, m - size)) // SCALE * SCALE for c, m in ((cy, h), (cx, w)))
        cut = (slice(top, top + size), slice(left, left + size))
        step = rng.randrange(STEPS_BETWEEN)
        a.append(frames[0][cut])
        b.append(frames[-1][cut])
        between.append(frames[step][cut])
        shares.append(step / STEPS_BETWEEN)
    return np.stack(a), np.stack(b), np.asarray(shares, np.float32), np.stack(between)


def _draw_for_ever(first: int, results: Any) -> None:
    """Put crops into a queue, scene by scene."""
    renderer = Renderer(open_atlas(art_names(), size=ART_SIZE))
    number = first
    while True:
        results.put(draw_crops(renderer, number))
        number += 1


def spoiled(small: Tensor, generator: torch.Generator) -> Tensor:
    """Soften and roughen pictures (n c h w) as a generator's are: the film network is to mend that too."""
    n = small.shape[0]
    soft = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = 0.8 * torch.rand(n, 1, 1, 1, generator=generator) * (torch.rand(n, 1, 1, 1, generator=generator) < 0.6)
    grain = 0.1 * torch.rand(n, 1, 1, 1, generator=generator) ** 2
    fine = torch.randn(small.shape, generator=generator)
    coarse = torch.randn(n, small.shape[1], small.shape[2] // 2, small.shape[3] // 2, generator=generator)
    coarse = F.interpolate(coarse, scale_factor=2)
    return small * (1 - share) + soft * share + grain * (fine + coarse)


def loss_of(guess: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute error of pictures and of their edges: the second keeps them sharp."""
    loss = (guess - truth).abs().mean()
    for axis in (2, 3):
        loss = loss + 0.5 * (guess.diff(dim=axis) - truth.diff(dim=axis)).abs().mean()
    return loss


class DetailTrainer:
    """A film network that learns, on a GPU where there is one."""

    def __init__(self, seed: int, start_from: Path | None) -> None:
        torch.manual_seed(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net, self.step = DetailNet(), 0
        if start_from is not None:
            self.step = import_weights(start_from, self.net)["step"]
        self.net.to(self.device)
        self.adam = torch.optim.AdamW(self.net.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
        self.generator = torch.Generator().manual_seed(seed)
        self.began = self.step  # of the optimizer, whose warm-up begins anew with given weights

    def take(self, crops: list[Any], share_done: float) -> float:
        """Learn from crops and return their loss; `share_done` of the time is over."""
        warmth = min(1.0, (self.step - self.began + 1) / 50)
        for group in self.adam.param_groups:
            group["lr"] = LEARNING_RATE * warmth * (1 - share_done) + 1e-5
        a, b, share, between = (torch.from_numpy(np.concatenate(part)) for part in zip(*crops, strict=True))
        large = torch.cat((a, b)).permute(0, 3, 1, 2).float() / 127.5 - 1
        small = F.avg_pool2d(large, SCALE)
        n = len(share)
        small = spoiled(torch.cat((small[:n], small[n:]), dim=1), self.generator).to(self.device)
        truth = between.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast(self.device.type):
            guess = self.net(small[:, :3], small[:, 3:], share.to(self.device)).float()
        loss = loss_of(guess, truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.adam.step()
        self.adam.zero_grad()
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> Path:
        """Write the weights as they are shipped, whole or not at all."""
        export_weights(path, dict(self.net.named_parameters()), {"widths": WIDTHS, "scale": SCALE}, {"step": self.step})
        return path


def train_detail(minutes: float, folder: Path, say: Callable[[str], None], start_from: Path | None = None) -> Path:
    """Train for `minutes` with a falling learning rate, or until Ctrl-C or SIGTERM; return `folder`/detail.safetensors.

    The file is written every ten minutes too: `start_from` goes on from one.
    """
    path = folder / "detail.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    open_atlas(art_names(), size=ART_SIZE)  # so that missing art is told here, in words, and not by a process that dies
    seed = time.time_ns() % 2**31
    trainer = DetailTrainer(seed, start_from)
    start = saved = time.monotonic()
    losses: list[float] = []
    with (
        (folder / "log.jsonl").open("a") as log,
        closing(drawn(_draw_for_ever, seed, ahead=16)) as crops,
        asked_to_stop() as stop,
    ):
        while (done := (time.monotonic() - start) / 60 / minutes) < 1 and not stop():
            losses.append(trainer.take([next(crops) for _ in range(BATCH // CROPS)], done))
            if len(losses) % 10 == 0:
                row = {"step": trainer.step, "minutes": round(done * minutes, 2), "loss": round(float(np.mean(losses[-50:])), 5)}
                log.write(json.dumps(row) + "\n")
                log.flush()
                say(f"step {row['step']}  {row['minutes']:.1f} min  loss {row['loss']:.4f}")
            if time.monotonic() - saved > 600:
                trainer.save(path)
                saved = time.monotonic()
        return trainer.save(path)
