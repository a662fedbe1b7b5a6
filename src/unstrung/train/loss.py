"""What the network is asked, and how wrong it was: the v-loss of finished pictures, and of sketches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unstrung.models.native.config import CHANNELS, FRAMES, PATCH, NativeConfig
from unstrung.models.native.model import NativeModel
from unstrung.train.config import TrainConfig
from unstrung.train.data import Batch
from unstrung.train.noise import noise_levels

SIGMA_FLOOR = 0.1  # of the v-loss: below this level a mistake weighs no more
SEEN_FROM, SEEN_UP_TO = 0.7, 0.97  # of the noise level: up to the one it is clear where actors are, from the other not at all
SKETCH_SCALE = 4  # a sketch has a quarter of the sides


class Sketch(nn.Module):
    """Read a quarter-size picture straight off the features at an eighth of the size. It helps to train, and is not shipped.

    In much noise, what is to be learned is what is where, and that is seen at a quarter of the size: most samples of a batch
    are only sketched, which spares them the convolutions at half the size.
    """

    def __init__(self, c: NativeConfig) -> None:
        super().__init__()
        self.out = nn.Conv2d(c.eighth, 4 * CHANNELS, 1)
        for parameter in self.out.parameters():  # nothing of it reaches weights that are good already before it can read
            nn.init.zeros_(parameter)

    def forward(self, below: Tensor, t: int) -> Tensor:
        """Turn features (bt e h/8 w/8) into small pictures (b c t h/4 w/4)."""
        out: Tensor = F.pixel_shuffle(self.out(below), 2).unflatten(0, (-1, t)).transpose(1, 2)
        return out


@dataclass(frozen=True)
class Noised:
    """With noise: x0 and x (b c t h w), near (b t h w, 0 or 1), sigma and learn (b t), text (b l 384), its mask (b l)."""

    x0: Tensor
    x: Tensor
    near: Tensor
    sigma: Tensor
    learn: Tensor
    text: Tensor
    text_mask: Tensor


def add_noise(batch: Batch, config: TrainConfig, generator: torch.Generator, device: torch.device, finished: int) -> Noised:
    """Noise a batch: the first `finished` samples at all levels, the rest, which are only sketched, at high ones."""
    video = torch.from_numpy(batch.video).to(device)
    b, frames, h, w, _ = video.shape
    t = frames // FRAMES
    x0 = video.view(b, t, FRAMES, h, w, 3).permute(0, 2, 5, 1, 3, 4).reshape(b, CHANNELS, t, h, w).float() / 127.5 - 1
    near = near_actors(torch.from_numpy(batch.mask).to(device).view(b, t, FRAMES, h, w))
    parts = [
        noise_levels(finished, t, config.finished_noise, generator),
        noise_levels(b - finished, t, config.sketched_noise, generator),
    ]
    sigma, learn = (torch.cat(part).to(device) for part in zip(*parts, strict=True))
    level = sigma[:, None, :, None, None]
    x = torch.lerp(x0, torch.randn(x0.shape, generator=generator).to(device), level)
    text, text_mask = (torch.from_numpy(a).float().to(device) for a in (batch.text, batch.text_mask))
    return Noised(x0, x, near, sigma, learn, text, text_mask)


def near_actors(mask: Tensor) -> Tensor:
    """Return where actors are, or less than 16 pixels away, in any frame of a latent frame: mask (b t 4 h w) to (b t h w)."""
    cells = F.max_pool2d(mask.amax(2).float() / 255, 8)
    return F.interpolate(F.max_pool2d(cells, 3, stride=1, padding=1), scale_factor=8.0)


def v_loss(guess: Tensor, x0: Tensor, near: Tensor, sigma: Tensor, learn: Tensor, subject_weight: float) -> Tensor:
    """Return ((guess - x0) / sigma)^2 as a mean over the frames to be learned.

    Pixels near an actor count up to `subject_weight` times: near it and not only its own, or it would pay to draw actors too
    large. In much noise nobody knows where the actor is, so the weight fades as the noise grows.
    """
    error = (guess.float() - x0).square().mean(1)  # b t h w
    seen = ((SEEN_UP_TO - sigma) / (SEEN_UP_TO - SEEN_FROM)).clamp(0, 1)[..., None, None]
    error = error * (1 + (subject_weight - 1) * seen * near)
    error = error.mean(dim=(2, 3)) / sigma.clamp(min=SIGMA_FLOOR).square()  # b t
    return (error * learn).sum() / learn.sum()


def training_loss(
    model: NativeModel, sketch: Sketch, batch: Batch, config: TrainConfig, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Return a batch's loss: of finished pictures for the first samples, of sketches for the rest, each by its share."""
    b, _, height, width, _ = batch.video.shape
    finished = max(1, round(b * config.finished_share))
    n = add_noise(batch, config, generator, device, finished)
    t = n.sigma.shape[1]
    first, rest = slice(None, finished), slice(finished, None)
    tokens, cond, skips = model.body(n.x, n.sigma, n.text, n.text_mask)
    y, below = model.draft(tokens, cond, skips[2], height // PATCH, width // PATCH)
    upto = slice(None, finished * t)  # features have frames and samples on one axis
    guess = model.finish(y[upto], below[upto], cond[first], (skips[0][upto], skips[1][upto], skips[2][upto]))
    guess = guess.unflatten(0, (finished, t)).transpose(1, 2)
    loss = v_loss(guess, n.x0[first], n.near[first], n.sigma[first], n.learn[first], config.subject_weight)
    if finished == b:
        return loss
    small = F.avg_pool3d(n.x0[rest], (1, SKETCH_SCALE, SKETCH_SCALE))
    small_near = F.avg_pool2d(n.near[rest], SKETCH_SCALE)
    drawn = sketch(below[finished * t :], t)
    sketched = v_loss(drawn, small, small_near, n.sigma[rest], n.learn[rest], config.subject_weight)
    return (finished * loss + (b - finished) * sketched) / b


def held_out_loss(model: nn.Module, batch: Batch, config: TrainConfig, device: torch.device) -> Tensor:
    """Return the loss of finished pictures, always with the same noise, and every pixel counts as much as any other."""
    n = add_noise(batch, config, torch.Generator().manual_seed(1), device, len(batch.video))
    return v_loss(model(n.x, n.sigma, n.text, n.text_mask), n.x0, n.near, n.sigma, n.learn, subject_weight=1)
