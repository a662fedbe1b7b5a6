"""The report: every prompt made, read and measured, beside real renders of the same prompts, and beside chance."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from unstrung.corpus.toyworld.render import Renderer
from unstrung.eval.metrics import Metric, Seen, default_metrics
from unstrung.eval.prompts import EvalPrompt, eval_prompts, scene_of
from unstrung.eval.reader import FPS, FRAMES, HEIGHT, WIDTH, Reader, Video, fit_clip, load_reader

MakeClip = Callable[[EvalPrompt], tuple[Video, float]]  # frames uint8 (t h w 3), and their rate
SPLITS: tuple[tuple[str, bool | None], ...] = (("all", None), ("trained", False), ("held_out", True))


@dataclass(frozen=True)
class Score:
    """One metric over one split of the prompts: of the clips, of real renders, and without a look at the prompts."""

    metric: str
    unit: str
    higher_is_better: bool
    split: str  # "all", "trained" or "held_out"
    count: int
    value: float
    error: float  # standard error of `value`
    real: float
    chance: float


@dataclass(frozen=True)
class Report:
    """What an evaluation found."""

    scores: tuple[Score, ...]
    clips: tuple[dict[str, Any], ...]  # by prompt: what was asked, what was read, every metric
    reader: dict[str, Any]  # what the reader's file says about it: whoever judges is judged
    seconds: float

    def score(self, metric: str, split: str = "all") -> Score:
        """Return the score of a metric by its name; raises `KeyError` where there is none."""
        for score in self.scores:
            if (score.metric, score.split) == (metric, split):
                return score
        raise KeyError((metric, split))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return asdict(self)

    def table(self) -> str:
        """Return the report as text: a line a metric, clips, real renders and chance for each split."""
        splits = [name for name in dict.fromkeys(s.split for s in self.scores) if name != "all"]
        head = f"{'':14}" + "".join(f"{split.replace('_', ' ') + f' ({self._count(split)})':>30}" for split in splits)
        lines = [head, f"{'':14}" + f"{'clips':>16}{'real':>7}{'chance':>7}" * len(splits)]
        for metric in dict.fromkeys(s.metric for s in self.scores):
            scores = [self.score(metric, split) for split in splits]
            lines.append(f"{metric.replace('_', ' '):14}" + "".join(_cells(s) for s in scores))
        return "\n".join(lines)

    def _count(self, split: str) -> int:
        return next(s.count for s in self.scores if s.split == split)


def _cells(score: Score) -> str:
    if score.unit == "share":
        value = f"{100 * score.value:.1f} +-{100 * score.error:4.1f} %"
        return f"{value:>16}{100 * score.real:>6.1f}%{100 * score.chance:>6.1f}%"
    return f"{f'{score.value:.2f} +-{score.error:5.2f}':>16}{score.real:>7.2f}{score.chance:>7.1f}"


def evaluate(
    make_clip: MakeClip,
    say: Callable[[str], None],
    *,
    prompts: Sequence[EvalPrompt] | None = None,
    reader: Reader | None = None,
    sheet: Path | None = None,
    sheet_clips: int = 24,
) -> Report:
    """Judge a maker of clips by `prompts` (default: all 192) and return the report.

    `make_clip` returns frames uint8 (t h w 3) of two seconds or more, of any size, and their rate; the middle two
    seconds are cropped to 5:3 and read at 160x96 and 8 fps. With `sheet`, the first `sheet_clips` clips are written
    there as a PNG, unchosen. Raises `MissingWeights` without a reader and `UnstrungError` without the toy world's art,
    from which the real renders are drawn.
    """
    prompts, reader = prompts or eval_prompts(), reader or load_reader()
    renderer, metrics, start = Renderer(), default_metrics(), time.monotonic()
    clips, values, reals = [], [], []
    shown: list[Seen] = []
    for number, prompt in enumerate(prompts, 1):
        seen = _see(prompt, fit_clip(*make_clip(prompt)), reader)
        real = _see(prompt, renderer.render(scene_of(prompt), WIDTH, HEIGHT, FPS, FRAMES), reader)
        values.append([metric.compute(seen) for metric in metrics])
        reals.append([metric.compute(real) for metric in metrics])
        named = {metric.name: round(value, 4) for metric, value in zip(metrics, values[-1], strict=True)}
        read = {attribute: seen.reading.best(attribute) for attribute in seen.reading.ranked}
        clips.append({**prompt.to_dict(), "read": read, "sure": seen.reading.sure, "metrics": named})
        if len(shown) < sheet_clips:
            shown.append(seen)
        if number % 8 == 0 or number == len(prompts):
            say(f"{number} of {len(prompts)} clips, {(time.monotonic() - start) / number:.1f} s each")
    if sheet is not None:
        sample_sheet(shown).save(sheet)
    scores = _scores(metrics, prompts, np.array(values), np.array(reals))
    return Report(scores, tuple(clips), reader.about, round(time.monotonic() - start, 1))


def _see(prompt: EvalPrompt, frames: Video, reader: Reader) -> Seen:
    return Seen(prompt, frames, reader.read(frames, FPS))


def _scores(
    metrics: Sequence[Metric],
    prompts: Sequence[EvalPrompt],
    values: npt.NDArray[np.float64],
    reals: npt.NDArray[np.float64],
) -> tuple[Score, ...]:
    """Average values and reals (prompts, metrics) over each split that has prompts."""
    scores = []
    for split, held_out in SPLITS:
        rows = [i for i, p in enumerate(prompts) if held_out in (None, p.held_out)]
        if not rows:
            continue
        for column, metric in enumerate(metrics):
            found = values[rows, column]
            score = Score(
                metric=metric.name,
                unit=metric.unit,
                higher_is_better=metric.higher_is_better,
                split=split,
                count=len(rows),
                value=round(float(found.mean()), 4),
                error=round(float(found.std()) / math.sqrt(len(rows)), 4),
                real=round(float(reals[rows, column].mean()), 4),
                chance=round(metric.chance([prompts[i] for i in rows]), 4),
            )
            scores.append(score)
    return tuple(scores)


def sample_sheet(clips: Sequence[Seen], columns: int = 2) -> Image.Image:
    """Lay clips out as their first, middle and last frame, each with its prompt and what was read below."""
    font = ImageFont.load_default()
    gap, lines, line = 8, 3, 13
    cell_w, cell_h = 3 * WIDTH + gap, HEIGHT + lines * line + gap
    rows = -(-len(clips) // columns)
    image = Image.new("RGB", (columns * cell_w + gap, rows * cell_h + gap), "white")
    draw = ImageDraw.Draw(image)
    for i, clip in enumerate(clips):
        x, y = gap + i % columns * cell_w, gap + i // columns * cell_h
        for k, frame in enumerate((clip.frames[0], clip.frames[FRAMES // 2], clip.frames[-1])):
            image.paste(Image.fromarray(frame), (x + k * WIDTH, y))
        read = ", ".join(clip.reading.best(attribute) for attribute in clip.reading.ranked)
        pair = "held-out pair" if clip.prompt.held_out else "trained pair"
        caption = textwrap.wrap(clip.prompt.prompt, 88)[: lines - 1]
        for k, text in enumerate([*caption, f"{pair}; read as: {read}"]):
            draw.text((x, y + HEIGHT + k * line), text, fill=(40, 40, 40), font=font)
    return image
