"""A model behind somebody else's Videos API: a collective's machine, or any server that speaks `/v1/videos`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unstrung.card import Limits, ModelCard
from unstrung.errors import InvalidRequest

if TYPE_CHECKING:
    from unstrung.models.remote.film import Remote

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


def check(card: ModelCard) -> None:
    """Raise `MissingWeights` where nobody has said which host, or not in a way that it can be asked; nobody is asked."""
    from unstrung.models.remote.place import find_place

    find_place(card.id)


def load(card: ModelCard, device: str | None = None) -> Remote:
    """Return the model; its host is not asked before there is a film to make."""
    from unstrung.models.remote.film import Remote
    from unstrung.models.remote.place import find_place

    if device is not None:
        raise InvalidRequest("device", f"device is '{device}'; {card.id} runs on its host, which chooses: leave --device out.")
    return Remote(card, find_place(card.id))
