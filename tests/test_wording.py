"""What the built-in model's prompts are expanded to: places and times that it knows, and none where one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import unstrung.models.native as native
from unstrung.models.native import expand
from unstrung.models.native.understand import Vocabulary, split
from unstrung.models.native.wording import AT_HOME, PLACES, TIMES


def test_a_place_and_a_time_are_added_where_there_are_none() -> None:
    assert expand("a whale") == f"a whale on the sea {_time('a whale')}"
    assert expand("a fox.") == f"a fox in a forest {_time('a fox.')}"
    assert expand("a whale") == expand(" A  WHALE ").replace("A  WHALE", "a whale")  # drawn by its words, not by chance


def _time(prompt: str) -> str:
    (said,) = [time for time in TIMES if expand(prompt).endswith(time)]
    return said


@pytest.mark.parametrize(
    "prompt",
    ["a fox in the snow at night", "a fish under water", "a rocket among the stars", "a kitten on a pillow on a sunny day"],
)
def test_what_is_said_is_left_as_it_is(prompt: str) -> None:
    assert expand(prompt) == prompt


def test_the_model_knows_every_word_that_is_added() -> None:
    vocabulary = Vocabulary.read(Path(native.__file__).parent / "weights" / "nano.vocabulary.npz")
    for phrase in (*PLACES, *AT_HOME, *TIMES):
        known = vocabulary.read_prompt(phrase, None)  # type: ignore[arg-type]  # the encoder is asked for strange words alone
        assert not known.unknown and not known.near and split(phrase), phrase
    assert set(AT_HOME) <= set(PLACES)
