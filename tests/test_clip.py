"""Clips: what they say of themselves, cutting and joining with sound, preview pictures, identity."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from unstrung.errors import InvalidRequest
from unstrung.media.clip import BACKGROUND, GAP, Clip, concat

RATE = 8000


def numbered(count: int = 12, *, width: int = 32, height: int = 24, fps: int = 12, start: int = 0) -> Clip:
    """A clip whose frame i is filled with i."""
    levels = np.arange(start, start + count, dtype=np.uint8)
    return Clip(np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)), fps)


def with_ramp(clip: Clip, channels: int = 1) -> Clip:
    """The clip with sound whose sample i is i / 1e5, so that one can see where a sample came from."""
    ramp = np.arange(round(clip.seconds * RATE), dtype=np.float32) / np.float32(1e5)
    return Clip(clip.frames, clip.fps, np.repeat(ramp[:, None], channels, axis=1), RATE)


def levels(clip: Clip) -> list[int]:
    return clip.frames[:, 0, 0, 0].tolist()


def test_a_clip_knows_its_measures() -> None:
    clip = numbered(30, width=40, height=20, fps=12)
    assert (clip.num_frames, clip.width, clip.height, clip.seconds) == (30, 40, 20, 2.5)


@pytest.mark.parametrize(
    ("frames", "audio", "rate"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), None, None),
        (np.zeros((2, 8, 8, 4), np.uint8), None, None),
        (np.zeros((0, 8, 8, 3), np.uint8), None, None),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((9, 1), np.float32), None),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 9), np.float32), RATE),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((9, 1), np.float64), RATE),
    ],
)
def test_arrays_of_another_shape_or_type_are_our_own_mistake(frames: np.ndarray, audio: np.ndarray, rate: int) -> None:
    with pytest.raises(AssertionError):
        Clip(frames, 12, audio, rate)


def test_trim_takes_frames_and_their_sound() -> None:
    clip = with_ramp(numbered(24, fps=24))
    part = clip.trim(6, 18)
    assert levels(part) == list(range(6, 18))
    assert part.audio is not None and part.sample_rate == RATE
    assert len(part.audio) == RATE // 2
    assert part.audio[0, 0] == pytest.approx(RATE / 4 / 1e5)
    assert levels(clip.trim(-3)) == [21, 22, 23]
    assert levels(clip.trim(stop=-22)) == [0, 1]
    assert levels(clip.trim()) == list(range(24))


@pytest.mark.parametrize(("start", "stop"), [(5, 5), (7, 3), (0, 13), (-13, None), (12, None), (0, -12)])
def test_trim_never_returns_less_than_was_asked_for(start: int, stop: int | None) -> None:
    with pytest.raises(InvalidRequest, match="12 frames") as caught:
        numbered(12).trim(start, stop)
    assert caught.value.field == "trim"


def test_trims_put_together_give_the_whole() -> None:
    # 7 fps do not divide 8000 samples: a rounding that is lost at a cut would show as a different length.
    clip = with_ramp(numbered(29, fps=7), channels=2)
    whole = concat(clip.trim(0, 3), clip.trim(3, 4), clip.trim(4, 20), clip.trim(20))
    assert whole.sha256() == clip.sha256()
    assert whole.audio is not None and clip.audio is not None
    assert np.array_equal(whole.audio, clip.audio[: len(whole.audio)]) and abs(len(whole.audio) - len(clip.audio)) <= 1


def test_concat_fills_silence_where_a_clip_has_no_sound() -> None:
    whole = concat(numbered(12), with_ramp(numbered(12), channels=2), with_ramp(numbered(6)), numbered(6))
    assert whole.num_frames == 36 and whole.sample_rate == RATE
    assert whole.audio is not None and whole.audio.shape == (3 * RATE, 2)
    assert not whole.audio[:RATE].any()
    assert whole.audio[RATE + 5].tolist() == pytest.approx([5e-5, 5e-5])
    assert whole.audio[2 * RATE + 5].tolist() == pytest.approx([5e-5, 5e-5])
    assert not whole.audio[2 * RATE + RATE // 2 :].any()


def test_concat_cuts_and_pads_sound_to_its_own_pictures() -> None:
    long = Clip(numbered(12).frames, 12, np.ones((2 * RATE, 1), np.float32), RATE)
    short = Clip(numbered(12).frames, 12, np.ones((RATE // 2, 1), np.float32), RATE)
    audio = concat(long, short, long).audio
    assert audio is not None and len(audio) == 3 * RATE
    assert audio[: RATE + RATE // 2].all() and not audio[RATE + RATE // 2 : 2 * RATE].any() and audio[2 * RATE :].all()


def test_concat_says_what_differs() -> None:
    with pytest.raises(InvalidRequest, match=r"size.*clip 1 has 32x24, clip 3 has 24x32"):
        concat(numbered(), numbered(), numbered(width=24, height=32))
    with pytest.raises(InvalidRequest, match=r"frame rate.*12 fps.*24 fps"):
        concat(numbered(), numbered(fps=24))
    other = Clip(numbered().frames, 12, np.zeros((10, 1), np.float32), 16000)
    with pytest.raises(InvalidRequest, match="8000 and 16000 Hz"):
        concat(with_ramp(numbered()), other)


def test_one_clip_joined_to_nothing_is_itself() -> None:
    assert concat(numbered()).sha256() == numbered().sha256()


def test_thumbnail_is_the_middle_frame() -> None:
    picture = numbered(9, width=64, height=32).thumbnail(16)
    assert picture.size == (16, 8)
    assert picture.getpixel((3, 3)) == (4, 4, 4)
    assert numbered(9).thumbnail(500).size == (32, 24)


def test_contact_sheet_reads_from_the_first_frame_to_the_last() -> None:
    sheet = numbered(101, width=32, height=18).contact_sheet(columns=4, rows=3, side=64)
    assert sheet.size == (4 * (64 + GAP) + GAP, 3 * (36 + GAP) + GAP)
    seen = [
        sheet.getpixel((GAP + column * (64 + GAP) + 32, GAP + row * (36 + GAP) + 18))[0]
        for row in range(3)
        for column in range(4)
    ]
    assert seen[0] == 0 and seen[-1] == 100
    assert {b - a for a, b in zip(seen, seen[1:], strict=False)} <= {9, 10}
    assert sheet.getpixel((GAP + 64 + GAP // 2, 20)) == BACKGROUND


@pytest.mark.parametrize(("count", "places"), [(1, (1, 1)), (2, (2, 1)), (5, (4, 2)), (12, (4, 3))])
def test_contact_sheet_of_a_short_clip_repeats_nothing(count: int, places: tuple[int, int]) -> None:
    sheet = numbered(count, width=18, height=32).contact_sheet(side=32)
    assert sheet.size == (places[0] * (18 + GAP) + GAP, places[1] * (32 + GAP) + GAP)


def test_sha256_is_of_shape_and_pixels() -> None:
    clip = numbered(12)
    by_hand = hashlib.sha256(b"12,24,32,3" + np.ascontiguousarray(clip.frames).tobytes()).hexdigest()
    assert clip.sha256() == by_hand == clip.trim(0, 12).sha256()
    assert Clip(clip.frames[::-1], 12).sha256() != by_hand
    assert Clip(np.zeros((1, 4, 8, 3), np.uint8), 1).sha256() != Clip(np.zeros((1, 8, 4, 3), np.uint8), 1).sha256()


def test_the_modules_import_neither_pyav_nor_pillow() -> None:
    code = "import sys, unstrung.media.codec; sys.exit(any(m in sys.modules for m in ('av', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
