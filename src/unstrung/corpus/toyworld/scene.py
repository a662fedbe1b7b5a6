"""The scene graph: what is shown, where, when, and how it moves. It is sampled first; picture and caption follow from it."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from unstrung.corpus.toyworld.vocabulary import (
    CAMERAS,
    EVERY_GROUND,
    PLACES,
    SUBJECTS,
    TRAVELS,
    Subject,
)

# Pairs of subject and place that training never shows, although it shows both apart: composition is tested on them.
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("dog", "desert"),
        ("cat", "forest"),
        ("wolf", "beach"),
        ("lion", "city"),
        ("tiger", "snow"),
        ("horse", "beach"),
        ("unicorn", "driveway"),
        ("deer", "stage"),
        ("cow", "mountains"),
        ("pig", "city"),
        ("elephant", "meadow"),
        ("zebra", "driveway"),
        ("rabbit", "city"),
        ("monkey", "snow"),
        ("trex", "meadow"),
        ("duck", "forest"),
        ("penguin", "desert"),
        ("dragon", "beach"),
        ("kitten", "snow"),
        ("panda", "beach"),
        ("frog", "city"),
        ("eagle", "forest"),
        ("butterfly", "snow"),
        ("dove", "desert"),
        ("runner", "forest"),
        ("cyclist", "desert"),
        ("basketball", "beach"),
        ("dancer", "meadow"),
        ("robot", "forest"),
        ("wizard", "kitchen"),
        ("ghost", "beach"),
        ("balloon", "forest"),
        ("ufo", "stage"),
        ("car", "snow"),
        ("taxi", "meadow"),
        ("bus", "desert"),
        ("firetruck", "beach"),
        ("tractor", "city"),
        ("train", "driveway"),
        ("airplane", "desert"),
        ("rocket", "sky"),
        ("football", "mountains"),
        ("sunflower", "city"),
        ("cactus", "beach"),
        ("apple", "stage"),
        ("pizza", "bedroom"),
        ("cake", "beach"),
        ("guitar", "meadow"),
    }
)


@dataclass(frozen=True)
class Actor:
    """One subject in a scene. Lengths are in picture heights or widths; times in seconds."""

    subject: str
    action: str
    direction: str  # "left" or "right": where it goes, or where it looks
    x: float  # where its middle is at the start, in picture widths
    depth: float  # 0 far (at the horizon) to 1 near; in the air: 0 top to 1 bottom
    size: float  # in units of the shorter side
    speed: float  # picture widths a second; 0 where it stays
    phase: float  # seconds by which its own rhythm is ahead
    verb: str = ""  # the words for what the art itself shows


@dataclass(frozen=True)
class Scene:
    """A whole clip as data: enough to render it and to say what is in it."""

    seed: int
    place: str
    time: str
    weather: str
    camera: str
    framing: str
    actors: tuple[Actor, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the scene as JSON types."""
        return asdict(self)


_SPEEDS = {
    "run": (0.14, 0.26), "walk": (0.05, 0.11), "fly": (0.1, 0.22), "swim": (0.07, 0.15), "drive": (0.13, 0.28),
    "roll": (0.12, 0.22),
}  # fmt: skip
_FRAMINGS = {"close": 0.2, "medium": 0.74, "far": 0.06}  # how often
# few sizes: a shape has to be learned at each of them, and a small network is to learn many shapes in few hours
_SIZES = {"close": (0.82, 0.9), "medium": (0.52, 0.6), "far": (0.28, 0.32)}


def sample_scene(seed: int, held_out: bool = False) -> Scene:
    """Draw the scene of a seed: the same seed gives the same scene, everywhere.

    With `held_out` the main actor and the place are one of `HELD_OUT`; without, never.
    """
    rng = random.Random(f"toyworld {seed}")
    if held_out:
        name, place = rng.choice(sorted(HELD_OUT))
        subject = SUBJECTS[name]
    else:
        while True:
            subject = rng.choice(list(SUBJECTS.values()))
            place = rng.choice(subject.places) if rng.random() < 0.85 else rng.choice(_possible_places(subject))
            if (subject.id, place) not in HELD_OUT:
                break
    time = rng.choices(("day", "sunset", "night"), (0.5, 0.22, 0.28))[0]
    weather = _sample_weather(rng, place, time)
    framing = rng.choices(list(_FRAMINGS), list(_FRAMINGS.values()))[0]
    actor = sample_actor(rng, subject, place, framing)
    camera = _sample_camera(rng, actor)
    actors = [actor]
    if framing == "medium" and rng.random() < 0.16:
        second = _sample_partner(rng, subject, place)
        if second is not None and (held_out or (second.id, place) not in HELD_OUT):
            actors = _side_by_side(rng, actor, sample_actor(rng, second, place, framing))
    return Scene(seed, place, time, weather, camera, framing, tuple(actors))


def _possible_places(subject: Subject) -> tuple[str, ...]:
    """Where a subject may be found by chance: a dog in a kitchen, but no whale on a stage."""
    if subject.kind in ("swimmer", "boat"):
        return subject.places
    if subject.kind in ("aircraft", "flyer", "sprite"):
        return (*subject.places, "sky", "sea")
    return (*EVERY_GROUND, "space") if subject.kind in ("animal", "person", "ball", "thing") else subject.places


def _sample_weather(rng: random.Random, place: str, time: str) -> str:
    if place in ("space", "underwater", "bedroom", "stage", "kitchen"):
        return "clear"
    if time == "night" and rng.random() < 0.12 and place in ("forest", "meadow", "mountains", "driveway"):
        return "fireflies"
    return rng.choices(("clear", "rain", "snow"), (0.8, 0.1, 0.3 if place in ("snow", "mountains") else 0.06))[0]


def _sample_camera(rng: random.Random, actor: Actor) -> str:
    if actor.action in ("run", "walk", "fly", "drive", "swim") and rng.random() < 0.5:
        return "follow"
    others = [c for c in CAMERAS if c not in ("still", "follow")]
    return "still" if rng.random() < 0.66 else rng.choice(others)


def _sample_partner(rng: random.Random, subject: Subject, place: str) -> Subject | None:
    partners = [s for s in SUBJECTS.values() if place in s.places and s.id != subject.id and s.kind not in ("boat",)]
    return rng.choice(partners) if partners else None


def sample_actor(rng: random.Random, subject: Subject, place: str, framing: str) -> Actor:
    """Draw how a subject moves in a place: its action, direction, way, size and rhythm."""
    action = rng.choice(subject.actions)
    if place in ("space", "sky") and action in ("run", "walk", "stand", "jump", "bounce", "drive", "roll"):
        action = "float" if subject.kind != "ball" else "spin"
    if place == "underwater" and action not in ("swim", "float"):
        action = "swim"
    travels = action in TRAVELS
    speed = rng.uniform(*_SPEEDS[action]) if travels else 0.0
    low, high = _SIZES[framing]
    size = min(1.05, rng.uniform(low, high) * subject.size)
    in_air = action in ("fly", "float", "swim", "spin") and place in ("sky", "space", "underwater", "sea")
    depth = rng.uniform(0.35, 0.65) if in_air else rng.uniform(0.3, 0.6)
    verb = rng.choice(subject.verbs) if subject.verbs and action in ("stand", "run", "drive") else ""
    return Actor(
        subject=subject.id,
        action=action,
        direction=rng.choice(("left", "right")),
        x=rng.uniform(0.2, 0.8) if framing != "close" else rng.uniform(0.4, 0.6),
        depth=depth,
        size=size,
        speed=speed,
        phase=rng.uniform(0, 3),
        verb=verb,
    )


def _side_by_side(rng: random.Random, first: Actor, second: Actor) -> list[Actor]:
    """Keep two actors apart: the one left, the other right, neither travelling through the other."""
    from dataclasses import replace

    xs = [rng.uniform(0.2, 0.32), rng.uniform(0.68, 0.8)]
    rng.shuffle(xs)
    shrink = 0.48 / max(first.size, second.size, 0.48)
    direction = first.direction
    second = replace(second, direction=direction, speed=first.speed if second.action in TRAVELS else 0.0)
    return [replace(a, x=x, size=a.size * shrink) for a, x in zip((first, second), xs, strict=True)]


def position_word(x: float) -> str:
    """Return "left", "middle" or "right" for a place across the picture (0 to 1)."""
    return "left" if x < 0.36 else "right" if x > 0.64 else "middle"


assert all(name in SUBJECTS and place in PLACES for name, place in HELD_OUT)
