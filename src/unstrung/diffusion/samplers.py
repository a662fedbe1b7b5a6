"""Samplers: functions that walk from noise to a clean sample. All share one signature, so one can stand for another.

`velocity(x, sigma) -> v` already holds prompt, guidance and conditions. A step is x + (sigma_next - sigma) * v.
`on_step(i, x, sigma)` hears of every step that is done; `noise()` gives fresh noise to the samplers that want it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

Array = Any  # a numpy array or a torch tensor
Velocity = Callable[[Array, float], Array]
OnStep = Callable[[int, Array, float], None]


class Sampler(Protocol):
    """The shape of every sampler."""

    def __call__(
        self, velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
    ) -> Array:
        """Walk from noise to a clean sample and return it."""
        ...


def sample_euler(velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep) -> Array:
    """Walk by Euler's method: one call of the network a step."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = x + (sigma_next - sigma) * velocity(x, sigma)
        on_step(i, x, sigma_next)
    return x


def sample_heun(velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep) -> Array:
    """Walk by Heun's method: look one Euler step ahead and take the mean slope; two calls a step, one for the last."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        v = velocity(x, sigma)
        ahead = x + (sigma_next - sigma) * v
        x = x + (sigma_next - sigma) * (v + velocity(ahead, sigma_next)) / 2 if sigma_next > 0 else ahead
        on_step(i, x, sigma_next)
    return x


def sample_midpoint(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Walk by the midpoint method: the slope half a step ahead; two calls a step."""
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        half = (sigma + sigma_next) / 2
        middle = x + (half - sigma) * velocity(x, sigma)
        x = x + (sigma_next - sigma) * velocity(middle, half)
        on_step(i, x, sigma_next)
    return x


def sample_ancestral(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Step below the next level by Euler's method and come back up with fresh noise, so that the spread stays true.

    The ancestral step of Karras et al. 2022 (arXiv:2206.00364) in the flow convention; never settles, forgives more.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        down = sigma_next * sigma_next / sigma
        x = x + (down - sigma) * velocity(x, sigma)
        if sigma_next > 0:
            keep = (1 - sigma_next) / (1 - down)
            x = keep * x + (sigma_next**2 - (keep * down) ** 2) ** 0.5 * noise()
        on_step(i, x, sigma_next)
    return x


def sample_renoise(
    velocity: Velocity, x: Array, sigmas: Sequence[float], *, noise: Callable[[], Array], on_step: OnStep
) -> Array:
    """Guess the clean sample at every level, and noise the guess afresh to the next: no old noise is carried on.

    The multistep sampler of consistency models (Song et al. 2023, arXiv:2303.01469, algorithm 1). What the network misread
    in the noise is forgotten at every step. A network that guesses means makes the results alike (their spread is too
    small, and the smaller the more steps): the price of calm pictures from a network that is young.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        clean = x - sigma * velocity(x, sigma)
        x = (1 - sigma_next) * clean + sigma_next * noise() if sigma_next > 0 else clean
        on_step(i, x, sigma_next)
    return x


SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "midpoint": sample_midpoint,
    "ancestral": sample_ancestral,
    "renoise": sample_renoise,
}
