"""Which latent frame of a training sample is how noisy: what makes one model do every kind of conditioning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unstrung.train.config import Levels

# how often a sample of several latent frames is of each kind
KINDS = {"full": 0.5, "prefix": 0.25, "suffix": 0.08, "interior": 0.07, "own": 0.1}


def noise_levels(b: int, t: int, levels: Levels, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw noise levels (b t) from 0 clean to 1 noise, and which frames are to be learned (b t, 0 or 1).

    One level for all frames; or the same with a clean prefix, suffix or random interior, given almost without noise;
    or a level of its own for every frame (diffusion forcing). Frames that are alike help one another out of the noise,
    so that what is decided in a window of t frames is decided at higher levels: the mean moves up by log(t) / 2.
    """
    sigma = torch.sigmoid(levels.mean + math.log(t) / 2 + levels.spread * torch.randn(b, t, generator=generator))
    learn = torch.ones(b, t)
    if t == 1:
        return sigma, learn
    kinds = torch.multinomial(torch.tensor(list(KINDS.values())), b, replacement=True, generator=generator)
    given = torch.zeros(b, t, dtype=torch.bool)
    for i, kind in enumerate(kinds.tolist()):
        name = list(KINDS)[kind]
        if name != "own":
            sigma[i] = sigma[i, 0].clone()
        count = int(torch.randint(1, t, (1,), generator=generator))
        if name == "prefix":
            given[i, :count] = True
        elif name == "suffix":
            given[i, t - count :] = True
        elif name == "interior":
            given[i, torch.randperm(t, generator=generator)[:count]] = True
    # a third of what is given carries a little noise, and says so: a rolled-on clip is not perfect either
    slight = 0.15 * torch.rand(b, t, generator=generator) * (torch.rand(b, 1, generator=generator) < 0.33)
    return torch.where(given, slight, sigma), torch.where(given, 0.0, learn)
