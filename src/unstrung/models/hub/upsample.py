"""A film that is drawn twice: at two thirds of its size, its latents doubled, and at that size the last steps once more.

Most steps see a quarter of what the last ones do, so detail comes at less cost than by drawing large from the start. What is
drawn is larger than what was asked for, and brought to that at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unstrung.errors import InvalidRequest, MissingWeights
from unstrung.models.hub import digest, pulled, shelf
from unstrung.models.hub.families import UPSAMPLERS, Family, Upsampler, Weights
from unstrung.request import Request

PART, SHARE = "latent_upsampler", 2 / 3  # its name among a pipeline's parts; of a side, in the first pass


@dataclass(frozen=True)
class Found:
    """An upsampler whose weights are here, and what a recipe says of it."""

    row: Upsampler
    folder: Path
    about: Mapping[str, Any]


def find(request: Request, weights: Weights) -> Found | None:
    """Return the upsampler that a request asks for, None where it asks for none.

    Raise `InvalidRequest` for a draft, and `MissingWeights` where it is not here; nothing is loaded.
    """
    row = _asked(request, weights)
    if row is None:
        return None
    if request.options["preset"] == "draft":
        words = "option upsample is True; the preset 'draft' makes as few steps as will do: leave one of the two out."
        raise InvalidRequest("options", words)
    folder = pulled(shelf.repository(f"hf:{row.repo_id}"))
    files = sorted((folder / PART).glob("*.safetensors")) if folder else []
    if folder is None or not files:
        words = f"Option upsample needs weights of their own, which are not here: unstrung models pull hf:{row.repo_id}"
        raise MissingWeights(words)
    digests = {f"{PART}/{file.name}": digest(file) for file in files}
    about = {"repo_id": row.repo_id, "revision": folder.name, "sha256": shelf.over(digests), "files": digests}
    return Found(row, folder, about)


def counted(weights: Weights, request: Request) -> Weights:
    """Return what is to be loaded for a request: the upsampler is a part among the others, where it is asked for."""
    row = _asked(request, weights)
    return replace(weights, billions={**weights.billions, PART: row.billions}) if row else weights


def passes(weights: Weights, family: Family, width: int, height: int) -> list[tuple[int, int, int]]:
    """Return the steps, the width and the height of each pass: one, or two where an upsampler is among the parts."""
    if PART not in weights.billions:
        return [(weights.steps, width, height)]
    unit = family.size_multiple
    wide, high = (max(1, round(side * SHARE / unit)) * unit for side in (width, height))
    return [(weights.steps, wide, high), (UPSAMPLERS[weights.repo_id].steps, 2 * wide, 2 * high)]


def _asked(request: Request, weights: Weights) -> Upsampler | None:
    return UPSAMPLERS.get(weights.repo_id) if request.options.get("upsample") else None
