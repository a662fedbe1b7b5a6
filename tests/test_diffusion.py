"""The maths: on numpy and torch alike, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unstrung.diffusion.flow import add_noise, from_velocity, velocity
from unstrung.diffusion.guidance import cfg, cfg_interval, cfg_rescale
from unstrung.diffusion.samplers import SAMPLERS
from unstrung.diffusion.sigmas import SCHEDULES, linear_quadratic, shifted

RNG = np.random.default_rng(0)


def test_flow_goes_there_and_back() -> None:
    x0, noise = RNG.standard_normal((2, 3, 4))
    x = add_noise(x0, noise, 0.3)
    v = velocity(x, x0, 0.3)
    np.testing.assert_allclose(v, noise - x0)
    np.testing.assert_allclose(from_velocity(x, v, 0.3), x0)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_schedules_fall_from_one_to_zero(name: str, steps: int) -> None:
    sigmas = SCHEDULES[name](steps)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == 1 and sigmas[-1] == 0
    assert all(a > b for a, b in zip(sigmas, sigmas[1:], strict=False))


def test_schedules_bend_where_they_should() -> None:
    assert shifted(10, 4.0)[5] == pytest.approx(0.8)
    assert shifted(10, 1.0)[5] == pytest.approx(0.5)
    assert linear_quadratic(10)[5] == pytest.approx(1 - 0.025)


def gaussian_velocity(mean: float, spread: float):  # type: ignore[no-untyped-def]
    """The exact velocity field that carries noise to a normal distribution: what a perfect model would say."""

    def v(x, sigma):  # type: ignore[no-untyped-def]
        variance = (1 - sigma) ** 2 * spread**2 + sigma**2
        x0 = mean + (1 - sigma) * spread**2 / variance * (x - (1 - sigma) * mean)
        noise = sigma / variance * (x - (1 - sigma) * mean)
        return noise - x0

    return v


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_samplers_carry_noise_to_the_data(name: str, kind: str) -> None:
    start = np.random.default_rng(1).standard_normal(20_000)
    fresh = np.random.default_rng(2)
    make = (lambda a: a) if kind == "numpy" else torch.from_numpy
    heard: list[float] = []
    sigmas = SCHEDULES["uniform"](60)
    x = SAMPLERS[name](
        gaussian_velocity(2.0, 0.5),
        make(start),
        sigmas,
        noise=lambda: make(fresh.standard_normal(20_000)),
        on_step=lambda i, x, sigma: heard.append(sigma),
    )
    assert isinstance(x, np.ndarray if kind == "numpy" else torch.Tensor)
    assert float(x.mean()) == pytest.approx(2.0, abs=0.02)
    if name == "renoise":
        assert 0 < float(x.std()) < 0.4, "means of means: alike"
    else:
        assert float(x.std()) == pytest.approx(0.5, abs=0.04)
    assert heard == sigmas[1:]


def test_second_order_is_nearer_than_first() -> None:
    start = np.random.default_rng(1).standard_normal(1000)
    truth = 2.0 + 0.5 * start

    def miss(name: str) -> float:
        args = {"noise": lambda: start, "on_step": lambda i, x, sigma: None}
        x = SAMPLERS[name](gaussian_velocity(2.0, 0.5), start, SCHEDULES["uniform"](8), **args)  # type: ignore[arg-type]
        return float(np.abs(x - truth).mean())

    assert miss("heun") < miss("euler") / 2
    assert miss("midpoint") < miss("euler") / 2


def test_guidance() -> None:
    cond, uncond = RNG.standard_normal((2, 1000))
    np.testing.assert_allclose(cfg(cond, uncond, 1.0), cond)
    np.testing.assert_allclose(cfg(cond, uncond, 0.0), uncond)
    assert cfg_rescale(cond, uncond, 5.0, 1.0).std() == pytest.approx(cond.std())
    np.testing.assert_allclose(cfg_rescale(cond, uncond, 5.0, 0.0), cfg(cond, uncond, 5.0))
    np.testing.assert_allclose(cfg_interval(cond, uncond, 5.0, 0.9, 0.1, 0.8), cond)
    np.testing.assert_allclose(cfg_interval(cond, uncond, 5.0, 0.5, 0.1, 0.8), cfg(cond, uncond, 5.0))
