"""Guidance: arrays in, array out."""

from __future__ import annotations

from typing import Any

Array = Any  # a numpy array or a torch tensor


def cfg(cond: Array, uncond: Array, scale: float) -> Array:
    """Lead away from the unconditional prediction, after Ho and Salimans 2022 (arXiv:2207.12598); 1 changes nothing."""
    return uncond + scale * (cond - uncond)


def cfg_rescale(cond: Array, uncond: Array, scale: float, rescale: float = 0.7) -> Array:
    """Guide, then bring the spread back to the conditional one's by `rescale`, after Lin et al. 2023 (arXiv:2305.08891)."""
    guided = cfg(cond, uncond, scale)
    return guided * (rescale * cond.std() / guided.std() + (1 - rescale))


def cfg_interval(cond: Array, uncond: Array, scale: float, sigma: float, low: float = 0.0, high: float = 1.0) -> Array:
    """Guide only while `sigma` is in an interval, after Kynkaanniemi et al. 2024 (arXiv:2404.07724)."""
    return cfg(cond, uncond, scale) if low <= sigma <= high else cond
