"""Latents that lie on the disk while they are decoded: after a death, or too little memory, nothing is sampled again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from unstrung.media.clip import Clip
from unstrung.models.hub import shelf
from unstrung.request import Request

if TYPE_CHECKING:
    from torch import Tensor

DAYS = 7  # after which nobody comes for them any more


class Kept:
    """What one film's decoder is given, by all that it depends on: `weights` is what a recipe says of them."""

    def __init__(self, request: Request, given: Mapping[str, Clip], weights: Mapping[str, Any]) -> None:
        told = {"request": request.to_dict(), "given": {name: clip.sha256() for name, clip in given.items()}, "weights": weights}
        key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
        self.guessed: Mapping[str, Any] = {}  # what a recipe says of steps that were not computed
        self._file = shelf.home().parent / "latents" / f"{key}.safetensors"

    def save(self, tensors: Sequence[Tensor]) -> None:
        """Write what the decoder is about to be given, whole or not at all."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        self._sweep()
        part = self._file.with_suffix(".part")
        with suppress(OSError, SafetensorError):  # where there is no room, the film is made all the same
            self._file.parent.mkdir(parents=True, exist_ok=True)
            found = {str(n): tensor.detach().cpu().contiguous() for n, tensor in enumerate(tensors)}
            save_file(found, part, {"guessed": json.dumps(dict(self.guessed))})
            part.replace(self._file)
            return
        with suppress(OSError):
            part.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for old in self._file.parent.glob("*"):
            with suppress(OSError):  # somebody else may sweep too
                if time.time() - old.stat().st_mtime > DAYS * 86400:
                    old.unlink()

    def load(self) -> list[Tensor] | None:
        """Return what was saved; None where nothing is."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._file, "pt") as file:
                self.guessed = json.loads(file.metadata()["guessed"])
                return [file.get_tensor(str(n)).clone() for n in range(len(file.keys()))]  # the file is to go
        except (OSError, SafetensorError):
            return None

    def drop(self) -> None:
        """Forget it: the film is made, or nobody wants it."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
