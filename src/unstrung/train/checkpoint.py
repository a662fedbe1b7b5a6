"""Checkpoints: written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unstrung.errors import MissingWeights


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside its place, sync it, and only then put it there; the one before is kept as `.old`."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        path.replace(path.with_suffix(".old"))
    part.replace(path)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a run, or None where there is none."""
    for name in ("last.pt", "last.old"):
        path = folder / name
        if path.exists():
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
    return None


def export_weights(path: Path, weights: dict[str, Tensor], config: Mapping[str, Any], about: dict[str, Any]) -> None:
    """Write weights as they are shipped: safetensors in half precision, with the config and `about` in its header."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(w.detach().float().numpy().astype(np.float16)) for name, w in weights.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"config": json.dumps(config), "about": json.dumps(about)})
    part.chmod(0o644)  # safetensors writes for its owner alone; what is shipped is for everybody
    part.replace(path)


def import_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Load shipped weights into a model and return what their header says about them."""
    from safetensors import safe_open

    if not path.exists():
        raise MissingWeights(f"There are no weights at {path} to start from: give a .safetensors file, or 'shipped'.")
    with safe_open(path, framework="pt") as file:
        model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
        about: dict[str, Any] = json.loads(file.metadata()["about"])
    return about
