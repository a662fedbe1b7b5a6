"""The fixed prompts that models are judged by, and the scene that each of them describes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from unstrung.corpus.toyworld.scene import HELD_OUT, Actor, Scene, sample_actor
from unstrung.corpus.toyworld.vocabulary import ACTIONS, DIRECTIONS, PLACES, SUBJECTS, TIMES, TRAVELS

CLIP_SECONDS = 2.0
WAYS = ("left", "right", None)
HARD_TO_SEE = frozenset({"grow", "fall"})  # two seconds may pass while the subject is tiny, or out of the picture


@dataclass(frozen=True)
class EvalPrompt:
    """One sentence and what a clip made from it should show; `direction` is None where the subject is to stay."""

    prompt: str
    subject: str
    place: str
    time: str
    direction: str | None
    seed: int
    held_out: bool  # training never showed this subject in this place

    def wanted(self, attribute: str) -> str:
        """Return the id that a reader should find for an attribute."""
        if attribute == "direction":
            return self.direction or "none"
        return {"subject": self.subject, "place": self.place, "time": self.time}[attribute]

    def to_dict(self) -> dict[str, Any]:
        """Return the prompt as JSON types."""
        return asdict(self)


def eval_prompts() -> tuple[EvalPrompt, ...]:
    """Return the 192 prompts, always the same: a trained pair and a held-out one in turn, so any beginning is fair.

    Both halves have the same subjects, so what parts their accuracies is the pair alone. Space is not among the places:
    no time of day can be seen there.
    """
    used: Counter[str] = Counter()
    trained, held_out = [], []
    for number, (subject, place) in enumerate(sorted(HELD_OUT)):
        free = [p for p in sorted(set(SUBJECTS[subject].places)) if (subject, p) not in HELD_OUT and p != "space"]
        homes = sorted(free, key=lambda p: (used[p], p))[:2]
        used.update(homes)
        for variant in range(2):
            held_out.append(_prompt(number, variant, subject, place))
            trained.append(_prompt(number, variant, subject, homes[variant % len(homes)]))
    return tuple(p for pair in zip(trained, held_out, strict=True) for p in pair)


def _prompt(number: int, variant: int, subject: str, place: str) -> EvalPrompt:
    held_out = (subject, place) in HELD_OUT
    seed = 4 * number + 2 * variant + held_out
    time = list(TIMES)[(number + variant) % 3]
    # times and ways turn at different speeds, so that each meets each
    first = number // 3 + variant
    ways = [WAYS[(first + k) % 3] for k in range(3)]
    way = next(w for w in ways if _actor(seed, subject, place, w) is not None)
    return EvalPrompt(_words(seed, subject, place, time, way), subject, place, time, way, seed, held_out)


def _actor(seed: int, subject: str, place: str, direction: str | None) -> Actor | None:
    rng = random.Random(f"evaluation {seed}")
    for _ in range(64):
        actor = sample_actor(rng, SUBJECTS[subject], place, "medium")
        if (actor.action in TRAVELS) == (direction is not None) and actor.action not in HARD_TO_SEE:
            return replace(actor, direction=direction or actor.direction)
    return None


def _words(seed: int, subject: str, place: str, time: str, direction: str | None) -> str:
    rng = random.Random(f"evaluation words {seed}")
    actor = _actor(seed, subject, place, direction)
    assert actor is not None
    name = rng.choice(_own_names(subject))
    action = actor.verb or ACTIONS[actor.action][0][0]
    where = rng.choice([p for p in PLACES[place] if p.startswith(("in ", "on ", "at ", "under", "among"))][:2])
    when = rng.choice(TIMES[time][:3])
    way = f" {rng.choice(DIRECTIONS[direction])}" if direction else ""
    article = "an" if name[0] in "aeiou" and not name.startswith(("unicorn", "ufo")) else "a"
    return f"{article} {name} {action}{way} {where} {when}"


def _own_names(subject: str) -> list[str]:
    """Return the first names of a subject that no other subject has, and that say what it is and not what it does."""
    shared = Counter(name for s in SUBJECTS.values() for name in s.names)
    return [n for n in SUBJECTS[subject].names if shared[n] == 1 and not n.endswith("running")][:2]


def scene_of(prompt: EvalPrompt) -> Scene:
    """Return a scene that shows what a prompt says, from second 0 to 2: what a perfect model could have made."""
    actor = _actor(prompt.seed, prompt.subject, prompt.place, prompt.direction)
    assert actor is not None
    camera = "still"
    if prompt.direction is not None:
        # as in training: half of those who travel are followed, the others cross the picture
        if actor.action != "roll" and prompt.seed // 2 % 2:
            camera = "follow"
        else:
            sign = -1 if prompt.direction == "left" else 1
            actor = replace(actor, x=0.5 - sign * actor.speed * CLIP_SECONDS / 2)
    return Scene(prompt.seed, prompt.place, prompt.time, "clear", camera, "medium", (actor,))
