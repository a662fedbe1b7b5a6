"""Steps that are guessed from those before them instead of computed: the film is there sooner, and differs a little.

diffusers has three of these, cache-dit (Apache-2.0) a fourth:

- first-block leaves a step out where the first block's part of it is nearly that of the last one (ParaAttention);
- taylorseer foresees two of three steps from how the last ones changed (arXiv 2503.06923);
- magcache leaves out steps that change little, as a first film, made in full, has shown (arXiv 2506.09045);
- cache-dit decides by its first eight blocks.

A family's row says which of them it runs under: where a transformer has no place for one, diffusers refuses, or computes all
the same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.models.hub import shelf
from unstrung.models.hub.families import CACHE_DIT, DENOISERS, FIRST_BLOCK, MAGCACHE, TAYLORSEER, Way
from unstrung.request import Request, tasks_of

NONE = "none"
INTERVAL, FULL_STEPS = 3, 3  # of TaylorSeer: one step of so many is computed, after so many that all are
FIRST = 8  # blocks by which cache-dit decides


WHOLE = ("resident", "model-offload")  # plans in which a transformer is in one place; cache-dit can't be taken off in others


def check(request: Request, plan: str, way: Way) -> None:
    """Raise `InvalidRequest` where a cache can't be had, before anything is loaded."""
    name, preset = request.options.get("cache", NONE), request.options["preset"]
    if name != NONE and preset == "final":
        words = f"option cache is '{name}'; the preset 'final' computes every step: leave one of the two out."
        raise InvalidRequest("options", words)
    if name == CACHE_DIT and importlib.util.find_spec("cache_dit") is None:
        raise InvalidRequest("options", f"option cache is '{name}', which is not installed here: pip install cache-dit")
    if name not in (NONE, CACHE_DIT) and not way.cached:
        words = f"option cache is '{name}', which can't tell the calls of {way.pipeline} from one another: leave it out."
        raise InvalidRequest("options", words)
    if name == CACHE_DIT and plan not in WHOLE:
        words = f"option cache is '{name}', which does not go with the plan '{plan}', all that there is memory for: take another."
        raise InvalidRequest("options", words)


@contextmanager
def cached(pipe: Any, request: Request, weights: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Have a pipeline guess some of its steps, and none afterwards; yield what a recipe says of it, which is nothing for none.

    `weights` is what a recipe says of them: MagCache's measure is kept by that and by what else the steps depend on.
    """
    name, threshold = request.options.get("cache", NONE), request.options.get("cache_threshold", 0.0)
    assert request.num_inference_steps and request.guidance_scale is not None
    about: dict[str, Any] = {} if name == NONE else {"name": name}
    parts = transformers(pipe)
    if name == CACHE_DIT:
        count = min(max(Counter(map(type, blocks(part))).values()) for part in parts)
        with _cache_dit(pipe, threshold, count, request.guidance_scale > 1):
            about["version"] = version("cache-dit")
            yield about
        return
    place = _place(request, weights)
    ratios = _ratios(place) if name == MAGCACHE else None
    if ratios:
        about["ratios"] = ratios
    measured: list[list[float]] = []
    try:
        for part in parts if name != NONE else ():
            part.enable_cache(_config(name, threshold, request.num_inference_steps, ratios))
        if name == MAGCACHE and not ratios:
            about["measured"] = True
            _listen(parts[0], measured)
        yield about
    finally:
        for part in (part for part in parts if getattr(part, "is_cache_enabled", False)):
            part.disable_cache()
            part.__dict__.pop("_reset_stateful_cache", None)
    if measured and len(measured[0]) > 1 and len({len(one) for one in measured}) == 1:
        mean = [sum(both) / len(both) for both in zip(*measured, strict=True)]  # with the prompt and without it
        with suppress(UnstrungError):  # a film is not lost for what can be measured again
            shelf.write_json(place, [round(ratio, 5) for ratio in mean])


def transformers(pipe: Any) -> list[Any]:
    """Return a pipeline's transformers: one, or two experts."""
    return [part for name, part in pipe.components.items() if name in DENOISERS and part is not None]


def blocks(transformer: Any) -> list[Any]:
    """Return the blocks that a transformer is a row of; itself where it does not name them."""
    repeated = getattr(transformer, "_repeated_blocks", None) or (transformer._no_split_modules or [])[:1]
    return [module for module in transformer.modules() if type(module).__name__ in repeated] or [transformer]


def _config(name: str, threshold: float, steps: int, ratios: list[float] | None) -> Any:
    from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

    own = {"threshold": threshold} if threshold else {}
    if name == FIRST_BLOCK:
        return FirstBlockCacheConfig(**own)
    if name == TAYLORSEER:  # the lite mode keeps what the transformer gives, the other what every attention does: gigabytes
        return TaylorSeerCacheConfig(cache_interval=INTERVAL, disable_cache_before_step=FULL_STEPS, use_lite_mode=True)
    if ratios:
        return MagCacheConfig(num_inference_steps=steps, mag_ratios=ratios, **own)
    return MagCacheConfig(num_inference_steps=steps + 1, calibrate=True)  # one more than come: at the last one it would print


def _listen(part: Any, measured: list[list[float]]) -> None:
    """Read what a calibrating transformer has measured, at the end, when the pipeline has it forget."""
    forget = part._reset_stateful_cache

    def told(*args: Any, **kwargs: Any) -> None:
        hooks = [registry.get_hook("mag_cache_block_hook") for registry in _registries(part)]
        for hook in hooks:
            if hook is not None and hook.is_tail:
                measured.extend(list(state.calibration_ratios) for state in hook.state_manager._state_cache.values())
        forget(*args, **kwargs)

    part._reset_stateful_cache = told


def _registries(part: Any) -> list[Any]:
    return [module._diffusers_hook for module in part.modules() if hasattr(module, "_diffusers_hook")]


def _place(request: Request, weights: Mapping[str, Any]) -> Path:
    """Return where the measure is kept of these weights and LoRAs with these steps, for this task."""
    on = (weights, request.num_inference_steps, request.sampler, request.guidance_scale, tasks_of(request))
    return shelf.home() / "magcache" / f"{hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()}.json"


def _ratios(place: Path) -> list[float] | None:
    """Return how much each step changes, as it was measured; None where it never was."""
    try:
        found: list[float] = json.loads(place.read_text())
    except FileNotFoundError:
        return None
    return found


@contextmanager
def _cache_dit(pipe: Any, threshold: float, count: int, guided: bool) -> Iterator[None]:
    import cache_dit

    for handler in logging.getLogger("CACHE_DIT").handlers:  # it writes to where a program's answer goes
        handler.setLevel(logging.ERROR)
    own: dict[str, Any] = {"residual_diff_threshold": threshold} if threshold else {}
    if not guided:
        own["enable_separate_cfg"] = False  # else it takes every second step for one without the prompt
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(Fn_compute_blocks=min(FIRST, count - 1), **own))
    try:
        yield
    finally:
        cache_dit.disable_cache(pipe)
