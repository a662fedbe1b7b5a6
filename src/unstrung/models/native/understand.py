"""Say what the model read in a prompt, and what of it it has never seen. No silent failure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unstrung.models.native.text import TextEncoder

NEAR = 0.62  # cosine above which two words are taken for the same thing
# words that carry a sentence and nothing to see
PLAIN = frozenset(
    """a an the this that these those some any each every and or but nor so of in on at by to into onto from with without
    within for as is are was were be been being am do does did has have had it its it's he she they them his her their our
    my your i we you who which what while when where then than there here very really quite just also not no next up
    down over under out off through across along around about near beside behind between before after above below above
    against during like shot video film clip scene picture image footage view style cinematic realistic beautiful
    detailed""".split()
)


@dataclass(frozen=True)
class Understanding:
    """The words of a prompt: those that the model knows, those read as another word, and those that it does not know."""

    known: tuple[str, ...]
    near: Mapping[str, str]
    unknown: tuple[str, ...]

    def sentence(self, model: str) -> str:
        """Return it in words for a person."""
        parts = [f"{model} knows: {', '.join(self.known) or 'none of these words'}"]
        if self.near:
            parts.append("it reads " + ", ".join(f"'{word}' as {meant}" for word, meant in self.near.items()))
        if self.unknown:
            parts.append(f"it does not know: {', '.join(self.unknown)}")
        return "; ".join(parts) + "."

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"known": list(self.known), "near": dict(self.near), "unknown": list(self.unknown)}


class Vocabulary:
    """The words that a model was trained on, with the encoder's vectors of those that name something."""

    def __init__(self, words: Sequence[str], names: Sequence[str], vectors: npt.NDArray[np.floating]) -> None:
        self._words = frozenset(words)
        self._names = list(names)
        self._vectors = vectors.astype(np.float32)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read the vocabulary that lies beside a model's weights."""
        with np.load(path) as data:
            words = json.loads(str(data["words"]))
            return cls(words["words"], words["names"], data["vectors"])

    @staticmethod
    def write(path: Path, phrases: Sequence[str], names: Sequence[str], encoder: TextEncoder) -> None:
        """Write a vocabulary: every word of the phrases is known; words near to one of the names are read as it."""
        words = sorted({w for phrase in phrases for w in split(phrase)})
        vectors = np.stack([_vector(encoder, name) for name in names]).astype(np.float16)
        np.savez_compressed(path, words=json.dumps({"words": words, "names": list(names)}), vectors=vectors)

    def read_prompt(self, prompt: str, encoder: TextEncoder) -> Understanding:
        """Compare a prompt with the vocabulary, word by word, in the text encoder's space."""
        known: list[str] = []
        near: dict[str, str] = {}
        unknown: list[str] = []
        for word in dict.fromkeys(split(prompt)):
            if word in PLAIN:
                continue
            if word in self._words or (word.endswith("s") and word[:-1] in self._words):
                known.append(word)
                continue
            likeness = self._vectors @ _vector(encoder, word)
            best = int(likeness.argmax())
            if likeness[best] >= NEAR:
                near[word] = self._names[best]
            else:
                unknown.append(word)
        return Understanding(tuple(known), near, tuple(unknown))


def split(text: str) -> list[str]:
    """Return the words of a text, in lower case; "t-rex" is one word, and so is an emoji."""
    words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]", text.lower())
    return [word for word in words if word[0].isalnum() or unicodedata.category(word[0]) == "So"]


def _vector(encoder: TextEncoder, text: str) -> npt.NDArray[np.float32]:
    """Return one vector of unit length for a text: the mean of its token states."""
    mean = encoder.encode(text).mean(axis=0)
    vector: npt.NDArray[np.float32] = mean / np.linalg.norm(mean)
    return vector
