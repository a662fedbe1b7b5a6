"""The endless stream: a training sample is a function of its number, so a run can go on exactly where it stopped."""

from __future__ import annotations

import random
from dataclasses import dataclass

from unstrung.corpus.toyworld.captions import caption
from unstrung.corpus.toyworld.motion import pose, view
from unstrung.corpus.toyworld.render import Mask, Renderer, Video
from unstrung.corpus.toyworld.scene import Scene, sample_scene

CLIP_SECONDS = 8.0


@dataclass(frozen=True)
class Sample:
    """A captioned window of a scene."""

    scene: Scene
    start: float
    caption: str
    frames: Video
    mask: Mask


def draw(renderer: Renderer, number: int, width: int, height: int, fps: float, num_frames: int, held_out: bool = False) -> Sample:
    """Draw sample `number`: its scene, a window of it in which its first actor can be seen, and a caption."""
    scene = sample_scene(number, held_out)
    rng = random.Random(f"window {number}")
    # what comes to an end is shown before it has
    ends = scene.camera in ("zoom_in", "zoom_out") or scene.actors[0].action == "grow"
    latest = 3.0 if ends else CLIP_SECONDS
    for _ in range(8):
        start = 0.0 if rng.random() < 0.2 else rng.uniform(0, latest)
        if _visible(scene, start + num_frames / fps / 2, width, height):
            break
    frames, mask = renderer.render_with_mask(scene, width, height, fps, num_frames, start)
    return Sample(scene, start, caption(scene, number), frames, mask)


def _visible(scene: Scene, seconds: float, width: int, height: int) -> bool:
    actor = scene.actors[0]
    now = pose(actor, seconds, actor.size * min(width, height) / width, view(scene, seconds).scroll)
    return 0.08 < now.x < 0.92 and (now.fall is None or 0.15 < now.fall < 0.8)
