"""The model that comes in the box: it is whole, small enough, credited, and makes the same film twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from unstrung import Request, generate
from unstrung.corpus.toyworld.captions import caption
from unstrung.corpus.toyworld.credits import credits
from unstrung.corpus.toyworld.scene import sample_scene
from unstrung.engine import remake
from unstrung.models.native import FOLDER
from unstrung.models.native.config import SIZES
from unstrung.models.native.runtime import Weights
from unstrung.models.native.text import MiniLM
from unstrung.models.native.understand import Vocabulary
from unstrung.recipe import Recipe


def test_the_weights_are_whole_and_small_enough() -> None:
    weights = Weights.read(FOLDER / "nano.safetensors")
    assert weights.config == SIZES["nano"]
    assert all(np.isfinite(t.astype(np.float32)).all() for t in weights.tensors.values())
    assert weights.about["samples"] > 0 and weights.about["hours"] > 0
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 60e6


def test_every_work_is_credited_beside_the_weights() -> None:
    assert json.loads((FOLDER / "nano.credits.json").read_text()) == json.loads(json.dumps(credits()))


def test_it_knows_the_words_of_its_own_captions() -> None:
    vocabulary, encoder = Vocabulary.read(FOLDER / "nano.vocabulary.npz"), MiniLM(threads=1)
    for n in range(0, 400, 4):
        assert vocabulary.read_prompt(caption(sample_scene(n), n), encoder).unknown == ()
    read = vocabulary.read_prompt("a red fox running through the snow at night with a cello and a bassoon", encoder)
    assert read.known == ("red", "fox", "running", "snow", "night") and read.unknown == ("cello", "bassoon")


def test_it_makes_the_same_film_twice(tmp_path: Path) -> None:
    request = Request("a red fox running through the snow at night", seconds=1, num_inference_steps=4, seed=1)
    clip, recipe = generate(request)
    assert clip.frames.shape == (24, 360, 640, 3)
    assert recipe.model["sha256"] and recipe.model["credits"]
    assert recipe.understood["known"] == ["red", "fox", "running", "snow", "night"]
    assert remake(Recipe.from_json(recipe.to_json()))[2]


def test_a_picture_of_the_night_is_darker_than_one_of_the_day() -> None:
    """The least that a model must have learned; how good it is, is measured by `unstrung eval nano`."""
    small = {"seconds": 1.0, "width": 160, "height": 96, "fps": 8, "num_inference_steps": 8, "seed": 3}
    night, day = (generate(Request(f"a dog walking in the snow {when}", **small))[0].frames for when in ("at night", "at noon"))  # type: ignore[arg-type]
    assert night.mean() < day.mean() - 40
