"""The engine with the echo model: steps, cropping, recipes, remaking, stopping."""

from __future__ import annotations

import numpy as np
import pytest

from unstrung import Recipe, Request, generate
from unstrung.engine import STAGES, check, memory_bytes, remake
from unstrung.errors import Canceled, InvalidRequest, NotEnoughMemory
from unstrung.events import Event, Note, Preview, Progress

SMALL = {"model": "echo", "width": 100, "height": 60, "num_frames": 10}


def test_size_and_length_are_honoured_and_the_recipe_shows_both() -> None:
    clip, recipe = generate(Request("a fox", **SMALL))  # type: ignore[arg-type]
    assert clip.frames.shape == (10, 60, 100, 3)
    assert (recipe.resolved["width"], recipe.resolved["height"], recipe.resolved["num_frames"]) == (112, 64, 13)
    assert (recipe.output["width"], recipe.output["height"], recipe.output["num_frames"]) == (100, 60, 10)
    assert recipe.request == {"prompt": "a fox", **SMALL}
    assert recipe.output["sha256"] == clip.sha256()


def test_the_same_seed_gives_the_same_frames_and_another_does_not() -> None:
    first, second, other = (generate(Request("a fox", seed=s, **SMALL))[0] for s in (3, 3, 4))  # type: ignore[arg-type]
    assert np.array_equal(first.frames, second.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_a_recipe_remakes_its_clip_even_after_json() -> None:
    _, recipe = generate(Request("a fox", num_inference_steps=3, options={"pattern": "rings"}, **SMALL))  # type: ignore[arg-type]
    _, again, identical = remake(Recipe.from_json(recipe.to_json()))
    assert identical
    assert again.seed == recipe.seed and again.output == recipe.output
    changed = Recipe.from_json(recipe.to_json().replace('"prompt":"a fox"', '"prompt":"a dog"'))
    assert not remake(changed)[2]


def test_events_tell_the_stages_in_order() -> None:
    heard: list[Event] = []
    _, recipe = generate(Request("a fox", **SMALL), heard.append)  # type: ignore[arg-type]
    stages = list(dict.fromkeys(e.stage for e in heard if isinstance(e, Progress)))
    assert stages == [s for s in STAGES if s in stages] and "sample" in stages
    for stage in stages:
        steps = [e for e in heard if isinstance(e, Progress) and e.stage == stage]
        assert steps[0].done == 0 and steps[-1].done == steps[-1].total
    assert any(isinstance(e, Preview) for e in heard)
    assert [e.code for e in heard if isinstance(e, Note)] == ["understood"]
    assert set(recipe.seconds) == {"resolve", *stages}


def test_cancel_stops_within_a_step() -> None:
    seen = 0

    def emit(event: Event) -> None:
        nonlocal seen
        if isinstance(event, Progress) and event.stage == "sample" and event.done:
            seen += 1
            raise Canceled

    with pytest.raises(Canceled):
        generate(Request("a fox", **SMALL), emit)  # type: ignore[arg-type]
    assert seen == 1


def test_bad_requests_do_not_load_a_model() -> None:
    with pytest.raises(InvalidRequest):
        generate(Request("a fox", model="nano", seconds=100.0), lambda event: pytest.fail(f"{event} before the check"))


def test_what_the_memory_cannot_hold_is_refused_before_it_is_begun() -> None:
    huge = Request("a fox", model="echo", width=1920, height=1920, seconds=60, fps=60)
    needed = 3600 * 1920 * 1920 * 3
    if (memory_bytes() or needed) >= needed:
        pytest.skip("this machine can hold the largest clip")
    with pytest.raises(NotEnoughMemory, match=r"60 s at 1920x1920 need 37\.1 GiB of memory"):
        generate(huge)
    with pytest.raises(NotEnoughMemory):
        check(huge)
