"""The reader: a small classifier that says what a clip shows, so that a model is judged by content and not by texture.

It learns from renders of the toy world alone, worn down as a generator wears its pictures down. It may see every pair
of subject and place, held out or not: it is the judge, not the model under test, and a judge that had never seen a
tiger in the snow could not tell whether one was drawn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from unstrung.corpus.toyworld.vocabulary import PLACES, SUBJECTS, TIMES
from unstrung.errors import InvalidRequest, MissingWeights

FRAMES, FPS, HEIGHT, WIDTH = 16, 8, 96, 160
LOOKS = 4  # frames at which the reader looks closely; all sixteen are only scanned for motion
SHIPPED = Path(__file__).with_name("reader.safetensors")
Vocabulary = dict[str, tuple[str, ...]]  # attribute -> the ids that it can take
Video = npt.NDArray[np.uint8]  # (t, h, w, 3)


def vocabulary() -> Vocabulary:
    """Return what there is to read: attribute -> ids. Direction is where the subject travels, "none" where it stays."""
    ways = ("left", "right", "none")
    return {"subject": tuple(SUBJECTS), "place": tuple(PLACES), "time": tuple(TIMES), "direction": ways}


class Block(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (b width h w)
        """Return what the convolutions add to x, same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


def _conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _down(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, 2, size), nn.ReLU())


class Pool(nn.Module):
    """The mean over all positions, beside means that look where something is: a far subject fills few positions."""

    def __init__(self, width: int, looks: int) -> None:
        super().__init__()
        self.where = nn.Linear(width, looks)

    def forward(self, x: Tensor) -> Tensor:  # (b n c)
        """Return the means, one after the other: (b (1 + looks) * c)."""
        share = self.where(x).float().softmax(1)  # (b n looks)
        seen = share.transpose(1, 2) @ x.float()  # (b looks c)
        return torch.cat([x.float().mean(1), seen.flatten(1)], 1)  # (b (1 + looks) * c)


class ReaderNet(nn.Module):
    """Two streams: few frames in colour for who, where and when; all frames, small and grey, for which way."""

    def __init__(self, words: Vocabulary) -> None:
        super().__init__()
        self.shallow = nn.Sequential(_down(3, 24), _down(24, 48), Block(48), _down(48, 96), Block(96), Block(96))
        self.deep = nn.Sequential(_down(96, 160), Block(160), Block(160))
        self.motion = nn.Sequential(_down(FRAMES, 48, size=5), Block(48), _down(48, 96))
        self.join = nn.Sequential(_conv(192, 96, size=1), nn.ReLU(), Block(96))
        self.pool = Pool(160, 4)
        self.pool_motion = Pool(96, 2)
        self.drop = nn.Dropout(0.1)
        widths = {name: 96 * 3 if name == "direction" else 160 * 5 for name in words}
        self.heads = nn.ModuleDict({name: nn.Linear(widths[name], len(ids)) for name, ids in words.items()})

    def forward(self, pictures: Tensor, motion: Tensor) -> dict[str, Tensor]:
        """Return logits by attribute for pictures (b looks 3 96 160) and motion (b 16 48 80), as `look` gives them."""
        b, looks = pictures.shape[:2]
        near = self.shallow(pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last))  # (b*looks 96 12 20)
        far = self.deep(near)  # (b*looks 160 6 10)
        content = self.drop(self.pool(far.flatten(2).transpose(1, 2).reshape(b, -1, far.shape[1])))  # (b 800)
        # the same pixels pass to the left behind a runner and in a camera that pans right: who is there decides
        who = near.unflatten(0, (b, looks)).mean(1)  # (b 96 12 20)
        moved = self.motion(motion.contiguous(memory_format=torch.channels_last))  # (b 96 12 20)
        way = self.pool_motion(self.join(torch.cat([who, moved], 1)).flatten(2).transpose(1, 2))  # (b 288)
        return {name: head(way if name == "direction" else content) for name, head in self.heads.items()}


def look(frames: Tensor, picks: Tensor) -> tuple[Tensor, Tensor]:
    """Turn frames uint8 (b 16 96 160 3) into what the net takes: frames `picks` (looks) in colour, all small and grey.

    Colours run from -1 to 1. The grey frames are less their mean over time: what stands still vanishes.
    """
    pictures = frames[:, picks].permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    grey = frames.float() @ torch.tensor([0.299, 0.587, 0.114]) / 127.5  # (b 16 96 160)
    small = F.avg_pool2d(grey, 2)
    return pictures, 2 * (small - small.mean(1, keepdim=True))


def usual_picks() -> Tensor:
    """Return the frames at which a trained reader looks closely: one in each quarter."""
    return torch.arange(LOOKS) * (FRAMES // LOOKS) + FRAMES // LOOKS // 2


@dataclass(frozen=True)
class Reading:
    """What the reader saw in a clip: by attribute, all ids with the likeliest first, and how sure it is of that one."""

    ranked: Vocabulary
    sure: dict[str, float]

    def best(self, attribute: str) -> str:
        """Return the likeliest id of an attribute."""
        return self.ranked[attribute][0]


@dataclass(frozen=True)
class Reader:
    """A trained net, the words it knows, and what its file says about it (training, accuracy on fresh renders)."""

    net: ReaderNet
    words: Vocabulary
    about: dict[str, Any]

    @torch.no_grad()
    def read(self, frames: Video, fps: float) -> Reading:
        """Read a clip uint8 (t h w 3); raises as `fit_clip` does."""
        logits = self.net(*look(torch.from_numpy(fit_clip(frames, fps))[None], usual_picks()))
        ranked, sure = {}, {}
        for name, values in logits.items():
            shares, order = values[0].softmax(-1).sort(descending=True)
            ranked[name] = tuple(self.words[name][i] for i in order.tolist())
            sure[name] = round(float(shares[0]), 4)
        return Reading(ranked, sure)


def fit_clip(frames: Video, fps: float) -> Video:
    """Return the middle two seconds of a clip uint8 (t h w 3), cropped and scaled: (16 96 160 3) at 8 fps.

    Raises `InvalidRequest` where the clip is no such array or shorter than two seconds.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise InvalidRequest("frames", f"The reader takes uint8 (t, h, w, 3), not {frames.dtype} {frames.shape}.")
    spare = len(frames) - 1 - (FRAMES - 1) * fps / FPS
    if spare < -0.5:
        length = f"{len(frames)} frames at {fps:g} fps"
        raise InvalidRequest("frames", f"The reader needs {FRAMES / FPS:g} seconds; the clip has {length}.")
    times = np.clip(np.round(max(0.0, spare) / 2 + np.arange(FRAMES) * fps / FPS).astype(int), 0, len(frames) - 1)
    picked = frames[times]
    h, w = picked.shape[1:3]
    if (h, w) == (HEIGHT, WIDTH):
        return np.ascontiguousarray(picked)
    scale = min(w / WIDTH, h / HEIGHT)
    left, top = (w - WIDTH * scale) / 2, (h - HEIGHT * scale) / 2
    box = (left, top, left + WIDTH * scale, top + HEIGHT * scale)
    images = [Image.fromarray(f).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box) for f in picked]
    return np.stack([np.asarray(image) for image in images])


def save_reader(path: Path, net: ReaderNet, words: Vocabulary, about: dict[str, Any]) -> None:
    """Write a reader as it is shipped: safetensors in half precision, its words and `about` in the header."""
    from safetensors.numpy import save_file

    state = {name: w.detach().float().numpy().astype(np.float16) for name, w in net.state_dict().items()}
    tensors = {name: np.ascontiguousarray(w) for name, w in state.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"vocabulary": json.dumps(words), "about": json.dumps(about)})
    part.replace(path)


def load_reader(path: Path = SHIPPED) -> Reader:
    """Load a reader; raises `MissingWeights` where there is none."""
    from safetensors import safe_open

    if not path.exists():
        raise MissingWeights(f"No reader at {path}: train one with 'unstrung train reader'.")
    with safe_open(path, framework="pt") as file:
        words = {name: tuple(ids) for name, ids in json.loads(file.metadata()["vocabulary"]).items()}
        about: dict[str, Any] = json.loads(file.metadata()["about"])
        net = ReaderNet(words).eval()
        net.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    return Reader(net, words, about)
