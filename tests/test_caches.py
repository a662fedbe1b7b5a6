"""Steps that are guessed: fewer are computed, the recipe says so, and what comes after is as if none had been."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("cache_dit")

import tiny  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import Canceled, InvalidRequest  # noqa: E402
from unstrung.events import Event, Note, Progress  # noqa: E402
from unstrung.media.clip import Clip  # noqa: E402
from unstrung.media.codec import read_recipe  # noqa: E402
from unstrung.models.hub import CARDS  # noqa: E402
from unstrung.models.hub.caches import blocks, transformers  # noqa: E402
from unstrung.models.hub.families import FAMILIES  # noqa: E402
from unstrung.models.hub.memory import Plan  # noqa: E402
from unstrung.request import Condition, Request  # noqa: E402

KNOWN = {card.id: card for card in CARDS}
MODELS = [model for model in tiny.NETWORKS if "cache" in KNOWN[model].options and "text-to-video" in KNOWN[model].tasks]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny.cache(tmp_path_factory.mktemp("hub"), MODELS) as home:
        yield home


def steps_of(model: str) -> int:
    return 24 if model.startswith("wan") else 12  # cache-dit computes the first eight, and two experts share theirs


def asked(model: str, **options: Any) -> Request:
    card = KNOWN[model]
    frames = card.frame_stride + card.frame_offset
    return Request(
        "a red fox",
        model=model,
        width=64,
        height=64,
        num_frames=frames,
        num_inference_steps=steps_of(model),
        seed=7,
        options=options,
    )


def counted(opened: Any) -> Counter[str]:
    """Count how often the last block of a loaded model computes."""
    calls: Counter[str] = Counter()
    for transformer in transformers(next(iter(opened._pipes._pipes.values()))):
        last = [module for module in blocks(transformer)[-1].modules() if isinstance(module, torch.nn.Linear)][-1]
        last.register_forward_hook(lambda *_: calls.update(["block"]))
    return calls


@pytest.mark.parametrize("model", MODELS)
def test_each_cache_of_a_family_leaves_steps_out(model: str, home: Path) -> None:
    opened: Any = engine.open_model(model)
    plain, recipe = engine.generate(asked(model), model=opened)
    assert "cache" not in recipe.model
    calls = counted(opened)
    engine.generate(asked(model), model=opened)
    full = calls.total()
    assert full >= steps_of(model)
    for cache in KNOWN[model].options["cache"].choices[1:]:
        given = {"cache": cache} if cache == "taylorseer" else {"cache": cache, "cache_threshold": 0.9}  # random weights are wild
        if cache == "magcache":
            notes: list[Event] = []
            measured, recipe = engine.generate(asked(model, **given), notes.append, model=opened)
            assert "made in full" in next(event.text for event in notes if isinstance(event, Note))
            assert np.array_equal(measured.frames, plain.frames) and recipe.model["cache"] == {"name": cache, "measured": True}
        calls.clear()
        _, recipe = engine.generate(asked(model, **given), model=opened)
        assert calls.total() < full, f"{cache} computes {calls.total()} of {full}"
        assert recipe.model["cache"]["name"] == recipe.resolved["options"]["cache"] == cache
        if cache == "magcache":
            assert len(recipe.model["cache"]["ratios"]) == steps_of(model)
    calls.clear()
    again, _ = engine.generate(asked(model), model=opened)
    assert calls.total() == full and np.array_equal(again.frames, plain.frames)
    opened.close()


@pytest.mark.parametrize("cache", KNOWN["wan2.1-1.3b"].options["cache"].choices[1:])
def test_the_same_seed_gives_the_same_frames_wherever_the_weights_lie(cache: str, home: Path) -> None:
    request = asked("wan2.1-1.3b", cache=cache)
    opened: Any = engine.open_model("wan2.1-1.3b")
    engine.generate(request, model=opened)  # where it has to measure, it does
    resident, _ = engine.generate(request, model=opened)
    again, _ = engine.generate(request, model=opened)
    assert resident.sha256() == again.sha256()

    def cut(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "sample" and event.done == 5:
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(request, cut, model=opened)
    assert engine.generate(request, model=opened)[0].sha256() == resident.sha256(), "what was cut off left nothing behind"
    opened.close()
    opened._pipes.plan = Plan("group-offload", False, {}, 0, 0, 1.0, 0.0)
    if cache == "cache-dit":
        with pytest.raises(InvalidRequest, match="does not go with the plan 'group-offload'"):
            opened._run(engine.resolve(request, opened.card).run, lambda _: None, {})
        return
    offloaded = opened._run(engine.resolve(request, opened.card).run, lambda _: None, {})
    assert np.abs(offloaded.frames.astype(int) - resident.frames).max() <= 1
    opened.close()


def test_a_compiled_transformer_draws_the_same(home: Path) -> None:
    request = replace(asked("cogvideox-2b"), num_inference_steps=2)
    opened: Any = engine.open_model("cogvideox-2b")
    plain, _ = engine.generate(request, model=opened)
    compiled, recipe = engine.generate(replace(request, options={"compile": True}), model=opened)
    assert recipe.resolved["options"]["compile"] is True
    assert all(block._compiled_call_impl for block in blocks(opened._pipes.get("CogVideoXPipeline").transformer))
    assert np.abs(compiled.frames.astype(int) - plain.frames).max() <= 2 * tiny.NEAR
    assert engine.generate(request, model=opened)[0].sha256() == plain.sha256()


def test_what_can_not_be_had_is_refused_before_anything_is_loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Any = engine.open_model("wan2.1-1.3b")
    with pytest.raises(InvalidRequest, match="the preset 'final' computes every step"):
        engine.generate(asked("wan2.1-1.3b", cache="first-block", preset="final"), model=opened)
    engine.resolve(asked("wan2.1-1.3b", preset="final"), opened.card)
    monkeypatch.setitem(sys.modules, "cache_dit", None)
    with pytest.raises(InvalidRequest, match="pip install cache-dit"):
        engine.generate(asked("wan2.1-1.3b", cache="cache-dit"), model=opened)
    assert not opened._pipes._pipes
    with pytest.raises(InvalidRequest, match="allows: none, taylorseer\\."):
        engine.resolve(asked("wan2.1-vace-1.3b", cache="first-block"), KNOWN["wan2.1-vace-1.3b"])
    again = replace(asked("wan2.1-1.3b", cache="first-block"), conditions=(Condition("fox.mp4", kind="video", strength=0.3),))
    clip = Clip(np.zeros((9, 64, 64, 3), np.uint8), 16)
    with pytest.raises(InvalidRequest, match="can't tell the calls of WanVideoToVideoPipeline from one another"):
        opened.generate(engine.resolve(again, opened.card).run, lambda _: None, {"fox.mp4": clip})
    assert not opened._pipes._pipes
    assert "magcache" not in KNOWN["wan2.2"].options["cache"].choices and "cache" not in KNOWN["sana-video"].options


def command(folder: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ("a red fox", "--model", "wan2.1-1.3b", "--size", "64x64", "--seconds", "0.5", "--steps", "8", "--json")
    line = [sys.executable, "-m", "unstrung", *words, *more, "-o", "fox.mp4"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def test_caches_are_offered_where_the_pipelines_know_of_them() -> None:
    """Each call of a transformer is one with the prompt or without it; where the pipeline does not say, a cache mixes them up."""
    for family in FAMILIES:
        for way in family.ways.values() if family.caches else ():
            assert ("cache_context" in inspect.getsource(getattr(diffusers, way.pipeline))) == way.cached, way


def test_from_the_command(home: Path, tmp_path: Path) -> None:
    done = command(tmp_path, "--set", "cache=cache-dit", "--set", "cache_threshold=0.5")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout), "nobody else writes where the answer goes"
    recipe = read_recipe(tmp_path / "fox.mp4")
    assert recipe.model["cache"]["name"] == "cache-dit" and recipe.resolved["options"]["cache_threshold"] == 0.5


def test_where_nothing_can_be_compiled(home: Path, tmp_path: Path) -> None:
    nothing = {"CXX": "/nowhere/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    done = command(tmp_path, "--set", "compile=true", **nothing)
    assert done.returncode == 2 and "torch.compile does not work here: " in done.stderr and not (tmp_path / "fox.mp4").exists()
