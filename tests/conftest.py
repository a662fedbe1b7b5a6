"""What the tests share: the toy world's stills, fetched once into the user's cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# spinning threads of several busy processes starve one another; must be set before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def stills() -> Path:
    """The folder of the toy world's still pictures (16 MB, with npm)."""
    from unstrung.corpus.toyworld.art import cache_dir, fetch

    folder = cache_dir() / "toyworld-stills"
    if not list(folder.glob("fluent-emoji-3d-*")) and shutil.which("npm") is None:
        pytest.skip("npm is not installed, and the toy world's art comes with it")
    return fetch(folder, stills_only=True)
