"""Pictures of a video that is not decoded yet: what the last two steps say it will be, its latents read as colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unstrung.media.clip import Frames
from unstrung.models.hub.families import Family

UNKNOWN = "unknown"  # how latents lie
SAMPLES, SIDE = 12, 8  # pictures that a VAE's colours are learned from, and how many latents a side they make


class Colours:
    """Reads latents as colours, by the linear map that fits a VAE best; learned from the VAE itself.

    Published maps are one for each VAE, and none for the next one: this is a moment's work, and suits any.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._map: NDArray[np.float32] | None = None  # (channels + 1, 3)

    def learn(self, pipe: Any) -> None:
        """Learn the map, if it is not known yet."""
        if self._map is None and self._family.layout != UNKNOWN:
            self._map = self._learned(pipe).numpy()
            pipe.maybe_free_model_hooks()

    def frames(self, latents: Tensor) -> Frames:
        """Return latents (c t h w), as the pipeline has them, as uint8 frames (t h w 3), a pixel each."""
        assert self._map is not None, "nothing was learned"
        states = latents.float().cpu().flatten(1).numpy()
        colours = states.T @ self._map[:-1] + self._map[-1]
        return (colours.clip(0, 1) * 255).round().astype(np.uint8).reshape(*latents.shape[1:], 3)

    @torch.no_grad()
    def _learned(self, pipe: Any) -> Tensor:
        vae, side = pipe.vae, SIDE * self._family.latent[2]
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand((SAMPLES, 3, 4, 4), generator=generator)
        pictures = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
        parameter = next(vae.parameters())
        device = getattr(pipe, "_execution_device", parameter.device)
        read = [vae.encode((2 * one[None, :, None] - 1).to(device, parameter.dtype)) for one in pictures]
        states = torch.cat([normalized(vae, found.latent_dist.mode().float().cpu()) for found in read])  # n c 1 h w
        seen = torch.nn.functional.adaptive_avg_pool2d(pictures, (states.shape[-2], states.shape[-1]))
        x = states[:, :, 0].movedim(1, -1).flatten(0, 2)
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        y = seen.movedim(1, -1).flatten(0, 2)
        ridge = 1e-2 * len(x) * torch.eye(x.shape[1])
        return torch.linalg.solve(x.T @ x + ridge, x.T @ y)


def normalized(vae: Any, latents: Tensor) -> Tensor:
    """Return a VAE's latents (b c t h w) as transformers are given them."""
    config = vae.config
    mean, std = (_per_channel(vae, name) for name in ("latents_mean", "latents_std"))
    scale = float(getattr(config, "scaling_factor", None) or 1.0)
    if mean is None or std is None:
        return (latents - float(getattr(config, "shift_factor", None) or 0.0)) * scale
    return (latents - mean) * scale / std


def _per_channel(vae: Any, name: str) -> Tensor | None:
    found = getattr(vae.config, name, None)
    if found is None:  # LTX has them beside its weights
        found = dict(vae.named_buffers(recurse=False)).get(name)
    return None if found is None else torch.as_tensor(found).float().cpu().view(1, -1, 1, 1, 1)


def unpacked(latents: Tensor, family: Family, frames: int, height: int, width: int) -> Tensor | None:
    """Return the first of a pipeline's latents as (c t h w), whatever their layout; None for what is no such video's."""
    channels, _, pixels = family.latent
    if family.layout == "packed":  # a token for each (b l d); what is given at frames of its own stands beside them
        t, h, w = (frames - family.frame_offset) // family.frame_stride + 1, height // pixels, width // pixels
        if latents.ndim != 3 or latents.shape[1] < t * h * w or latents.shape[2] != channels:
            return None
        tokens = latents[0, : t * h * w] if family.extras_last else latents[0, -t * h * w :]
        return tokens.reshape(t, h, w, channels).permute(3, 0, 1, 2)
    if latents.ndim != 5 or family.layout == UNKNOWN:
        return None
    states = latents[0].permute(*(family.layout.index(axis) - 1 for axis in "cthw"))
    return states[:channels]  # some carry what is given beside them


def levels(scheduler: Any) -> list[tuple[float, float]]:
    """Return how much signal and how much noise there is before each step and after the last one, as factors of the two."""
    cumulative = getattr(scheduler, "alphas_cumprod", None)
    flows = "flow" in type(scheduler).__name__.lower() or getattr(scheduler.config, "use_flow_sigmas", False)
    if cumulative is not None and not flows:
        kept = [*cumulative[scheduler.timesteps.long().to(cumulative.device)].tolist(), 1.0]
        return [(share**0.5, (1 - share) ** 0.5) for share in kept]
    return [(1 - sigma, sigma) for sigma in torch.as_tensor(scheduler.sigmas).tolist()]


def foreseen(before: Tensor, after: Tensor, levels: tuple[tuple[float, float], tuple[float, float]]) -> Tensor | None:
    """Return what two steps on one straight way lead to: the clean latents; None where they say nothing."""
    (signal, noise), (signal_after, noise_after) = levels
    share = signal * noise_after - signal_after * noise
    if abs(share) < 1e-6:
        return None
    return (before.float() * (noise_after / share)).sub_(after.float(), alpha=noise / share)


def enlarged(frames: Frames, side: int) -> Frames:
    """Return frames (t h w 3) whose longer side is about `side` pixels: each pixel several times."""
    times = max(1, round(side / max(frames.shape[1:3])))
    return np.repeat(np.repeat(frames, times, 2), times, 1)  # rows last: a seventeenth of the time, for they are copied whole
