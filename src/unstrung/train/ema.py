"""A running mean of the weights: what is sampled and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Keep an exponential mean of a model, as a model; a young mean forgets faster, so the start does not linger."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step `step` (from 1)."""
        share = 1 - min(self.decay, (1 + step) / (20 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), share)
