"""Where everything is at a time: smooth functions of seconds, so that any frame rate and any stretch can be drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unstrung.corpus.toyworld.scene import Actor, Scene


@dataclass(frozen=True)
class Pose:
    """How an actor stands at one moment: x in widths, lift in its own sizes, angle in degrees clockwise."""

    x: float
    lift: float = 0.0
    angle: float = 0.0
    stretch: float = 1.0  # height over width, area kept
    scale: float = 1.0
    fall: float | None = None  # where it is on its way from above the picture (0) to below it (1)


@dataclass(frozen=True)
class View:
    """The camera at one moment: how far the ground has passed (widths), the zoom, and the shake (widths)."""

    scroll: float = 0.0
    zoom: float = 1.0
    dx: float = 0.0
    dy: float = 0.0


def ease(t: float) -> float:
    """Return a smooth step from 0 to 1 for t from 0 to 1, flat at both ends."""
    t = min(1.0, max(0.0, t))
    return t * t * (3 - 2 * t)


def travel(actor: Actor, seconds: float, width: float, scroll: float = 0.0) -> float:
    """Return x in widths: across the picture, fully out at one side before it comes in at the other.

    The camera has gone `scroll` widths; who goes as fast as it does stays in the picture.
    """
    sign = -1 if actor.direction == "left" else 1
    margin = width / 2 + 0.03
    span = 1 + 2 * margin
    return (actor.x + sign * actor.speed * seconds - scroll + margin) % span - margin


def pose(actor: Actor, seconds: float, width: float, scroll: float = 0.0) -> Pose:
    """Return the pose of an actor at a time; `width` is its own in picture widths, `scroll` the camera's way."""
    x = travel(actor, seconds, width, scroll)
    t = seconds + actor.phase
    wave = math.sin(2 * math.pi * t / 3)
    match actor.action:
        case "run":
            return Pose(x, lift=0.08 * abs(math.sin(2 * math.pi * 1.4 * t)), angle=3 * math.sin(2 * math.pi * 1.4 * t))
        case "walk":
            return Pose(x, lift=0.03 * abs(math.sin(2 * math.pi * 0.9 * t)), angle=2 * math.sin(2 * math.pi * 0.9 * t))
        case "jump":
            beat = (t / 0.9) % 1
            lift = max(0.0, 4 * (beat - 0.2) * (1 - beat) / 0.64)
            return Pose(x, lift=0.4 * lift, stretch=0.9 if beat < 0.2 else 1.05)
        case "bounce":
            beat = (t / 0.8) % 1
            lift = 4 * beat * (1 - beat)
            return Pose(x, lift=0.55 * lift, stretch=1 - 0.18 * max(0.0, 1 - 5 * lift), angle=12 * wave)
        case "fly":
            return Pose(x, lift=0.12 * wave, angle=-3 * wave)
        case "float":
            return Pose(x, lift=0.16 * wave, angle=6 * math.sin(2 * math.pi * t / 4.3))
        case "swim":
            return Pose(x, lift=0.08 * wave, angle=5 * math.sin(2 * math.pi * t / 1.5))
        case "drive":
            return Pose(x, lift=0.012 * math.sin(2 * math.pi * 4 * t))
        case "roll":
            turn = actor.speed * seconds / max(width, 0.05) * 2 / math.pi * 180
            return Pose(x, angle=turn if actor.direction == "right" else -turn)
        case "spin":
            return Pose(x, lift=0.05, angle=(150 if actor.direction == "right" else -150) * t)
        case "grow":
            return Pose(x, scale=0.3 + 0.7 * ease(seconds / 4.5), angle=2 * wave)
        case "fall":
            return Pose(x, angle=40 * wave, fall=(t / 2.6) % 1)
        case _:
            return Pose(x, stretch=1 + 0.025 * math.sin(2 * math.pi * t / 1.8))


def view(scene: Scene, seconds: float) -> View:
    """Return the camera at a time."""
    main = scene.actors[0]
    match scene.camera:
        case "follow":
            return View(scroll=(-1 if main.direction == "left" else 1) * main.speed * seconds)
        case "pan_left":
            return View(scroll=-0.09 * seconds)
        case "pan_right":
            return View(scroll=0.09 * seconds)
        case "zoom_in":
            return View(zoom=1 + 0.4 * ease(seconds / 5.5))
        case "zoom_out":
            return View(zoom=1.4 - 0.4 * ease(seconds / 5.5))
        case "shake":
            t = seconds + scene.seed % 7
            dx = 0.008 * math.sin(9.1 * t) + 0.005 * math.sin(15.7 * t + 1)
            return View(zoom=1.08, dx=dx, dy=0.007 * math.sin(11.3 * t + 2))
        case _:
            return View()
