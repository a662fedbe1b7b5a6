"""Unstrung: text to video that nobody can switch off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unstrung.engine import generate as generate
    from unstrung.media.clip import Clip as Clip
    from unstrung.plugins import cards as cards
    from unstrung.recipe import Recipe as Recipe
    from unstrung.request import Condition as Condition
    from unstrung.request import Request as Request

__version__ = "0.1.0"
__all__ = ["Clip", "Condition", "Recipe", "Request", "cards", "generate"]

_HOMES = {
    "Clip": "unstrung.media.clip:Clip",
    "Condition": "unstrung.request:Condition",
    "Recipe": "unstrung.recipe:Recipe",
    "Request": "unstrung.request:Request",
    "cards": "unstrung.plugins:cards",
    "generate": "unstrung.engine:generate",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import unstrung` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'unstrung' has no attribute '{name}'")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)
