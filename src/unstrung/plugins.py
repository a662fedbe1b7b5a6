"""Where things plug in: tables of names, built in and from entry points, imported on first use.

A package of models is a module with `CARDS` and `load(card, device) -> Model`, in the entry point group `unstrung.models`.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from importlib.metadata import entry_points
from types import ModuleType

from unstrung.card import ModelCard
from unstrung.errors import UnknownModel

GROUP_MODELS = "unstrung.models"


def modules(group: str) -> dict[str, ModuleType]:
    """Import and return all modules of a group, by their entry point's name; warn of one that can't be, and go on."""
    found = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        try:
            found[point.name] = importlib.import_module(point.value)
        except Exception as error:
            warnings.warn(f"'{point.name}' of {group} ({point.value}) is left out, it can't be imported: {error}", stacklevel=2)
    return found


def cards() -> dict[str, tuple[ModelCard, ModuleType]]:
    """Return every model that is installed or known: its card, and the module that loads it."""
    return {card.id: (card, module) for module in modules(GROUP_MODELS).values() for card in module.CARDS}


def find_card(model: str) -> tuple[ModelCard, ModuleType]:
    """Return the card of a model and the module that loads it; raise `UnknownModel` with the names that come near."""
    known = cards()
    if model in known:
        return known[model]
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModel(f"There is no model '{model}': {hint}Known: {', '.join(sorted(known))}. See 'unstrung models list'.")
