"""Train the film network on the toy world drawn large: `unstrung train detail`."""

from __future__ import annotations

import json
import multiprocessing as mp
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unstrung.models.native.detail import SCALE, DetailNet

CROP = 48  # of the small pictures
CROPS = 6  # of one scene
BATCH = 24
SMALL = (160, 96)
DRAWN_FPS, STEPS_BETWEEN = 8, 3

Bytes = npt.NDArray[np.uint8]


def draw_crops(renderer: Any, number: int) -> tuple[Bytes, Bytes, npt.NDArray[np.float32], Bytes]:
    """Draw scene `number` large at two neighbouring moments and one between, and cut crops mostly where an actor is.

    Returns large a and b (n 192 192 3), shares (n), and the truth between (n 192 192 3).
    """
    from unstrung.corpus.toyworld.motion import View, view
    from unstrung.corpus.toyworld.scene import sample_scene

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
    from unstrung.corpus.toyworld.art import open_atlas
    from unstrung.corpus.toyworld.render import Renderer, art_names

    renderer = Renderer(open_atlas(art_names(), size=256))
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


def train_detail(minutes: float, folder: Path, target: Path, say: Callable[[str], None], start_from: Path | None = None) -> Path:
    """Train for `minutes` with a falling learning rate, write the weights to `target` and return that."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = DetailNet()
    if start_from is not None:
        net.load_state_dict({k: v.float() for k, v in load_file(start_from).items()})
    adam = torch.optim.AdamW(net.parameters(), lr=1.5e-3, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(time.time_ns() % 2**31)
    context = mp.get_context("spawn")
    results = context.Queue(maxsize=16)
    worker = context.Process(target=_draw_for_ever, args=(generator.initial_seed(), results), daemon=True)
    worker.start()
    start, step, losses = time.monotonic(), 0, []
    try:
        with (folder / "log.jsonl").open("a") as log:
            while (done := (time.monotonic() - start) / 60 / minutes) < 1:
                for group in adam.param_groups:
                    group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 50) * (1 - done) + 1e-5
                losses.append(_step(net, adam, [results.get() for _ in range(BATCH // CROPS)], generator))
                step += 1
                if step % 50 == 0:
                    mean = float(np.mean(losses[-50:]))
                    log.write(json.dumps({"step": step, "minutes": round(done * minutes, 2), "loss": round(mean, 5)}) + "\n")
                    log.flush()
                    say(f"step {step}  {done * minutes:.1f} min  loss {mean:.4f}")
    finally:
        worker.terminate()
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, target, metadata={"steps": str(step)})
    target.chmod(0o644)
    return target


def _step(net: DetailNet, adam: torch.optim.Optimizer, drawn: list[Any], generator: torch.Generator) -> float:
    a, b, share, between = (torch.from_numpy(np.concatenate(part)) for part in zip(*drawn, strict=True))
    large = torch.cat((a, b)).permute(0, 3, 1, 2).float() / 127.5 - 1
    small = F.avg_pool2d(large, SCALE)
    n = len(share)
    small = spoiled(torch.cat((small[:n], small[n:]), dim=1), generator)
    truth = between.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        guess = net(small[:, :3], small[:, 3:], share).float()
    loss = loss_of(guess, truth)
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    adam.step()
    return float(loss.detach())
