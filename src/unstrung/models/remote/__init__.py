"""A model behind somebody else's Videos API: a collective's machine, or any server that speaks `/v1/videos`."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from unstrung.card import Limits, ModelCard
from unstrung.errors import InvalidRequest, MissingWeights

if TYPE_CHECKING:
    from unstrung.models.remote.film import Remote
    from unstrung.models.remote.place import Place
    from unstrung.models.remote.places import Named

CARDS = (
    ModelCard(
        id="remote",
        family="remote",
        summary="Another machine's model, behind a Videos API that you name: prompts and pictures go there.",
        tasks=("text-to-video", "image-to-video"),
        license="its host's",
        fps=24,
        defaults={
            "width": 640, "height": 360, "seconds": 5.0, "num_inference_steps": None, "guidance_scale": None, "sampler": None,
        },
        limits=Limits(min_side=16, max_side=4096, min_seconds=0.0, max_seconds=120.0),
        notes=(
            "UNSTRUNG_REMOTE_URL says where, as https://films.example.org/v1; UNSTRUNG_REMOTE_KEY is your token there.",
            "UNSTRUNG_REMOTE_MODEL names a model there; unset, the host chooses.",
            "What the host's model can't do, the host refuses in its own words.",
        ),
    ),
)  # fmt: skip


def named_cards() -> tuple[ModelCard, ...]:
    """Return a card for every host that has a name here (`unstrung models add`); warn of one whose file can't be read."""
    from unstrung.models.remote.places import Named, each

    found = []
    for named in each():
        if isinstance(named, Named):
            found.append(_card(named))
        else:
            warnings.warn(named, stacklevel=2)
    return tuple(found)


def check(card: ModelCard) -> None:
    """Raise `MissingWeights` where the client is not installed, or nobody has said which host, or not as it can be asked.

    Nobody is asked over the network.
    """
    _need_client(card)
    _find(card.id)


def load(card: ModelCard, device: str | None = None) -> Remote:
    """Return the model; its host is not asked before there is a film to make."""
    if device is not None:
        raise InvalidRequest("device", f"device is '{device}'; {card.id} runs on its host, which chooses: leave --device out.")
    _need_client(card)
    from unstrung.models.remote.film import Remote

    return Remote(card, _find)


def _need_client(card: ModelCard) -> None:
    if importlib.util.find_spec("openai") is None:
        raise MissingWeights(f"{card.id} needs openai, which the default install leaves out: pip install '.[remote]'")


def _find(model: str) -> Place:
    from unstrung.models.remote import place, places

    return place.find_place(model) if model == CARDS[0].id else places.find(model)


def _card(named: Named) -> ModelCard:
    key = f"{named.key_env} holds your token there." if named.key_env else ""
    key = "Your token there is in the system's keyring." if named.keyring else key
    notes = (
        f"It is at {named.url}." + (f" {key}" if key else ""),
        f"Its model there is {named.model}." if named.model else "Which model makes them, the host chooses.",
        CARDS[0].notes[-1],
        f"Forget it with: unstrung models forget {named.name}",
    )
    summary = f"A model behind the Videos API of {named.host}: prompts and pictures go there."
    return replace(CARDS[0], id=named.name, summary=summary, notes=notes)
