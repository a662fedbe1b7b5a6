"""Samplers: functions that walk from noise to a clean sample. All share one signature, so one can stand for another.

`velocity(x, sigma) -> v` already holds prompt, guidance and conditions. A step is x + (sigma_next - sigma) * v.
`on_step(i, x, sigma)` hears of every step that is done; `noise()` gives fresh noise to the samplers that want it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Array = Any  # a numpy array or a torch tensor
Velocity = Callable[[Array, float], Array]
OnStep = Callable[[int, Array, float], None]


class Sampler(Protocol):
    """The shape of every sampler."""

    def __call__(
        self, velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
    ) -> Array: ...


def sample_euler(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Walk by Euler's method: one call of the network a step."""
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        x = x + (sigma_next - sigma) * velocity(x, sigma)
        on_step(i, x, sigma_next)
    return x


def sample_heun(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Walk by Heun's method: look one Euler step ahead and take the mean slope; two calls a step, one for the last."""
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        v = velocity(x, sigma)
        ahead = x + (sigma_next - sigma) * v
        x = x + (sigma_next - sigma) * (v + velocity(ahead, sigma_next)) / 2 if sigma_next > 0 else ahead
        on_step(i, x, sigma_next)
    return x


def sample_midpoint(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Walk by the midpoint method: the slope half a step ahead; two calls a step."""
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        half = (sigma + sigma_next) / 2
        middle = x + (half - sigma) * velocity(x, sigma)
        x = x + (sigma_next - sigma) * velocity(middle, half)
        on_step(i, x, sigma_next)
    return x


def sample_ancestral(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Go to the clean guess and noise it again at every step: forgiving with few, never settles with many."""
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        x0 = x - sigma * velocity(x, sigma)
        x = (1 - sigma_next) * x0 + sigma_next * noise() if sigma_next > 0 else x0
        on_step(i, x, sigma_next)
    return x


SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "midpoint": sample_midpoint,
    "ancestral": sample_ancestral,
}
