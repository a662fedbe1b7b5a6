"""A request is read strictly, resolved once, and refused in words that help."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unstrung.card import Limits, ModelCard, Option
from unstrung.errors import InvalidRequest
from unstrung.request import Condition, Lora, Request, Shot, resolve

CARD = ModelCard(
    id="toy",
    family="toy",
    summary="",
    tasks=("text-to-video",),
    license="MIT",
    size_multiple=32,
    frame_stride=8,
    frame_offset=1,
    fps=24,
    defaults={"width": 640, "height": 360, "seconds": 5.0, "num_inference_steps": 20, "guidance_scale": 4.0, "sampler": "euler"},
    limits=Limits(min_side=64, max_side=1280, min_seconds=1, max_seconds=20, max_steps=50),
    options={"shift": Option(3.0, "of the schedule"), "mode": Option("a", "", choices=("a", "b"))},
    samplers=("euler", "heun"),
)


def test_unset_is_filled_once_and_the_request_is_untouched() -> None:
    request = Request("a fox")
    target = resolve(request, CARD).target
    assert (target.width, target.height, target.seconds, target.num_frames, target.fps) == (640, 360, 5.0, 120, 24)
    assert (target.num_inference_steps, target.guidance_scale, target.sampler) == (20, 4.0, "euler")
    assert target.options == {"shift": 3.0, "mode": "a"}
    assert target.seed is not None and target.model == "toy"
    assert request == Request("a fox")


def test_loras_are_kept_where_the_model_takes_them() -> None:
    loras = (Lora("look.safetensors", 0.8), Lora("hf:somebody/looks"))
    target = resolve(Request("a fox", loras=loras), replace(CARD, loras=True)).target
    assert target.loras == loras and Request.from_dict(target.to_dict()).loras == loras


def test_sizes_and_lengths_are_snapped_up_for_the_model_and_kept_for_the_person() -> None:
    resolved = resolve(Request("a fox", width=500, height=300, num_frames=50), CARD)
    assert (resolved.target.width, resolved.target.height, resolved.target.num_frames) == (500, 300, 50)
    assert (resolved.run.width, resolved.run.height, resolved.run.num_frames) == (512, 320, 57)
    exact = resolve(Request("a fox", width=512, height=320, num_frames=57), CARD)
    assert exact.run == exact.target


def test_drawn_seeds_differ_and_given_ones_stay() -> None:
    seeds = {resolve(Request("a fox"), CARD).target.seed for _ in range(20)}
    assert len(seeds) == 20
    assert resolve(Request("a fox", seed=0), CARD).target.seed == 0


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"prompt": "  \n"}, "prompt", "empty"),
        ({"width": 32}, "width", "from 64 to 1280 pixels"),
        ({"height": 1282}, "height", "height is 1282 pixels"),
        ({"width": 333}, "width", "try 334"),
        ({"seconds": 21.0}, "seconds", "from 1 to 20 s"),
        ({"seconds": 0.5}, "seconds", "seconds is 0.5 s"),
        ({"fps": 0}, "fps", "from 1 to 60"),
        ({"fps": 61}, "fps", "fps is 61"),
        ({"num_frames": 0}, "num_frames", "1 to 480"),
        ({"num_frames": 481}, "num_frames", "num_frames is 481"),
        ({"num_frames": 50, "seconds": 5.0}, "num_frames", "are 120 frames"),
        ({"num_inference_steps": 0}, "num_inference_steps", "from 1 to 50"),
        ({"guidance_scale": -1.0}, "guidance_scale", "from 0 to 100"),
        ({"seed": -1}, "seed", "seed is -1"),
        ({"sampler": "ddim"}, "sampler", "euler, heun"),
        ({"options": {"shfit": 1.0}}, "options", "did you mean shift"),
        ({"options": {"mode": "c"}}, "options", "allows: a, b"),
        ({"options": {"shift": "x"}}, "options", "type float"),
        ({"conditions": (Condition("a.png"),)}, "conditions", "it does: text-to-video"),
        ({"shots": (Shot("x"),)}, "shots", "no shots"),
        ({"loras": (Lora("x"),)}, "loras", "no loras"),
        ({"finish": ({"step": "upscale"},)}, "finish", "no finish"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_is_allowed(fields: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(Request(**{"prompt": "a fox", **fields}), CARD)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert says in caught.value.message


def test_json_both_ways() -> None:
    request = Request(
        "a fox", seconds=3.0, seed=7, conditions=(Condition("a.png", -1, 0.5),), shots=(Shot("b", 2.0),), loras=(Lora("c"),),
        finish=({"step": "upscale", "scale": 2},), options={"shift": 2.0},
    )  # fmt: skip
    assert Request.from_dict(request.to_dict()) == request
    assert Request("a fox").to_dict() == {"prompt": "a fox"}


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({}, "prompt", "needs a prompt"),
        ({"prompt": "a", "widht": 3}, "widht", "did you mean width"),
        ({"prompt": 3}, "prompt", "must be text"),
        ({"prompt": None}, "prompt", "needs a prompt"),
        ({"prompt": "a", "finish": [3]}, "finish", "each step"),
        ({"prompt": "a", "width": 3.5}, "width", "whole number"),
        ({"prompt": "a", "width": True}, "width", "whole number"),
        ({"prompt": "a", "seconds": "5"}, "seconds", "must be a number"),
        ({"prompt": "a", "seconds": float("nan")}, "seconds", "must be a number"),
        ({"prompt": "a", "conditions": "a.png"}, "conditions", "must be a list"),
        ({"prompt": "a", "conditions": [{"frame_index": 1}]}, "conditions", "lacks its 'source'"),
        ({"prompt": "a", "loras": [{"file": "x"}]}, "loras", "scale, source"),
        ({"prompt": "a", "options": 3}, "options", "map names"),
    ],
)
def test_json_is_read_strictly(data: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Request.from_dict(data)
    assert caught.value.field == field
    assert says in caught.value.message
