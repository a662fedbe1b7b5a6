"""Teach the reader: renders drawn by a process of their own, worn down, until the minutes are over."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unstrung.corpus.feed import asked_to_stop, drawn
from unstrung.corpus.toyworld.render import Renderer
from unstrung.corpus.toyworld.scene import Scene, sample_scene
from unstrung.corpus.toyworld.stream import draw
from unstrung.corpus.toyworld.vocabulary import TRAVELS
from unstrung.eval.reader import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    ReaderNet,
    Vocabulary,
    load_reader,
    look,
    save_reader,
    usual_picks,
    vocabulary,
)
from unstrung.models.device import autocast

BATCH = 32
LEARN_FROM, TEST_FROM = 1 << 41, 1 << 42  # numbers of scenes, beyond those that train or test a model
TEST_BATCHES = 30
WEIGHTS = {"subject": 1.0, "place": 0.4, "time": 0.3, "direction": 0.6}
# as often as the renderer would draw these pairs if none were held out. A judge that met them more often would expect
# them: with one in 4, it guessed 12 % of the held-out prompts' subjects from empty places, and 1 % of the others
HELD_OUT_EVERY = 20
UNREADABLE = -100  # the label of what a clip doesn't show: cross entropy leaves it out


@dataclass(frozen=True)
class Lesson:
    """Clips to learn from: frames uint8 (b 16 96 160 3), labels int64 (b) by attribute, and which of them are far."""

    frames: npt.NDArray[np.uint8]
    labels: dict[str, npt.NDArray[np.int64]]
    far: npt.NDArray[np.bool_]


def answers(scene: Scene) -> dict[str, str | None]:
    """Return what a scene shows, by attribute; None for what can't be seen: there is no time of day in space."""
    actor = scene.actors[0]
    direction = actor.direction if actor.action in TRAVELS else "none"
    time_of_day = scene.time if scene.place != "space" else None
    return {"subject": actor.subject, "place": scene.place, "time": time_of_day, "direction": direction}


def single(number: int) -> tuple[int, bool]:
    """Return the number of a scene with one actor, from `number` on, and whether its pair is a held-out one.

    Scenes with two are left out, for learning and for judging: every prompt names one subject, and with two of them
    none is the right one.
    """
    held_out = number % HELD_OUT_EVERY == 0
    step = 1 << 20  # far enough that no other number of a run arrives at the same scene
    while len(sample_scene(number, held_out).actors) > 1:
        number += step
    return number, held_out


def draw_lesson(renderer: Renderer, words: Vocabulary, first: int, count: int) -> Lesson:
    """Draw scenes `first`, `first + 1`, ... into a lesson."""
    numbers = [single(n) for n in range(first, first + count)]
    samples = [draw(renderer, n, WIDTH, HEIGHT, FPS, FRAMES, held_out) for n, held_out in numbers]
    found = [answers(s.scene) for s in samples]
    labels = {
        name: np.array([UNREADABLE if f[name] is None else ids.index(str(f[name])) for f in found], np.int64)
        for name, ids in words.items()
    }
    return Lesson(np.stack([s.frames for s in samples]), labels, np.array([s.scene.framing == "far" for s in samples]))


def _draw_for_ever(words: Vocabulary, first: int, results: Any) -> None:
    renderer = Renderer()
    for i in range(TEST_BATCHES):
        results.put(draw_lesson(renderer, words, TEST_FROM + i * BATCH, BATCH))
    while True:
        results.put(draw_lesson(renderer, words, first, BATCH))
        first += BATCH


class Teacher:
    """A net that learns: a step a lesson, at a rate that falls to nothing by the end."""

    def __init__(self, words: Vocabulary, seed: int = 0, rate: float = 2e-3, warmup: int = 50) -> None:
        torch.manual_seed(seed)
        self.words, self.rate, self.warmup, self.steps = words, rate, warmup, 0
        self.net = ReaderNet(words)
        self.rng = random.Random(f"reader {seed}")
        matrices = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=rate)

    def take(self, lesson: Lesson, share_done: float) -> float:
        """Learn from a lesson and return its loss; `share_done` of the time is over."""
        cosine = (1 + math.cos(math.pi * min(1.0, share_done))) / 2
        for group in self.adam.param_groups:
            group["lr"] = self.rate * min(1.0, (self.steps + 1) / self.warmup) * max(0.01, cosine)
        labels = {name: torch.from_numpy(values) for name, values in lesson.labels.items()}
        frames, labels = self._turned_back(torch.from_numpy(lesson.frames), labels)
        # two frames teach nearly what four do, in half the time: more clips are seen
        picks = torch.tensor([k * FRAMES // 2 + self.rng.randrange(FRAMES // 2 - 1) for k in range(2)])
        pictures, motion = look(frames, torch.cat([picks, picks + 1]))
        pictures, beside = pictures.chunk(2, dim=1)
        pictures, motion = self._worn(pictures, beside, motion)
        self.net.train()
        with autocast("cpu"):
            logits = self.net(pictures, motion)
        losses = [WEIGHTS[n] * F.cross_entropy(logits[n].float(), labels[n], label_smoothing=0.03) for n in self.words]
        loss = torch.stack(losses).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.adam.step()
        self.adam.zero_grad()
        self.steps += 1
        return float(loss.detach())

    def _turned_back(self, frames: Tensor, labels: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Play some clips backwards: they go the other way, whichever way the subject looks."""
        back = torch.tensor([self.rng.random() < 0.15 for _ in range(len(frames))])
        way = labels["direction"]
        swapped = torch.where(way == 0, 1, torch.where(way == 1, 0, way))  # left, right, none
        frames = torch.where(back[:, None, None, None, None], frames.flip(1), frames)
        return frames, {**labels, "direction": torch.where(back, swapped, way)}

    def _worn(self, pictures: Tensor, beside: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Wear pictures (b looks 3 h w) and motion (b t h w) down as a generator does: ghosts, blur, colour, noise."""
        b = len(pictures)
        ghost = 0.5 * torch.rand(b, 1, 1, 1, 1) * (torch.rand(b, 1, 1, 1, 1) < 0.25)
        pictures = pictures * (1 - ghost) + beside * ghost
        size = pictures.shape[-2:]
        parts = []
        for part in pictures.chunk(8):
            shrink = self.rng.choice((1.0, 1.0, 1.4, 1.8, 2.2, 2.8))
            if shrink > 1:
                flat = F.interpolate(part.flatten(0, 1), scale_factor=1 / shrink, mode="area")
                part = F.interpolate(flat, size=size, mode="bilinear").view_as(part)
            parts.append(part)
        gain = 1 + 0.12 * (torch.rand(b, 1, 1, 1, 1) - 0.5) + 0.08 * (torch.rand(b, 1, 3, 1, 1) - 0.5)
        shift = 0.1 * (torch.rand(b, 1, 3, 1, 1) - 0.5)
        pictures = torch.cat(parts) * gain + shift
        pictures = pictures + 0.12 * torch.rand(b, 1, 1, 1, 1).square() * torch.randn_like(pictures)
        motion = motion * (0.7 + 0.6 * torch.rand(b, 1, 1, 1))
        return pictures, motion + 0.12 * torch.rand(b, 1, 1, 1).square() * torch.randn_like(motion)

    @torch.no_grad()
    def test(self, lessons: list[Lesson]) -> dict[str, float]:
        """Return the accuracy by attribute; `subject_near` is that of subjects not far away."""
        self.net.eval()
        right: dict[str, list[bool]] = {}
        for lesson in lessons:
            logits = self.net(*look(torch.from_numpy(lesson.frames), usual_picks()))
            for name, labels in lesson.labels.items():
                hits = logits[name].argmax(-1).numpy() == labels
                right.setdefault(name, []).extend(hits[labels != UNREADABLE])
                if name == "subject":
                    right.setdefault("subject_near", []).extend(hits[~lesson.far])
                    top = logits[name].topk(min(5, logits[name].shape[-1])).indices.numpy()
                    right.setdefault("subject_top5", []).extend((top == labels[:, None]).any(1))
        return {name: round(float(np.mean(hits)), 4) for name, hits in right.items()}


def train_reader(minutes: float, folder: Path, say: Callable[[str], None], start_from: Path | None = None) -> Path:
    """Train a reader for `minutes`, or until Ctrl-C or SIGTERM, and return its file: `folder`/reader.safetensors.

    It begins with the weights `start_from` where there are any. Raises `UnstrungError` where the toy world's art is
    missing. Every step is a line of `folder`/log.jsonl.
    """
    Renderer()  # so that missing art is told here, in words, and not by a process that dies
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    teacher, start, losses = Teacher(words), time.monotonic(), []
    before: dict[str, Any] = {"steps": 0, "clips": 0, "minutes": 0.0}
    if start_from is not None:
        given = load_reader(start_from)
        teacher.net.load_state_dict(given.net.state_dict())
        before = given.about
    with (
        (folder / "log.jsonl").open("a") as log,
        closing(drawn(_draw_for_ever, words, LEARN_FROM + before["clips"])) as lessons,
        asked_to_stop() as stop,
    ):
        tests, tested = list(islice(lessons, TEST_BATCHES)), start
        for lesson in lessons:
            share = (time.monotonic() - start) / 60 / minutes
            if stop() or share >= 1:
                break
            losses.append(teacher.take(lesson, share))
            row: dict[str, Any] = {"step": teacher.steps, "minutes": round(share * minutes, 2), "loss": losses[-1]}
            if time.monotonic() - tested > 180:
                row["accuracy"], tested = teacher.test(tests[:10]), time.monotonic()
            log.write(json.dumps(row) + "\n")
            log.flush()
            if teacher.steps % 50 == 0 or "accuracy" in row:
                say(_progress(row, losses))
        about = {
            "steps": before["steps"] + teacher.steps,
            "clips": before["clips"] + teacher.steps * BATCH,
            "minutes": round(before["minutes"] + (time.monotonic() - start) / 60, 1),
            "accuracy": teacher.test(tests),
            "tested_on": TEST_BATCHES * BATCH,
        }
        path = folder / "reader.safetensors"
        save_reader(path, teacher.net, words, about)
        say(f"{path}: {json.dumps(about)}")
    return path


def _progress(row: dict[str, Any], losses: list[float]) -> str:
    accuracy = "".join(f"  {name} {100 * share:.1f} %" for name, share in row.get("accuracy", {}).items())
    return f"step {row['step']}  {row['minutes']:.1f} min  loss {np.mean(losses[-50:]):.3f}{accuracy}"
