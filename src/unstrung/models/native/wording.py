"""Add to a prompt what its person left open: where it is, and at what time of day. In words that the model was taught."""

from __future__ import annotations

import hashlib
import re

# a phrase for a place -> the words that say it, or one like it, already
PLACES = {
    "in a green meadow": "meadow field park grass grassy",
    "in a forest": "forest woods trees tree jungle",
    "on a sandy beach": "beach sand shore ocean",
    "in the snow": "snow snowy snowfall winter ice",
    "in the mountains": "mountain mountains peaks path",
    "in the desert": "desert dunes sahara",
    "on a city street": "city street road downtown buildings town house driveway",
    "on the sea": "sea waves water lake river ocean",
    "in the sky": "sky clouds air",
    "on a stage": "stage theatre theater curtains spotlights",
    "in a cosy room": "room bedroom bed pillow kitchen table house home indoors inside",
}
HIDDEN = "space stars underwater planet corals"  # places of their own, which none is added to
TIMES = ("on a sunny day", "at sunset", "at night")
TIMED = "day daylight noon morning afternoon sunny sunset dusk dawn evening night midnight moonlight dark golden"
AT_HOME = {
    "on the sea": "whale dolphin shark fish ship boat sailboat yacht surfer",
    "in the sky": "plane aeroplane airplane jet helicopter balloon rocket eagle hawk bird owl parrot dove kite dragon ufo",
    "in the snow": "penguin skier snowboarder snowman polar",
    "on a city street": "car bus taxi truck lorry motorcycle bicycle cyclist tractor train man woman person runner",
    "on a stage": "dancer juggler clown acrobat guitar gymnast",
    "in the desert": "camel cactus",
    "in a cosy room": "kitten teddy robot donut pizza cake gift",
    "in a forest": "bear wolf deer squirrel fox mushroom fairy",
}


def expand(prompt: str) -> str:
    """Return a prompt with a place and a time of day, where it names none; equal prompts are expanded alike."""
    words = set(re.findall(r"[a-z-]+", prompt.lower()))
    parts = [prompt.strip().rstrip(".!")]
    hidden = words & _words(HIDDEN) or {"under", "water"} <= words
    if not hidden and not words & _words(" ".join(PLACES.values())):
        parts.append(_place(words, prompt))
    if not hidden and not words & _words(TIMED):
        parts.append(TIMES[_draw(prompt, len(TIMES))])
    return " ".join(parts)


def _place(words: set[str], prompt: str) -> str:
    fitting = [place for place, at_home in AT_HOME.items() if words & _words(at_home)]
    return fitting[0] if fitting else list(PLACES)[_draw(prompt, len(PLACES))]


def _draw(prompt: str, choices: int) -> int:
    return hashlib.sha256(" ".join(prompt.lower().split()).encode()).digest()[0] % choices


def _words(text: str) -> set[str]:
    return set(text.split())
