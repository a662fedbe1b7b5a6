"""A clip in memory: pictures, their rate, and sound where there is some."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unstrung.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL import Image

BACKGROUND = (20, 20, 22)
GAP = 6  # pixels between the pictures of a contact sheet

Frames = npt.NDArray[np.uint8]
Audio = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Clip:
    """Hold frames uint8 (t, h, w, 3) in sRGB at `fps`, and audio float32 (samples, channels) in -1..1 at `sample_rate`.

    Sound has one channel or two and starts with the first frame; where it ends before the pictures do, silence follows.
    """

    frames: Frames
    fps: int
    audio: Audio | None = None
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        frames, audio = self.frames, self.audio
        assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3 and frames.size, frames.shape
        assert self.fps >= 1, self.fps
        assert (audio is None) == (self.sample_rate is None), "audio and sample_rate come together"
        assert audio is None or (audio.dtype == np.float32 and audio.ndim == 2 and audio.shape[1] in (1, 2))

    @property
    def num_frames(self) -> int:
        """Return the number of frames, at least 1."""
        return int(self.frames.shape[0])

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return int(self.frames.shape[1])

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return int(self.frames.shape[2])

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return self.num_frames / self.fps

    def sample_at(self, frame: int) -> int:
        """Return the index of the sample that sounds when a frame appears; 0 for a silent clip."""
        return round(frame * (self.sample_rate or 0) / self.fps)

    def trim(self, start: int = 0, stop: int | None = None) -> Clip:
        """Return frames `start` up to, not including, `stop`, with their sound; negative ones count from the end.

        Raises `InvalidRequest` where that leaves nothing or reaches beyond the clip. Pixels are shared, not copied.
        """
        count = self.num_frames
        first = start + count if start < 0 else start
        last = count if stop is None else stop + count if stop < 0 else stop
        if not 0 <= first < last <= count:
            asked = f"{start}:{'' if stop is None else stop}"
            raise InvalidRequest("trim", f"trim is {asked}; it must be start:stop within the clip's {count} frames.")
        audio = None if self.audio is None else self.audio[self.sample_at(first) : self.sample_at(last)]
        return replace(self, frames=self.frames[first:last], audio=audio)

    def at_rate(self, fps: int) -> Clip:
        """Return the clip at another frame rate, each moment with the frame that was seen then; sound stays."""
        if fps == self.fps:
            return self
        count = max(1, round(self.num_frames * fps / self.fps))
        shown = np.minimum(np.arange(count) * self.fps // fps, self.num_frames - 1)
        return replace(self, frames=self.frames[shown], fps=fps)

    def cover(self, width: int, height: int) -> Clip:
        """Return the clip at another size in pixels: scaled until it covers that, and cut evenly at the sides."""
        from PIL import Image

        if (width, height) == (self.width, self.height):
            return self
        scale = max(width / self.width, height / self.height)
        seen_w, seen_h = width / scale, height / scale
        left, top = (self.width - seen_w) / 2, (self.height - seen_h) / 2
        box = (left, top, left + seen_w, top + seen_h)
        frames = np.empty((self.num_frames, height, width, 3), np.uint8)
        for out, frame in zip(frames, self.frames, strict=True):
            out[:] = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS, box=box))
        return replace(self, frames=frames)

    def thumbnail(self, side: int = 256) -> Image.Image:
        """Return the middle frame as a picture of at most `side` pixels a side."""
        from PIL import Image

        picture = Image.fromarray(self.frames[self.num_frames // 2])
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture

    def contact_sheet(self, columns: int = 4, rows: int = 3, side: int = 320) -> Image.Image:
        """Return evenly spaced frames, first and last among them, on one picture, to be read row by row.

        A frame's longer side is `side` pixels. A clip with fewer frames than places shows each of them once.
        """
        from PIL import Image

        shown = min(self.num_frames, columns * rows)
        columns = min(columns, shown)
        rows = -(-shown // columns)
        scale = side / max(self.width, self.height)
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), BACKGROUND)
        for place, index in enumerate(np.linspace(0, self.num_frames - 1, shown).round().astype(int)):
            picture = Image.fromarray(self.frames[index]).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (GAP + place % columns * (width + GAP), GAP + place // columns * (height + GAP)))
        return sheet

    def sha256(self) -> str:
        """Return the SHA-256, in hexadecimal, of the text "t,h,w,3" and then the bytes of the frames in that order.

        Equal digests mean identical frames; rate and sound do not count.
        """
        digest = hashlib.sha256(",".join(map(str, self.frames.shape)).encode())
        for frame in self.frames:
            digest.update(np.ascontiguousarray(frame).data)
        return digest.hexdigest()


def concat(first: Clip, *others: Clip) -> Clip:
    """Return the clips one after another; a silent one among sounding ones stays silent.

    Raises `InvalidRequest` that says what differs where sizes, frame rates or sample rates are not equal.
    """
    clips = (first, *others)
    for number, clip in enumerate(others, 2):
        for what, here, there in (
            ("size", f"{first.width}x{first.height}", f"{clip.width}x{clip.height}"),
            ("frame rate", f"{first.fps} fps", f"{clip.fps} fps"),
        ):
            if here != there:
                raise InvalidRequest("clips", f"Clips differ in {what}: clip 1 has {here}, clip {number} has {there}.")
    frames = np.concatenate([clip.frames for clip in clips])
    rates = sorted({clip.sample_rate for clip in clips if clip.sample_rate})
    if not rates:
        return Clip(frames, first.fps)
    if len(rates) > 1:
        raise InvalidRequest("clips", f"Clips differ in sample rate: {' and '.join(map(str, rates))} Hz.")
    whole = Clip(frames, first.fps, np.zeros((0, 1), np.float32), rates[0])
    channels = max(clip.audio.shape[1] for clip in clips if clip.audio is not None)
    audio = np.zeros((whole.sample_at(len(frames)), channels), np.float32)
    frame = 0
    for clip in clips:
        # Places are counted from the start of the whole, so that roundings never add up to a drift.
        start, stop = whole.sample_at(frame), whole.sample_at(frame + clip.num_frames)
        if clip.audio is not None:
            sound = clip.audio[: stop - start]
            audio[start : start + len(sound)] = sound  # one channel spreads over two
        frame += clip.num_frames
    return replace(whole, audio=audio)
