"""One flow convention for the whole house.

sigma runs from 1 (noise) to 0 (clean); x = (1 - sigma) * x0 + sigma * noise; v = noise - x0. After rectified flow
(Liu et al. 2022, arXiv:2209.03003) and flow matching (Lipman et al. 2022, arXiv:2210.02747).
"""

from __future__ import annotations

from typing import Any

Array = Any  # a numpy array or a torch tensor


def add_noise(x0: Array, noise: Array, sigma: Array) -> Array:
    """Return x at noise level `sigma`, which must broadcast with x0."""
    return (1 - sigma) * x0 + sigma * noise


def velocity(x: Array, x0: Array, sigma: Array) -> Array:
    """Return the velocity at x that leads to the clean x0; `sigma` must be above 0."""
    return (x - x0) / sigma


def from_velocity(x: Array, v: Array, sigma: Array) -> Array:
    """Return the clean x0 to which the velocity at x leads."""
    return x - sigma * v
