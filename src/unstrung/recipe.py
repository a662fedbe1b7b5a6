"""All that is needed to make a clip again, in a form that hashes the same everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from unstrung.errors import UnstrungError

SCHEMA_VERSION = 1
# without these nothing can be shown or made again
_NEEDED = {
    "request": {"prompt"},
    "resolved": {"prompt"},
    "model": {"id"},
    "output": {"sha256", "width", "height", "num_frames", "fps"},
}


@dataclass(frozen=True)
class Recipe:
    """How one clip came to be. `request` is what was asked for, `resolved` what the model was given."""

    request: Mapping[str, Any]
    resolved: Mapping[str, Any]
    model: Mapping[str, Any]  # id, revision, sha256, license, credits; loras {source, sha256, scale}
    seed: int
    output: Mapping[str, Any]  # sha256 of the frames, width, height, num_frames, fps
    finish: tuple[Mapping[str, Any], ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    peak_memory_bytes: int | None = None
    parents: tuple[str, ...] = ()
    understood: Mapping[str, Any] = field(default_factory=dict)  # what the model knew of the prompt, and what not
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the canonical form: sorted keys, no spaces, so that equal recipes are equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe; raise `UnstrungError` for what is none, or is from a newer version of this program."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise UnstrungError("bad_recipe", None, "The recipe is not JSON: it is damaged, or another program's.") from None
        needed = {"request", "resolved", "model", "seed", "output"}
        if not isinstance(data, dict) or not needed <= set(data):
            raise UnstrungError("bad_recipe", None, "This is not an Unstrung recipe: it lacks its request or its output.")
        version = data.get("schema_version", SCHEMA_VERSION)
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise UnstrungError(
                "newer_recipe", None, f"The recipe has version {version}; this program reads up to {SCHEMA_VERSION}: upgrade it."
            )
        for part, keys in _NEEDED.items():
            if not isinstance(data[part], dict) or not keys <= set(data[part]):
                raise UnstrungError("bad_recipe", None, f"The recipe is damaged: its {part} lacks {', '.join(sorted(keys))}.")
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items() if key in known}
        return cls(**values)
