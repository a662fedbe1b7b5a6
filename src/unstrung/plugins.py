"""Where things plug in: tables of names, built in and from entry points, imported on first use.

A package of models is a module with `CARDS` and `load(card, device) -> Model`, in the entry point group `unstrung.models`. It may
have `check(card)`, which raises `MissingWeights` where something is not installed, and loads nothing; `find(name)`, which
returns the card of a model that is in no list, as a folder's, or None; `named_cards()`, which returns the cards of models that
somebody has named on this machine: they may be others each time it is called; `variant(card)`, which of a repository's files it
reads; and `forecast(card, request, device)`, which returns the ways of placing the model for a resolved request, the best
first: dicts with `plan`, `ram` in bytes, and `why` it does not fit.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import warnings
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from types import ModuleType

from unstrung.card import ModelCard
from unstrung.errors import UnknownModel

GROUP_MODELS = "unstrung.models"


def modules(group: str) -> dict[str, ModuleType]:
    """Import and return all modules of a group, by their entry point's name; warn of one that can't be, and go on."""
    found = {}
    for name, place in sorted({**_lying_there(group), **{p.name: p.value for p in entry_points(group=group)}}.items()):
        try:
            found[name] = importlib.import_module(place)
        except Exception as error:
            warnings.warn(f"'{name}' of {group} ({place}) is left out, it can't be imported: {error}", stacklevel=2)
    return found


def _lying_there(group: str) -> dict[str, str]:
    """Return our own modules, by name, where this package was copied instead of installed, and so has no entry points."""
    try:
        distribution("unstrung")
    except PackageNotFoundError:  # our groups are named as the packages are that hold what is ours of them
        package = importlib.import_module(group)
        return {module.name: f"{group}.{module.name}" for module in pkgutil.iter_modules(package.__path__)}
    return {}


def cards() -> dict[str, tuple[ModelCard, ModuleType]]:
    """Return every model that is installed or known: its card, and the module that loads it."""
    found = modules(GROUP_MODELS).values()
    # beside our models lie modules that hold none; who else names a module as one says which it has
    known = [module for module in found if hasattr(module, "CARDS") or not module.__name__.startswith(f"{GROUP_MODELS}.")]
    table = {card.id: (card, module) for module in known for card in module.CARDS}
    for module in known:
        for card in module.named_cards() if hasattr(module, "named_cards") else ():
            if table.setdefault(card.id, (card, module))[0] is not card:
                warnings.warn(
                    f"'{card.id}', which was named here, is left out: another model has this name by now.", stacklevel=2
                )
    return table


def find_card(model: str, listed: bool = False) -> tuple[ModelCard, ModuleType]:
    """Return the card of a model and the module that loads it; raise `UnknownModel` with the names that come near.

    A folder or a place is a name too, unless the model must be `listed`.
    """
    known = cards()
    if model in known:
        return known[model]
    for module in () if listed else modules(GROUP_MODELS).values():
        if hasattr(module, "find") and (card := module.find(model)) is not None:
            return card, module
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UnknownModel(f"There is no model '{model}': {hint}Known: {', '.join(sorted(known))}. See 'unstrung models list'.")


def check_installed(card: ModelCard, module: ModuleType) -> None:
    """Raise `MissingWeights` where a model lacks something that its own module looks for; most look for nothing."""
    if hasattr(module, "check"):
        module.check(card)
