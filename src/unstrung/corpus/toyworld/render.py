"""Turn a scene graph into frames."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from unstrung.corpus.toyworld.art import Atlas, open_atlas
from unstrung.corpus.toyworld.motion import View, pose, view
from unstrung.corpus.toyworld.places import PARALLAX, PROPS, Backdrop, paint
from unstrung.corpus.toyworld.scene import Actor, Scene
from unstrung.corpus.toyworld.sprites import paste, scaled_sprite, turned
from unstrung.corpus.toyworld.vocabulary import SUBJECTS

Array = npt.NDArray[np.float32]
Video = npt.NDArray[np.uint8]  # (t, h, w, 3)
Mask = npt.NDArray[np.uint8]  # (t, h, w): how much of a pixel is an actor
MOVING_CAMERAS = frozenset({"zoom_in", "zoom_out", "shake"})
PASSING_CAMERAS = frozenset({"pan_left", "pan_right", "follow"})


def art_names() -> list[str]:
    """Return the names of all art that the renderer uses."""
    return sorted({s.art for s in SUBJECTS.values()} | set(PROPS))


class Renderer:
    """Draws scenes from an atlas. It holds no state but caches: equal scenes give equal frames."""

    def __init__(self, atlas: Atlas | None = None) -> None:
        self.atlas = atlas or open_atlas(art_names())
        self._prop = lru_cache(maxsize=4096)(self._scaled_prop)

    def render(self, scene: Scene, width: int, height: int, fps: float, num_frames: int, start: float = 0.0) -> Video:
        """Draw `num_frames` frames from `start` seconds on, as uint8 (t, h, w, 3)."""
        return self.render_with_mask(scene, width, height, fps, num_frames, start)[0]

    def render_with_mask(
        self, scene: Scene, width: int, height: int, fps: float, num_frames: int, start: float = 0.0
    ) -> tuple[Video, Mask]:
        """Draw frames and, beside them, where the actors are: uint8 (t, h, w, 3) and (t, h, w)."""
        # a camera that zooms or shakes looks at a part of a larger picture
        scale = 1.3 if scene.camera in MOVING_CAMERAS else 1.0
        w, h = round(width * scale), round(height * scale)
        backdrop = paint(scene.place, scene.time, scene.seed, w, h, self._prop, whole=scene.camera in PASSING_CAMERAS)
        particles = _Particles(scene, w, h)
        frames = np.empty((num_frames, height, width, 3), np.uint8)
        masks = np.empty((num_frames, height, width), np.uint8)
        still: Array | None = None
        for i in range(num_frames):
            seconds = start + i / fps
            camera = view(scene, seconds)
            if camera.scroll or still is None:
                still = _scrolled(backdrop, camera.scroll, w)
            canvas = np.zeros((h, w, 4), np.float32)
            canvas[..., :3] = still
            for actor in sorted(scene.actors, key=lambda a: a.depth):
                self._draw(canvas, actor, scene, backdrop, seconds, camera.scroll)
            particles.draw(canvas, seconds)
            picture = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
            if scale != 1.0:
                picture = _look(picture, camera, width, height)
            frames[i], masks[i] = picture[..., :3], picture[..., 3]
        return frames, masks

    def _scaled_prop(self, art: str, pixels: int) -> Array:
        image = scaled_sprite(self.atlas.frame(art, 0), pixels, pixels)
        return np.asarray(image, np.float32) * np.float32(1 / 255)

    def _draw(self, canvas: Array, actor: Actor, scene: Scene, backdrop: Backdrop, seconds: float, scroll: float) -> None:
        h, w = canvas.shape[:2]
        unit = min(w, h)
        subject = SUBJECTS[actor.subject]
        now = pose(actor, seconds, actor.size * unit / w, scroll)
        size = actor.size * now.scale * unit
        image = scaled_sprite(
            self.atlas.frame(subject.art, seconds + actor.phase),
            round(size / math.sqrt(now.stretch)),
            round(size * math.sqrt(now.stretch)),
        )
        x, foot = now.x * w, _foot(actor, scene, backdrop, h, size)
        if now.fall is not None:
            foot = (now.fall * (h + 2 * size)) - 0.5 * size
        elif backdrop.shadow and foot < h * 1.2 and not _airborne(actor, scene):
            _shadow(canvas, x, foot, size * (1 - 0.4 * now.lift), backdrop.shadow)
        lift = now.lift * size
        if now.fall is None:  # a jump stays in the picture
            lift = min(lift, max(0.0, foot - image.height + 0.08 * size))
        top, left = foot - image.height - lift, x - image.width / 2
        mirror = subject.facing != 0 and (actor.direction == "right") != (subject.facing > 0)
        picture, margin = turned(image, now.angle, mirror, left % 1, top % 1)
        picture[..., :3] *= np.asarray(backdrop.light, np.float32)
        paste(canvas, picture, math.floor(left) - margin, math.floor(top) - margin)


def _airborne(actor: Actor, scene: Scene) -> bool:
    if actor.action in ("fly", "float", "swim"):
        return True
    return scene.place in ("sky", "space", "underwater")


def _foot(actor: Actor, scene: Scene, backdrop: Backdrop, h: int, size: float) -> float:
    """Return the y of the actor's lower edge, in pixels."""
    if _airborne(actor, scene):
        free = max(0.0, h - size)
        return 0.04 * h + size + actor.depth * free * 0.82 if free else h / 2 + size / 2
    near = backdrop.horizon + (1 - backdrop.horizon) * (0.25 + 0.6 * actor.depth)
    return max(near * h, min(0.98 * h, size * 0.98))


def _shadow(canvas: Array, x: float, foot: float, size: float, strength: float) -> None:
    rx, ry = max(2.0, 0.36 * size), max(1.2, 0.07 * size)
    h, w = canvas.shape[:2]
    y0, y1 = max(0, int(foot - 2 * ry)), min(h, int(foot + 2 * ry) + 1)
    x0, x1 = max(0, int(x - 1.4 * rx)), min(w, int(x + 1.4 * rx) + 1)
    if y0 >= y1 or x0 >= x1:
        return
    ys = ((np.arange(y0, y1, dtype=np.float32) - foot + 0.4 * ry) / ry)[:, None]
    xs = (np.arange(x0, x1, dtype=np.float32) - x) / rx
    canvas[y0:y1, x0:x1, :3] *= (1 - strength * np.exp(-1.2 * (ys**2 + xs**2)))[..., None]


def _scrolled(backdrop: Backdrop, scroll: float, w: int) -> Array:
    """Lay the three strips over one another as the camera sees them after `scroll` widths."""
    out: Array | None = None
    for strip, parallax in zip((backdrop.sky, backdrop.far, backdrop.ground), PARALLAX, strict=True):
        offset = scroll * parallax * w
        whole = math.floor(offset)
        part = np.float32(offset - whole)
        if part > 1e-3:
            seen = strip[:, np.arange(whole, whole + w + 1) % strip.shape[1]]
            seen = seen[:, :-1] * (1 - part) + seen[:, 1:] * part
        else:
            seen = strip[:, np.arange(whole, whole + w) % strip.shape[1]] if whole else strip[:, :w]
        out = seen if out is None else out * (1 - seen[..., 3:]) + seen[..., :3]
    assert out is not None
    return out


def _look(picture: npt.NDArray[np.uint8], camera: View, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Cut out what the camera sees of the larger picture, and scale it to the frame."""
    h, w = picture.shape[:2]
    half_w, half_h = w / 2 / camera.zoom, h / 2 / camera.zoom
    cx, cy = w / 2 + camera.dx * w, h / 2 + (camera.dy + 0.06 * (camera.zoom - 1)) * h
    cx = min(max(cx, half_w), w - half_w)
    cy = min(max(cy, half_h), h - half_h)
    image = Image.frombuffer("CMYK", (w, h), picture.tobytes(), "raw", "CMYK", 0, 1)
    box = (max(0.0, cx - half_w), max(0.0, cy - half_h), min(w, cx + half_w), min(h, cy + half_h))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))


class _Particles:
    """Rain, snow or fireflies: each particle's way is a function of time."""

    def __init__(self, scene: Scene, w: int, h: int) -> None:
        self.kind, self.w, self.h = scene.weather, w, h
        count = {"clear": 0, "rain": 70, "snow": 60, "fireflies": 16}[scene.weather]
        self.p = np.random.default_rng(scene.seed + 1).uniform(0, 1, (count, 4)).astype(np.float32)
        self.k = max(1, round(min(w, h) / 96))

    def draw(self, canvas: Array, seconds: float) -> None:
        p, k = self.p, self.k
        if self.kind == "rain":
            y = (p[:, 1] + seconds * (1.5 + 0.5 * p[:, 2])) % 1
            for j in range(5 * k):
                self._dots(canvas, (p[:, 0] - 0.05 * y) % 1 * self.w - j * 0.15, y * self.h - j, (0.75, 0.83, 0.95), 0.5, 1)
        elif self.kind == "snow":
            y = (p[:, 1] + seconds * (0.16 + 0.12 * p[:, 2])) % 1
            x = (p[:, 0] + 0.03 * np.sin(2 * seconds * p[:, 3] + 6 * p[:, 2])) % 1
            self._dots(canvas, x * self.w, y * self.h, (1, 1, 1), 0.9, k + (k > 1))
        elif self.kind == "fireflies":
            x = p[:, 0] + 0.05 * np.sin(0.9 * seconds + 6 * p[:, 2])
            y = 0.3 + 0.6 * p[:, 1] + 0.05 * np.sin(0.7 * seconds + 6 * p[:, 3])
            on = 0.5 + 0.5 * np.sin(2.2 * seconds + 6 * p[:, 2])
            self._dots(canvas, x % 1 * self.w, y % 1 * self.h, (1, 0.95, 0.45), on[:, None], 2 * k)

    def _dots(
        self, canvas: Array, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating],
        colour: tuple[float, float, float], share: float | Array, size: int,
    ) -> None:  # fmt: skip
        tone = np.asarray(colour, np.float32)
        for dy in range(size):
            for dx in range(size):
                at = ((y.astype(int) + dy) % self.h, (x.astype(int) + dx) % self.w)
                canvas[(*at, slice(0, 3))] = canvas[(*at, slice(0, 3))] * (1 - share) + tone * share
