"""Noise schedules: each returns num_steps + 1 floats that fall from 1 to 0."""

from __future__ import annotations

from collections.abc import Callable


def uniform(num_steps: int) -> list[float]:
    """Return equal steps."""
    return [1 - i / num_steps for i in range(num_steps + 1)]


def shifted(num_steps: int, shift: float = 8.0) -> list[float]:
    """Return steps that linger at high noise, s*t / (1 + (s - 1)*t), after Esser et al. 2024 (arXiv:2403.03206)."""
    return [shift * t / (1 + (shift - 1) * t) for t in uniform(num_steps)]


def linear_quadratic(num_steps: int, threshold: float = 0.025) -> list[float]:
    """Return small equal steps for the first half, then quadratically growing ones, after Mochi 1 (Genmo 2024).

    The first half goes from 1 to 1 - `threshold`; with one step there is nothing to divide: [1, 0].
    """
    if num_steps == 1:
        return [1.0, 0.0]
    half = num_steps // 2
    linear = [threshold * i / half for i in range(half)]
    rest = num_steps - half
    slope = threshold / half
    curve = (1 - threshold - slope * rest) / rest**2
    quadratic = [curve * i * i + slope * i + threshold for i in range(rest)]
    return [1 - s for s in (*linear, *quadratic)] + [0.0]


SCHEDULES: dict[str, Callable[[int], list[float]]] = {
    "uniform": uniform,
    "shifted": shifted,
    "linear_quadratic": linear_quadratic,
}
