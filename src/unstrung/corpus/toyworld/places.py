"""The places of the toy world: painted once a clip as three strips (sky, far, ground) that pass at their own speed.

A strip is twice as wide as the picture and joins at its ends, so a camera may travel for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unstrung.corpus.toyworld.sprites import paste

Array = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
PARALLAX = (0.12, 0.4, 1.0)  # sky, far, ground

PROPS = (
    "1f332", "1f333", "1f334", "1f335", "1f344", "1f33c", "1f337", "1f3e0", "1f3e1", "1f3e2", "1f3ec", "1f3e8", "1f3e6",
    "1fab4", "1f5bc-fe0f", "1f3d4-fe0f", "26f0-fe0f", "26f1-fe0f", "1fab8", "1f41a", "1fae7",
    "2601-fe0f", "1fa90", "2b50", "1f30d", "1f311", "1fad6", "1faa8", "1f490",
)  # fmt: skip


@dataclass(frozen=True)
class Backdrop:
    """A painted place: strips (h, 2w, 3 or 4) with premultiplied alpha, and where the ground begins (0 top, 1 bottom)."""

    sky: Array
    far: Array
    ground: Array
    horizon: float
    light: Colour  # what actors' colours are multiplied with
    shadow: float


class Painter:
    """Paints one place at one size and time of day. `sprite(art, pixels)` gives a premultiplied picture."""

    def __init__(self, width: int, height: int, time: str, seed: int, sprite: Callable[[str, int], Array], seen: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.h, self.w, self.period = height, width, 2 * width
        self.unit = min(width, height)
        self.time = time
        self.sprite = sprite
        self.sky = np.zeros((height, seen, 3), np.float32)
        self.far = np.zeros((height, seen, 4), np.float32)
        self.ground = np.zeros((height, seen, 4), np.float32)
        self.x = np.arange(seen, dtype=np.float32)
        self.y = np.arange(height, dtype=np.float32)[:, None]

    def jitter(self, colour: Colour, amount: float = 0.035) -> Array:
        """Return a colour a little off, so that no two places are quite the same."""
        return np.clip(np.asarray(colour, np.float32) + self.rng.uniform(-amount, amount, 3), 0, 1).astype(np.float32)

    def outdoor_sky(self, horizon: float = 0.6) -> None:
        """Paint the sky of the time of day, with its sun, or its moon and stars."""
        top, bottom = SKIES[self.time]
        self.gradient(self.jitter(top), self.jitter(bottom), horizon)
        if self.time == "night":
            self.stars(50, 0.55)
            self.disc(0.09, (0.98, 0.96, 0.84), 0.25)
        elif self.time == "sunset":
            self.disc(0.13, (1.0, 0.82, 0.45), horizon * self.rng.uniform(0.62, 0.85))
        else:
            self.disc(0.1, (1.0, 0.93, 0.5), 0.2)

    def gradient(self, top: Array, bottom: Array, end: float = 1.0) -> None:
        """Paint the sky from one colour at the top to another at `end` (in heights)."""
        share = np.clip(self.y / (self.h * end), 0, 1)[..., None]
        self.sky[:] = top * (1 - share) + bottom * share

    def stars(self, count: int, low: float, bright: float = 1.0) -> None:
        """Paint stars into the sky, down to `low` (in heights)."""
        ys = self.rng.integers(0, max(2, int(self.h * low)), count)
        xs = self.rng.integers(0, self.period, count)
        k = max(1, round(self.unit / 96))
        values = self.rng.uniform(0.35, 1, (count, 1)).astype(np.float32) * bright
        for dy in range(k):
            for dx in range(k):
                columns = (xs + dx) % self.period
                seen = columns < len(self.x)
                at = (np.minimum(ys + dy, self.h - 1)[seen], columns[seen])
                self.sky[at] = np.maximum(self.sky[at], values[seen])

    def disc(self, radius: float, colour: Colour, height: float) -> None:
        """Paint sun or moon into the sky, with a soft glow."""
        cx = self.rng.uniform(0.1, 0.9) * self.w
        dx = np.abs(self.x - cx)
        distance = np.hypot(np.minimum(dx, self.period - dx), self.y - height * self.h)
        r = radius * self.unit
        solid = np.clip(r - distance + 0.5, 0, 1)[..., None]
        glow = 0.35 * np.exp(-np.maximum(distance - r, 0) / (r * 0.8))[..., None]
        share = np.maximum(solid, glow)
        self.sky[:] = self.sky * (1 - share) + np.asarray(colour, np.float32) * share

    def ridge(self, strip: Array, base: float, height: float, colour: Colour, sharp: bool = False, dark: float = 0.25) -> None:
        """Fill below a wavy (or jagged) line that joins at the strip's ends."""
        line = np.zeros_like(self.x)
        for k in range(1, 6):
            phase, size = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.4, 1) / k
            wave = 2 * np.pi * k * self.x / self.period + phase
            line += size * ((2 / np.pi) * np.arcsin(np.sin(wave)) if sharp else np.sin(wave))
        edge = (base - height * line / 1.6) * self.h
        cover = np.clip(self.y - edge + 0.5, 0, 1)[..., None]
        shade = 1 - dark * np.clip((self.y - edge) / (self.h * 0.5), 0, 1)[..., None]
        tone = self.jitter(colour) * np.asarray(SHADES[self.time], np.float32)
        strip[..., :3] = strip[..., :3] * (1 - cover) + tone * shade * cover
        strip[..., 3:] = strip[..., 3:] * (1 - cover) + cover

    def floor(self, horizon: float, near: Colour, far: Colour, lit: bool = False) -> None:
        """Fill the ground below the horizon, from its far to its near colour."""
        share = np.clip((self.y / self.h - horizon) / (1 - horizon), 0, 1)[..., None]
        tone = self.jitter(far) * (1 - share) + self.jitter(near) * share
        if not lit:
            tone = tone * np.asarray(SHADES[self.time], np.float32)
        cover = np.broadcast_to(np.clip(self.y - horizon * self.h + 0.5, 0, 1)[..., None], (*self.ground.shape[:2], 1))
        self.ground[..., :3] = tone * cover
        self.ground[..., 3:] = cover

    def speckle(self, horizon: float, count: int, colour: Colour, amount: float = 0.5) -> None:
        """Strew small marks over the ground, smaller towards the horizon."""
        start = int(self.h * horizon) + 1
        ys = (start + (self.h - start) * self.rng.uniform(0, 1, count) ** 0.7).astype(int)
        xs = self.rng.integers(0, self.period, count)
        tone = np.asarray(colour, np.float32) * np.asarray(SHADES[self.time], np.float32)
        for y, x in zip(np.minimum(ys, self.h - 1), xs, strict=True):
            size = max(1, round(self.unit / 60 * (y - start) / max(1, self.h - start)))
            span = np.arange(x, x + 2 * size) % self.period
            span = span[span < len(self.x)]
            self.ground[y : y + max(1, size // 2), span, :3] *= 1 - amount
            self.ground[y : y + max(1, size // 2), span, :3] += tone * amount

    def prop(self, strip: Array, art: str, x: float, foot: float, size: float, fade: float = 0.0, lit: bool = False) -> None:
        """Stand a picture on the ground: x in widths, foot in heights, size in units."""
        pixels = max(3, round(size * self.unit))
        picture = self.sprite(art, pixels).copy()
        picture[..., :3] *= np.ones(3, np.float32) if lit else np.asarray(LIGHTS[self.time], np.float32)
        if fade:
            haze = np.asarray(SKIES[self.time][1], np.float32)
            picture[..., :3] = picture[..., :3] * (1 - fade) + haze * picture[..., 3:] * fade
        left, top = round(x * self.w - pixels / 2), round(foot * self.h - pixels)
        for shift in (0, -self.period, self.period):
            paste(strip, picture, left + shift, top)

    def row(
        self, strip: Array, arts: tuple[str, ...], foot: float, size: tuple[float, float], gap: float, fade: float = 0.0
    ) -> None:
        """Stand many pictures side by side, round the whole strip; the gap is in widths."""
        count = max(2, round(2 / gap))
        for i in range(count):
            x = (i + self.rng.uniform(-0.3, 0.3)) * 2 / count
            self.prop(strip, str(self.rng.choice(arts)), x, foot + self.rng.uniform(-0.01, 0.015), self.rng.uniform(*size), fade)

    def clouds(self, count: int, low: float = 0.4, size: tuple[float, float] = (0.2, 0.42)) -> None:
        """Hang clouds into the far strip, their lower edges no lower than `low`."""
        for _ in range(count):
            self.prop(self.far, "2601-fe0f", self.rng.uniform(0, 2), self.rng.uniform(0.15, low), self.rng.uniform(*size), 0.15)

    def wall(self, top: Colour, bottom: Colour) -> None:
        """Paint a wall where outdoors the sky would be, in the light of the time of day."""
        shade = np.asarray(LIGHTS[self.time], np.float32)
        self.gradient(self.jitter(top) * shade, self.jitter(bottom) * shade)


SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((0.33, 0.64, 0.95), (0.8, 0.92, 1.0)),
    "sunset": ((0.42, 0.3, 0.55), (1.0, 0.62, 0.35)),
    "night": ((0.02, 0.03, 0.12), (0.1, 0.12, 0.3)),
}
SHADES: dict[str, Colour] = {"day": (1, 1, 1), "sunset": (0.92, 0.68, 0.58), "night": (0.26, 0.3, 0.5)}
LIGHTS: dict[str, Colour] = {"day": (1, 1, 1), "sunset": (1.0, 0.86, 0.76), "night": (0.66, 0.7, 0.92)}


def _meadow(p: Painter) -> float:
    p.outdoor_sky()
    p.clouds(3)
    p.ridge(p.far, 0.58, 0.07, (0.45, 0.72, 0.42))
    p.floor(0.6, (0.3, 0.62, 0.2), (0.5, 0.78, 0.32))
    p.speckle(0.6, 60, (0.2, 0.5, 0.15))
    p.row(p.far, ("1f333",), 0.62, (0.12, 0.2), 0.5, 0.15)
    p.row(p.ground, ("1f33c", "1f337"), 0.72, (0.06, 0.1), 0.45)
    return 0.6


def _forest(p: Painter) -> float:
    p.outdoor_sky(0.5)
    p.ridge(p.far, 0.42, 0.05, (0.2, 0.42, 0.25))
    p.row(p.far, ("1f332", "1f333"), 0.62, (0.4, 0.6), 0.17, 0.12)
    p.floor(0.6, (0.22, 0.4, 0.16), (0.25, 0.45, 0.2))
    p.speckle(0.6, 60, (0.32, 0.26, 0.12))
    p.row(p.ground, ("1f332",), 0.66, (0.55, 0.8), 0.4)
    p.row(p.ground, ("1f344", "1faa8"), 0.74, (0.06, 0.1), 0.8)
    return 0.62


def _beach(p: Painter) -> float:
    p.outdoor_sky(0.5)
    p.clouds(2, 0.3)
    _water_band(p, 0.48, 0.64)
    p.floor(0.62, (0.96, 0.86, 0.62), (0.93, 0.79, 0.52))
    p.speckle(0.62, 50, (0.8, 0.66, 0.42), 0.35)
    p.row(p.ground, ("1f334",), 0.68, (0.5, 0.72), 0.9)
    p.row(p.ground, ("26f1-fe0f", "1f41a"), 0.74, (0.12, 0.2), 0.9)
    return 0.62


def _water_band(p: Painter, top: float, bottom: float) -> None:
    rows = slice(int(top * p.h), int(bottom * p.h) + 1)
    shade = np.asarray(SHADES[p.time], np.float32)
    p.far[rows, :, :3] = p.jitter((0.12, 0.5, 0.78)) * shade
    p.far[rows, :, 3] = 1


def _snow(p: Painter) -> float:
    p.outdoor_sky()
    p.ridge(p.far, 0.55, 0.09, (0.8, 0.88, 0.97), dark=0.1)
    p.row(p.far, ("1f332",), 0.62, (0.16, 0.28), 0.3, 0.35)
    p.floor(0.6, (0.97, 0.98, 1.0), (0.86, 0.92, 0.99))
    p.speckle(0.6, 40, (0.78, 0.86, 0.96), 0.5)
    p.row(p.ground, ("1f332",), 0.66, (0.3, 0.45), 0.9, 0.1)
    return 0.6


def _mountains(p: Painter) -> float:
    p.outdoor_sky()
    p.ridge(p.far, 0.42, 0.2, (0.62, 0.66, 0.78), sharp=True)
    p.row(p.far, ("1f3d4-fe0f", "26f0-fe0f"), 0.64, (0.5, 0.72), 0.42, 0.15)
    p.floor(0.62, (0.42, 0.5, 0.32), (0.5, 0.58, 0.42))
    p.speckle(0.62, 40, (0.45, 0.43, 0.4))
    p.row(p.ground, ("1faa8",), 0.7, (0.08, 0.15), 0.6)
    return 0.62


def _desert(p: Painter) -> float:
    p.outdoor_sky()
    p.ridge(p.far, 0.56, 0.1, (0.9, 0.66, 0.36))
    p.floor(0.6, (0.93, 0.72, 0.4), (0.88, 0.62, 0.34))
    p.speckle(0.6, 40, (0.78, 0.54, 0.28), 0.4)
    p.row(p.ground, ("1f335",), 0.66, (0.22, 0.4), 0.7)
    return 0.6


def _city(p: Painter) -> float:
    p.outdoor_sky()
    p.row(p.far, ("1f3e2", "1f3ec", "1f3e8", "1f3e6"), 0.62, (0.4, 0.6), 0.22, 0.22)
    p.floor(0.6, (0.34, 0.35, 0.4), (0.4, 0.41, 0.46))
    p.row(p.ground, ("1f3e2", "1f3ec", "1f3e8"), 0.64, (0.5, 0.66), 0.55)
    _road_marks(p, 0.82)
    return 0.66


def _road_marks(p: Painter, at: float) -> None:
    rows = slice(int(at * p.h), int(at * p.h) + max(1, round(p.unit / 40)))
    on = ((np.arange(len(p.x)) * 8 // p.w) % 2 == 0)[None, :, None]
    white = np.asarray(SHADES[p.time], np.float32) * np.float32(0.92)
    p.ground[rows, :, :3] = np.where(on, white, p.ground[rows, :, :3])


def _driveway(p: Painter) -> float:
    p.outdoor_sky()
    p.clouds(2)
    p.ridge(p.far, 0.6, 0.03, (0.36, 0.62, 0.3))
    p.floor(0.62, (0.68, 0.68, 0.7), (0.6, 0.6, 0.63))
    rows = slice(int(0.62 * p.h), int(0.68 * p.h))
    p.ground[rows, :, :3] = p.jitter((0.36, 0.66, 0.27)) * np.asarray(SHADES[p.time], np.float32)
    for i in range(2):
        p.prop(p.ground, str(p.rng.choice(("1f3e0", "1f3e1"))), i + p.rng.uniform(0.2, 0.4), 0.66, p.rng.uniform(0.5, 0.62))
        p.prop(p.ground, "1f334", i + p.rng.uniform(0.65, 0.9), 0.67, p.rng.uniform(0.4, 0.6))
    return 0.64


def _sea(p: Painter) -> float:
    p.outdoor_sky(0.5)
    p.clouds(3, 0.32)
    p.floor(0.5, (0.05, 0.32, 0.62), (0.25, 0.6, 0.85))
    for k in range(7):
        y = 0.52 + 0.47 * (k / 7) ** 1.3
        wave = np.sin(2 * np.pi * (6 + 2 * k) * p.x / p.period + p.rng.uniform(0, 6))
        row = np.clip((y * p.h + wave * p.unit * 0.008).astype(int), 0, p.h - 1)
        p.ground[row, np.arange(len(p.x)), :3] += 0.12 * np.asarray(SHADES[p.time], np.float32)
    return 0.52


def _underwater(p: Painter) -> float:
    shade = np.asarray(LIGHTS[p.time], np.float32) * (0.55 if p.time == "night" else 1)
    p.gradient(p.jitter((0.2, 0.68, 0.86)) * shade, p.jitter((0.02, 0.22, 0.48)) * shade)
    p.ridge(p.far, 0.86, 0.06, (0.1, 0.35, 0.5))
    p.floor(0.86, (0.75, 0.7, 0.5), (0.5, 0.58, 0.5))
    p.row(p.ground, ("1fab8", "1f41a", "1faa8"), 0.92, (0.14, 0.28), 0.35)
    for _ in range(7):
        p.prop(p.far, "1fae7", p.rng.uniform(0, 2), p.rng.uniform(0.2, 0.8), p.rng.uniform(0.05, 0.1), 0.2)
    return 0.88


def _space(p: Painter) -> float:
    p.gradient(p.jitter((0.02, 0.01, 0.07)), p.jitter((0.09, 0.04, 0.17)))
    p.stars(120, 1.0)
    art = str(p.rng.choice(("1f30d", "1f311", "1fa90")))
    p.prop(p.far, art, p.rng.uniform(0.1, 0.9), p.rng.uniform(0.35, 0.95), p.rng.uniform(0.18, 0.36), lit=True)
    p.prop(p.far, "2b50", p.rng.uniform(1.1, 1.9), p.rng.uniform(0.3, 0.8), 0.1, lit=True)
    return 1.0


def _sky(p: Painter) -> float:
    p.outdoor_sky(1.0)
    p.clouds(5, 0.95, (0.25, 0.55))
    for _ in range(4):
        p.prop(p.ground, "2601-fe0f", p.rng.uniform(0, 2), p.rng.uniform(0.95, 1.15), p.rng.uniform(0.35, 0.6))
    return 1.0


def _bedroom(p: Painter) -> float:
    walls = ((0.72, 0.82, 0.9), (0.9, 0.8, 0.82), (0.8, 0.88, 0.78), (0.92, 0.86, 0.74))
    wall = walls[p.rng.integers(len(walls))]
    p.wall(wall, wall)
    shade = np.asarray(LIGHTS[p.time], np.float32)
    _window(p)
    p.floor(0.66, (0.66, 0.46, 0.32), (0.56, 0.38, 0.26))
    p.ground[..., :3] *= np.where(p.ground[..., 3:] > 0, shade / np.asarray(SHADES[p.time], np.float32), 1) * 0.9
    p.prop(p.ground, "1fab4", p.rng.uniform(0.05, 0.2), 0.72, 0.3)
    p.prop(p.ground, "1f5bc-fe0f", p.rng.uniform(0.75, 0.9), 0.45, 0.22)
    # the pillow: a broad, soft, cream-coloured cushion across the front
    for centre in (0.5, 1.5):
        dx = np.abs(p.x - centre * p.w)
        dx = np.minimum(dx, p.period - dx) / (0.46 * p.w)
        dy = np.abs(p.y / p.h - 0.84) / 0.17
        inside = (dx**3.2 + dy**2.6)[..., None]
        cover = np.clip((1 - inside) * 8, 0, 1)
        tone = np.asarray((1.0, 0.95, 0.82), np.float32) * shade * (0.8 + 0.2 * np.clip(1 - inside, 0, 1))
        p.ground[..., :3] = p.ground[..., :3] * (1 - cover) + tone * cover
        p.ground[..., 3:] = np.maximum(p.ground[..., 3:], cover)
    return 0.7


def _window(p: Painter) -> None:
    """A window in the wall shows the time of day."""
    x, size = p.rng.uniform(0.3, 0.6) * p.w, 0.34 * p.unit
    rows, cols = slice(int(0.1 * p.h), int(0.1 * p.h + size)), slice(int(x), int(x + size))
    frame = max(1, round(p.unit / 48))
    p.sky[rows, cols] = np.asarray((0.98, 0.98, 0.96), np.float32) * np.asarray(LIGHTS[p.time], np.float32)
    inner = p.sky[rows, cols][frame:-frame, frame:-frame]
    share = np.linspace(0, 1, inner.shape[0], dtype=np.float32)[:, None, None]
    inner[:] = np.asarray(SKIES[p.time][0], np.float32) * (1 - share) + np.asarray(SKIES[p.time][1], np.float32) * share
    middle = inner.shape[1] // 2
    inner[:, middle : middle + frame] = 0.95 * np.asarray(LIGHTS[p.time], np.float32)


def _stage(p: Painter) -> float:
    p.wall((0.3, 0.06, 0.1), (0.45, 0.08, 0.12))
    fold = 0.78 + 0.22 * np.sin(2 * np.pi * 14 * p.x / p.period + p.rng.uniform(0, 6))
    p.sky *= fold[None, :, None]
    p.floor(0.7, (0.6, 0.4, 0.24), (0.46, 0.3, 0.18), lit=True)
    p.ground[..., :3] *= np.asarray(LIGHTS[p.time], np.float32)
    for centre in (0.5, 1.5):  # two spotlights a strip
        dx = np.abs(p.x - centre * p.w)
        spread = (0.08 + 0.3 * p.y / p.h) * p.w
        beam = np.clip(1 - np.minimum(dx, p.period - dx) / spread, 0, 1)[..., None] * 0.5
        p.sky += beam * np.asarray((0.55, 0.5, 0.35), np.float32)
        p.ground[..., :3] += beam * np.asarray((0.5, 0.45, 0.3), np.float32) * p.ground[..., 3:]
    return 0.72


def _kitchen(p: Painter) -> float:
    tiles = ((0.82, 0.92, 0.9), (0.95, 0.92, 0.82), (0.82, 0.87, 0.95))
    tone = tiles[p.rng.integers(len(tiles))]
    p.wall(tone, tone)
    step = max(4, round(p.unit / 6))
    lines = (np.arange(p.h)[:, None] % step == 0) | (np.arange(len(p.x))[None] % step == 0)
    p.sky *= np.where(lines, 0.86, 1)[..., None].astype(np.float32)
    _window(p)
    p.floor(0.64, (0.78, 0.52, 0.3), (0.66, 0.42, 0.24), lit=True)
    p.ground[..., :3] *= np.asarray(LIGHTS[p.time], np.float32)
    grain = 1 - 0.06 * (np.sin(p.y / p.h * 90) > 0.3)
    p.ground[..., :3] *= grain[..., None]
    p.prop(p.ground, "1fad6", p.rng.uniform(0.05, 0.2), 0.72, 0.2)
    p.prop(p.ground, "1f490", p.rng.uniform(0.8, 0.95), 0.72, 0.26)
    return 0.68


PAINTERS: dict[str, Callable[[Painter], float]] = {
    "meadow": _meadow, "forest": _forest, "beach": _beach, "snow": _snow, "mountains": _mountains, "desert": _desert,
    "city": _city, "driveway": _driveway, "sea": _sea, "underwater": _underwater, "space": _space, "sky": _sky,
    "bedroom": _bedroom, "stage": _stage, "kitchen": _kitchen,
}  # fmt: skip


def paint(
    place: str, time: str, seed: int, width: int, height: int, sprite: Callable[[str, int], Array], whole: bool = True
) -> Backdrop:
    """Paint a place: the same place, time, seed and size give the same picture.

    For a camera that stays, what it sees is enough: without `whole` only the first half of each strip is painted.
    """
    painter = Painter(width, height, time, seed, sprite, seen=2 * width if whole else width)
    horizon = PAINTERS[place](painter)
    light = LIGHTS[time] if place != "space" else (0.95, 0.95, 1.0)
    shadow = 0.0 if place in ("space", "sky", "underwater") else 0.38
    return Backdrop(painter.sky, painter.far, painter.ground, horizon, light, shadow)
