"""Read a stranger's file in a process of its own, with little memory and time, and write it anew as a file of ours.

Run as `python -m unstrung.media.vet IN OUT WORD`: writes into WORD, as JSON, what it is, or what is wrong with it. A decoder that
is led astray by what it reads dies here, and takes nothing with it; whoever comes later reads only what we wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from unstrung.errors import UnstrungError

MEMORY = 3 * 2**30  # of address space, of which libraries take about one
SECONDS = 60  # of processor time; of waiting, twice as many
MOST_PIXELS = 4096 * 4096  # of a picture
MOST_FRAME_BYTES = 2**30  # of a video, all its frames taken together

# What a file begins with says what it is; its name says nothing.
PICTURE_HEADS = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}
VIDEO_HEADS = {b"\x1aE\xdf\xa3": ".webm"}


@dataclass(frozen=True)
class Vetted:
    """What a file was found to be: its kind, and its measures in pixels and frames."""

    kind: str  # "image" or "video"
    width: int
    height: int
    num_frames: int
    fps: int


def sniff(head: bytes) -> tuple[str, str] | None:
    """Return the kind and the usual suffix of what begins with these bytes (12 will do); None for what is neither."""
    for start, suffix in PICTURE_HEADS.items():
        if head.startswith(start):
            return "image", suffix
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image", ".webp"
    if head[4:8] == b"ftyp":
        return "video", ".mp4"
    for start, suffix in VIDEO_HEADS.items():
        if head.startswith(start):
            return "video", suffix
    return None


def vet(source: Path, target: Path) -> Vetted:
    """Read a file and write it anew, a picture as PNG, a video as MP4; raise `UnstrungError` for what can't be read.

    `source` has the suffix that `sniff` says, and `target` the one of what is written.
    """
    word = target.with_name("word.json")
    command = [sys.executable, "-m", "unstrung.media.vet", str(source), str(target), str(word)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnstrungError("too_long", "file", f"The file can't be read in {2 * SECONDS} s: send something shorter.") from None
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(word.read_text())
        if done.returncode == 0:
            return Vetted(**said)
        raise UnstrungError(said["code"], "file", said["message"])
    words = "The file can't be read with the memory and the time that a file may take here: send something shorter or smaller."
    raise UnstrungError("unreadable_media", "file", words)


def main(source: Path, target: Path, word: Path) -> None:
    """Vet a file in this process; write into `word` what it is, or what is wrong with it."""
    _limit()
    from unstrung.media.codec import PICTURES, read_clip, read_picture, write_clip, write_picture

    try:
        if source.suffix in PICTURES:
            from PIL import Image

            Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # twice that is refused
            clip = read_picture(source)
            write_picture(Image.fromarray(clip.frames[0]), target)
        else:
            check_length(source)
            clip = read_clip(source)
            write_clip(clip, target)
    except UnstrungError as error:
        # the path is ours, and nothing to the sender
        word.write_text(json.dumps({"code": error.code, "message": error.message.replace(f"'{source}'", "The file")}))
        sys.exit(2)
    kind = "image" if source.suffix in PICTURES else "video"
    word.write_text(json.dumps(asdict(Vetted(kind, clip.width, clip.height, clip.num_frames, clip.fps))))


def _limit() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def check_length(source: Path, most: int = MOST_FRAME_BYTES) -> None:
    """Raise `UnstrungError` for a video that says itself that it is too much, before a frame of it is decoded."""
    import av

    from unstrung.media.codec import FORMATS

    with suppress(av.error.FFmpegError, OSError), av.open(str(source.absolute()), options={"format_whitelist": FORMATS}) as file:
        for video in file.streams.video[:1]:
            frames = video.frames or float((video.duration or 0) * (video.time_base or 0) * (video.average_rate or 24))
            size = int(frames * video.width * video.height * 3)
            if size > most:
                words = f"The video has about {int(frames)} frames of {video.width}x{video.height} pixels, which is too much."
                raise UnstrungError("too_large", "file", words)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
