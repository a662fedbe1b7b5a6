"""Say what a scene shows, in many ways: short and long, with the words that a person would type."""

from __future__ import annotations

import random

from unstrung.corpus.toyworld.scene import Actor, Scene, position_word
from unstrung.corpus.toyworld.vocabulary import (
    ACTIONS,
    CAMERAS,
    DIRECTIONS,
    FRAMINGS,
    INDOORS,
    PLACES,
    POSITIONS,
    SUBJECTS,
    TIMES,
    TRAVELS,
    WEATHERS,
)


def caption(scene: Scene, seed: int) -> str:
    """Write a caption of a scene; another seed words it another way, and may leave out what goes without saying."""
    rng = random.Random(f"caption {seed}")
    full = rng.random()  # how much is said
    # "a dog runs", but "a close-up of a dog running"
    present = rng.random() < 0.55 and not FRAMINGS[scene.framing][0]
    who = _actors(scene, rng, present, full)
    parts = [who]
    place = rng.choice(PLACES[scene.place])
    say_place = rng.random() < 0.95
    if say_place:
        parts.append(place)
    sheltered = scene.place in ("underwater", *INDOORS)  # where the day goes without saying
    time_said = scene.place != "space" and rng.random() < (0.97 if scene.time != "day" else 0.08 if sheltered else 0.45)
    time = rng.choice(TIMES[scene.time])
    weather = rng.choice(WEATHERS[scene.weather]) if WEATHERS[scene.weather] else ""
    camera = rng.choice(CAMERAS[scene.camera]) if scene.camera != "still" or rng.random() < 0.12 else ""
    style = rng.random()
    if style < 0.5:  # one sentence
        if time_said:
            parts.append(time)
        text = " ".join(parts)
        for extra in (weather, camera if rng.random() < 0.85 else ""):
            if extra:
                text += f", {extra}"
    elif style < 0.8:  # sentences, as in the press
        tail = [t for t in (time.removeprefix("on a ").removeprefix("in the ") if time_said else "", weather, camera) if t]
        text = ". ".join([" ".join(parts), *(t[0].upper() + t[1:] for t in tail)]) + "."
    else:  # when and where first
        head = [t for t in (time if time_said else "", place if say_place else "") if t]
        rng.shuffle(head)
        text = ", ".join([*head, who, *(t for t in (weather, camera) if t)])
    return text[0].upper() + text[1:] if rng.random() < 0.4 else text


def _actors(scene: Scene, rng: random.Random, present: bool, full: float) -> str:
    first = _actor(scene, scene.actors[0], rng, present, full)
    framing = rng.choice(FRAMINGS[scene.framing])
    if framing:
        first = f"{framing} {first}"
    if len(scene.actors) > 1:
        return f"{first} {rng.choice(('and', 'next to', 'with'))} {_actor(scene, scene.actors[1], rng, present, full)}"
    return first


def _actor(scene: Scene, actor: Actor, rng: random.Random, present: bool, full: float) -> str:
    subject = SUBJECTS[actor.subject]
    name = rng.choice(subject.names)
    article = "the" if rng.random() < 0.1 else "an" if name[0] in "aeiou" and not name.startswith(("unicorn", "ufo")) else "a"
    if rng.random() < 0.12:
        article = ""
    if actor.verb and (actor.action == "stand" or rng.random() < 0.75):
        verb = actor.verb if present else present_participle(actor.verb)
    else:
        verb = rng.choice(ACTIONS[actor.action][0 if present else 1])
    words = [article, name, verb]
    if subject.facing or actor.action in TRAVELS:
        if actor.action in TRAVELS and rng.random() < 0.55 + 0.4 * full:
            words.append(rng.choice(DIRECTIONS[actor.direction]))
        elif subject.facing and rng.random() < 0.35:
            words.append(f"facing {actor.direction}")
    if actor.action not in TRAVELS and scene.framing != "close" and rng.random() < 0.1 + 0.4 * full:
        words.append(rng.choice(POSITIONS[position_word(actor.x)]))
    return " ".join(w for w in words if w)


def present_participle(verb: str) -> str:
    """Turn "plays basketball" into "playing basketball"."""
    first, _, rest = verb.partition(" ")
    stem = first[:-1]
    if first.endswith(("oes", "ches", "shes", "sses")):
        stem = first[:-2]
    if stem in ("sit", "swim", "run", "spin"):
        stem += stem[-1]
    if stem.endswith("e") and not stem.endswith("ee"):
        stem = stem[:-1]
    return f"{stem}ing {rest}".strip()
