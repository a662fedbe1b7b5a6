"""The toy world's art: fetch it from its packages, check it, and keep it as one array of frames.

All art is Microsoft's Fluent emoji, MIT licensed, as packed for npm by LobeHub. It is needed to train, never to
generate, and is kept in the user's cache, not in this repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from unstrung.errors import UnstrungError

# name, version, the registry's own integrity hash of the packed archive
PACKAGES = (
    (
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
    (
        "@lobehub/fluent-emoji-anim-1",
        "1.0.0",
        "/4m31vAuZEQ4aUJ5pxcOU5PVkuJya55GRxUZL7+zgLlxZXpzzE8jPqpDyhZICE3n47nS/Y9M5/vLdizi8201QA==",
    ),
    (
        "@lobehub/fluent-emoji-anim-2",
        "1.0.0",
        "S6yzf0RZXrQbXdxCWuHA9BAoLdBRk2flX+ne4TPGEH/qApwisCAKHoAAGjKSlTY3OVeZ9b7t/NEbmpjawnQYJA==",
    ),
    (
        "@lobehub/fluent-emoji-anim-3",
        "1.0.0",
        "UzRSUDMjdfdt9vER5bhjHkPqgc3EEgfGtYs6ndvizOTvQOxYQ57ow2RTkWSDZxwW30X4EYBi2eWTS7CXDDoFsg==",
    ),
    (
        "@lobehub/fluent-emoji-anim-4",
        "1.0.0",
        "IIkl5ztSd1HrzvIDt/uGsFoC1WODXRdYq5uROrnkyqi9DbToEcJ1nlY86PnoUXeFS9nBCnHfiYk3ouSEGThFmA==",
    ),
)
ANIMATION_FPS = 24
Frames = npt.NDArray[np.uint8]  # (n, size, size, 4), colour already multiplied by alpha


def cache_dir() -> Path:
    """Return the folder for what can be fetched again: `$UNSTRUNG_CACHE`, or the system's place for caches."""
    if given := os.environ.get("UNSTRUNG_CACHE"):
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("unstrung", appauthor=False)


def fetch(folder: Path | None = None, say: Callable[[str], None] = lambda text: None, stills_only: bool = False) -> Path:
    """Fetch the art packages with `npm pack` into `folder` (default: the cache) and return that folder.

    What is already there is left alone. The stills alone (16 MB) make a world in which nothing but poses moves.
    Raises `UnstrungError` where npm is missing, fails, or an archive is not the
    one that this version was trained on.
    """
    folder = folder or cache_dir() / "toyworld"
    for name, version, integrity in PACKAGES[: 1 if stills_only else None]:
        target = folder / f"{name.split('/')[1]}-{version}"
        if target.is_dir():
            continue
        say(f"fetching {name} {version}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            archive = _npm_pack(f"{name}@{version}", Path(temporary))
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if digest != integrity:
                raise UnstrungError("art_changed", None, f"{name} {version} is not the archive this version knows.")
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            try:
                (Path(temporary) / "package" / "assets").rename(target)
            except OSError:
                if not target.is_dir():  # else somebody else was sooner
                    raise
    return folder


def _npm_pack(spec: str, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UnstrungError("npm_missing", None, "The art comes as npm packages: install Node.js (npm), then try again.")
    done = subprocess.run([npm, "pack", spec, "--silent"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise UnstrungError("fetch_failed", None, f"npm pack {spec} failed: {done.stderr.strip()[-300:]}")
    return next(folder.glob("*.tgz"))


@dataclass(frozen=True)
class Atlas:
    """All frames of all art that the vocabulary names, as one memory-mapped array."""

    frames: Frames  # (total, size, size, 4)
    index: dict[str, tuple[int, int]]  # art name -> first frame, number of frames

    @property
    def size(self) -> int:
        """Return the side of its pictures, in pixels."""
        return int(self.frames.shape[1])

    def frame(self, art: str, seconds: float) -> Frames:
        """Return the picture of `art` at a time, (size, size, 4); animations loop."""
        start, count = self.index[art]
        picture: Frames = self.frames[start + int(seconds * ANIMATION_FPS) % count]
        return picture


def open_atlas(names: Iterable[str], size: int = 128, folder: Path | None = None) -> Atlas:
    """Open the atlas of `names` at `size` pixels, building it on first use (half a minute).

    Raises `UnstrungError` where the art has not been fetched.
    """
    folder = folder or cache_dir() / "toyworld"
    wanted = sorted(set(names))
    packages = sorted(path.name for path in folder.glob("fluent-emoji-*"))
    key = hashlib.sha256(json.dumps([wanted, size, packages, _RECIPE]).encode()).hexdigest()[:12]
    path = folder / f"atlas-{size}-{key}.npy"
    index_path = path.with_suffix(".json")
    if not index_path.exists():
        _build(wanted, size, folder, path, index_path)
    index = {name: (start, count) for name, (start, count) in json.loads(index_path.read_text()).items()}
    return Atlas(np.load(path, mmap_mode="r"), index)


def _build(wanted: list[str], size: int, folder: Path, path: Path, index_path: Path) -> None:
    if not folder.is_dir():
        raise UnstrungError("art_missing", None, "The toy world's art is not here yet: run 'unstrung data toyworld'.")
    pictures = {name: load(folder, name, size) for name in wanted}
    index, start = {}, 0
    for name, frames in pictures.items():
        index[name] = (start, len(frames))
        start += len(frames)
    part = path.with_suffix(f".{os.getpid()}.part")  # somebody else may build the same
    with part.open("wb") as file:
        np.save(file, np.concatenate(list(pictures.values())))
    part.replace(path)
    part.write_text(json.dumps(index))
    part.replace(index_path)  # the index goes last: it says that the atlas is whole


def load(folder: Path, name: str, size: int) -> Frames:
    """Load one piece of art as frames (n, size, size, 4), animated where there is an animation."""
    if name in MADE:
        return _resize(MADE[name](folder), size)
    return _resize(_decode(_find(folder, name)), size)


def _find(folder: Path, name: str, animated: bool = True) -> Path:
    found = sorted(folder.glob(f"fluent-emoji-*/{name}.webp"), key=lambda p: ("-anim-" in p.parent.name) != animated)
    if not found:
        raise UnstrungError("art_missing", None, f"No art '{name}' below {folder}: run 'unstrung data toyworld'.")
    return found[0]


def _decode(path: Path) -> Frames:
    frames = []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGBA").resize((256, 256), Image.Resampling.LANCZOS)))
    return np.stack(frames)


def _resize(frames: Frames, size: int) -> Frames:
    """Multiply colour by alpha, then resize: in that order edges keep their colour."""
    alpha = frames[..., 3:].astype(np.uint16)
    colour = (frames[..., :3] * alpha + 127) // 255
    frames = np.concatenate([colour.astype(np.uint8), frames[..., 3:]], -1)
    if frames.shape[1] == size:
        return frames
    box = Image.Resampling.BOX if 256 % size == 0 else Image.Resampling.LANCZOS
    channels = [[Image.fromarray(f[..., c]).resize((size, size), box) for c in range(4)] for f in frames]
    return np.stack([np.stack([np.asarray(c) for c in planes], -1) for planes in channels])


# ---- art made from art: animals of which the set has a head but no body, and the kitten of the press reports


def _with_head(
    body: str, gains: tuple[float, float, float], head: str, share: float, at: tuple[int, int]
) -> Callable[[Path], Frames]:
    def make(folder: Path) -> Frames:
        frames = _decode(_find(folder, body)).astype(np.float32)
        frames[..., :3] = np.clip(frames[..., :3] * np.asarray(gains, np.float32), 0, 255)
        face = Image.fromarray(_decode(_find(folder, head))[0])
        face = face.resize((int(256 * share),) * 2, Image.Resampling.LANCZOS)
        out = []
        for frame in frames:
            image = Image.fromarray(frame.astype(np.uint8))
            image.alpha_composite(face, at)
            out.append(np.asarray(image))
        return np.stack(out)

    return make


def _kitten(folder: Path) -> Frames:
    """The cat's face with large blue eyes."""
    from PIL import ImageDraw

    image = Image.fromarray(_decode(_find(folder, "1f431", animated=False))[0])
    draw = ImageDraw.Draw(image)
    for x in (84, 172):
        draw.ellipse((x - 25, 118, x + 25, 168), fill=(250, 250, 255, 255))
        draw.ellipse((x - 20, 122, x + 20, 164), fill=(40, 140, 255, 255))
        draw.ellipse((x - 9, 132, x + 9, 154), fill=(15, 20, 50, 255))
        draw.ellipse((x - 13, 128, x - 3, 138), fill=(255, 255, 255, 255))
    return np.asarray(image)[None]


MADE: dict[str, Callable[[Path], Frames]] = {
    "fox": _with_head("1f415", (1.0, 0.58, 0.36), "1f98a", 0.55, (0, 6)),
    "wolf": _with_head("1f415", (0.62, 0.82, 1.2), "1f43a", 0.58, (0, 6)),
    "lion": _with_head("1f415", (1.0, 0.88, 0.55), "1f981", 0.6, (0, 0)),
    "kitten": _kitten,
}
MADE_FROM = {"fox": ("1f415", "1f98a"), "wolf": ("1f415", "1f43a"), "lion": ("1f415", "1f981"), "kitten": ("1f431",)}
_RECIPE = 1  # raise when the way in which the atlas is made changes
