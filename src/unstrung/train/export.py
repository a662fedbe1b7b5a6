"""From a run to what is shipped: weights, the words they know, and whom to thank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unstrung.corpus.toyworld.captions import present_participle
from unstrung.corpus.toyworld.credits import credits
from unstrung.corpus.toyworld.vocabulary import (
    ACTIONS,
    CAMERAS,
    DIRECTIONS,
    FRAMINGS,
    PLACES,
    POSITIONS,
    SUBJECTS,
    TIMES,
    WEATHERS,
)
from unstrung.errors import UnstrungError
from unstrung.models.native.config import CONTEXT, WINDOW
from unstrung.models.native.text import MiniLM
from unstrung.models.native.understand import Vocabulary
from unstrung.train.checkpoint import export_weights, load_checkpoint
from unstrung.train.config import TrainConfig


def phrases() -> list[str]:
    """Return everything that the toy world's captions can say."""
    out = ["facing", *(name for s in SUBJECTS.values() for name in (*s.names, *s.verbs, *map(present_participle, s.verbs)))]
    for table in (PLACES, TIMES, WEATHERS, CAMERAS, FRAMINGS, DIRECTIONS, POSITIONS):
        out += [phrase for words in table.values() for phrase in words]
    return out + [word for both in ACTIONS.values() for words in both for word in words]


def names() -> list[str]:
    """Return the words that name something: what an unknown word may be read as."""
    subjects = [s.names[0].split()[-1] for s in SUBJECTS.values()]
    actions = [words[0][0] for words in ACTIONS.values()]
    return sorted({*subjects, *(n for s in SUBJECTS.values() for n in s.names if " " not in n), *PLACES, *TIMES, *actions})


def export(config: TrainConfig, folder: Path, target: Path) -> Path:
    """Write the mean weights of a run's last checkpoint, its vocabulary and its credits; return the weights' path."""
    state = load_checkpoint(folder)
    if state is None:
        raise UnstrungError(
            "no_checkpoint", None, f"There is no checkpoint in {folder}: run 'unstrung train {config.name}' first."
        )
    target.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        "step": state["step"], "samples": state["samples"], "hours": round(state["hours"], 2),
        "window": WINDOW, "context": CONTEXT,
    }  # fmt: skip
    path = target / f"{config.name}.safetensors"
    export_weights(path, state["ema"], config.model.to_dict(), about)
    Vocabulary.write(target / f"{config.name}.vocabulary.npz", phrases(), names(), MiniLM())
    listed = target / f"{config.name}.credits.json"
    listed.write_text(json.dumps(credits(), indent=1, ensure_ascii=False) + "\n")
    return path
