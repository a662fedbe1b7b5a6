"""The training loop: from a recipe, or from the last checkpoint, until the hours are over or somebody says stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unstrung.corpus.feed import asked_to_stop
from unstrung.errors import UnstrungError
from unstrung.models.device import autocast, why_not_compiled
from unstrung.models.native.model import NativeModel
from unstrung.train.checkpoint import import_weights, load_checkpoint, save_checkpoint
from unstrung.train.config import Bucket, TrainConfig
from unstrung.train.data import HELD_OUT_START, Batch, BatchMaker, batches
from unstrung.train.ema import Ema
from unstrung.train.loss import Sketch, held_out_loss, training_loss


@dataclass(frozen=True)
class Plan:
    """How long to go on, and how often to save, sample and test."""

    hours: float
    folder: Path
    start_from: Path | None = None  # shipped weights to begin with, where there is no checkpoint
    save_minutes: float = 10
    sample_minutes: float = 20
    test_steps: int = 200
    cooldown: int | None = None  # let the learning rate fall to nothing over so many steps, then stop
    steps: int | None = None  # stop after this step, whatever the time


def inner_weights(model: NativeModel) -> list[Tensor]:
    """Return the matrices and convolutions between the first layer and the last: those that Muon trains."""
    blocks: list[Tensor] = [p for p in model.blocks.parameters() if p.ndim == 2 and p.shape[0] > 6]
    outer = (model.stem_half, model.head_out)
    convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m not in outer]
    return [*blocks, model.stem_out.weight, model.head_in.weight, *convolutions]


class Trainer:
    """One run: what it has learned so far, and how to take a step."""

    def __init__(self, config: TrainConfig, plan: Plan, say: Callable[[str], None]) -> None:
        self.config, self.plan, self.say = config, plan, say
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.model = NativeModel(config.model).to(self.device)
        self.sketch = Sketch(config.model).to(self.device)
        self.step, self.samples, self.hours = 0, 0, 0.0
        state = load_checkpoint(plan.folder)
        if state is not None and plan.start_from is not None:
            say(f"there is a checkpoint in {plan.folder}: going on from that, not from {plan.start_from}")
        elif plan.start_from is not None:
            about = import_weights(plan.start_from, self.model)
            self.samples, self.hours, self.step = about["samples"], about["hours"], about["step"]
            say(f"starting from {plan.start_from}: {self.samples:,} samples, {self.hours:.1f} h")
        self.ema = Ema(self.model, config.ema)
        inner = inner_weights(self.model)
        # as matrices, which is all that Muon takes: the same memory, seen flat
        self.flat = [(p, nn.Parameter(p.detach().flatten(1))) for p in inner]
        ids = {id(p) for p in inner}
        others = [p for p in (*self.model.parameters(), *self.sketch.parameters()) if id(p) not in ids]
        self.muon = torch.optim.Muon(
            [f for _, f in self.flat],
            lr=config.muon_lr,
            weight_decay=config.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        )
        self.adam = torch.optim.AdamW(others, lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
        self.began = self.step  # of the optimizers, whose warm-up begins anew with shipped weights
        self.cooling: tuple[int, int] | None = None  # the steps between which the learning rate falls to nothing
        if state is not None:
            self.restore(state)
        if plan.cooldown and self.cooling is None:
            self.cooling = (self.step, self.step + plan.cooldown)
        why = why_not_compiled(self.device.type) if config.compile else ""
        if why:
            say(f"going on without torch.compile, which does not work here: {why}")
        if config.compile and not why:
            for block in self.model.blocks:
                block.compile()
            # a program for each shape: one for all is slower, and the whole network at once fails to compile
            self.model.draft = torch.compile(self.model.draft, dynamic=False)  # type: ignore[method-assign]
            self.model.finish = torch.compile(self.model.finish, dynamic=False)  # type: ignore[method-assign]

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint; raise `UnstrungError` for one of another network."""
        if state["config"]["model"] != self.config.model.to_dict():
            raise UnstrungError(
                "other_model",
                "folder",
                f"The checkpoint in {self.plan.folder} is of a network of another shape ({state['config']['model']}): give "
                "another --folder, or train with the version that wrote it.",
            )
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.sketch.load_state_dict(state["sketch"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.samples, self.hours = state["step"], state["samples"], state["hours"]
        self.began = state["began"]
        if self.plan.cooldown and state["cooling"]:  # a run that was stopped while it cooled cools on
            self.cooling = tuple(state["cooling"])
        self.say(f"going on from step {self.step}: {self.samples:,} samples, {self.hours:.1f} h")

    def save(self) -> None:
        """Write a checkpoint: everything that is needed to go on as if nothing had happened.

        Noise, data and their order are functions of seed, step and sample number, so no generator's state is kept.
        """
        state = {
            "model": self.model.state_dict(), "ema": self.ema.model.state_dict(), "sketch": self.sketch.state_dict(),
            "muon": self.muon.state_dict(), "adam": self.adam.state_dict(), "step": self.step, "samples": self.samples,
            "hours": self.hours, "began": self.began, "cooling": self.cooling, "config": self.config.to_dict(),
        }  # fmt: skip
        save_checkpoint(self.plan.folder / "last.pt", state)

    def rate(self) -> float:
        """Return the share of the full learning rate that the next step takes: less while warming up and cooling down."""
        rate = min(1.0, (self.step - self.began + 1) / self.config.warmup)
        if self.cooling:
            first, last = self.cooling
            rate *= max(0.02, (last - self.step) / (last - first))
        return rate

    def take(self, batch: Batch) -> float:
        """Learn from one batch and return its loss."""
        for optimizer, lr in ((self.muon, self.config.muon_lr), (self.adam, self.config.adam_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * self.rate()
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        with autocast(self.device.type):
            loss = training_loss(self.model, self.sketch, batch, self.config, generator, self.device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for parameter, flat in self.flat:
            assert parameter.grad is not None
            flat.grad = parameter.grad.flatten(1)
        self.muon.step()
        self.adam.step()
        self.model.zero_grad()
        self.sketch.zero_grad()
        self.step += 1
        self.samples += len(batch.video)
        self.ema.update(self.model, self.step)
        return float(loss.detach())

    @torch.no_grad()
    def test(self, batch: Batch) -> float:
        """Return the mean model's loss on held-out scenes, always with the same noise and without weights."""
        with autocast(self.device.type):
            return float(held_out_loss(self.ema.model, batch, self.config, self.device))


def train(config: TrainConfig, plan: Plan, say: Callable[[str], None], on_sample: Callable[[Trainer], None]) -> Trainer:
    """Train until `plan.hours` have passed or SIGTERM or Ctrl-C asks to stop; always leave a checkpoint."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, plan, say)
    test_batch = BatchMaker(config).make(0, HELD_OUT_START, Bucket(1, 96, 160, 48), drop_text=0.0, held_out=True)
    start = last = time.monotonic()
    saved = sampled = start
    losses: list[float] = []
    with (plan.folder / "log.jsonl").open("a") as log, asked_to_stop() as stop:
        try:
            for batch in batches(config, trainer.step, trainer.samples):
                loss = trainer.take(batch)
                now = time.monotonic()
                trainer.hours += (now - last) / 3600
                losses.append(loss)
                row: dict[str, Any] = {
                    "step": trainer.step, "samples": trainer.samples, "hours": round(trainer.hours, 4), "loss": round(loss, 5),
                    "shape": batch.video.shape, "per_second": round(len(batch.video) / (now - last), 2),
                }  # fmt: skip
                last = now
                if trainer.step % plan.test_steps == 0:
                    row["held_out"] = round(trainer.test(test_batch), 5)
                log.write(json.dumps(row) + "\n")
                log.flush()
                if trainer.step % 20 == 0 or "held_out" in row:
                    say(_progress(row, losses))
                if now - saved > 60 * plan.save_minutes:
                    trainer.save()
                    saved = now
                if now - sampled > 60 * plan.sample_minutes:
                    on_sample(trainer)
                    sampled = now
                cold = trainer.cooling is not None and trainer.step >= trainer.cooling[1]
                if stop() or cold or now - start > 3600 * plan.hours or trainer.step == plan.steps:
                    break
                last = time.monotonic()
        finally:
            trainer.save()
    return trainer


def _progress(row: dict[str, Any], losses: list[float]) -> str:
    recent = losses[-20:]
    held_out = f"  held out {row['held_out']:.4f}" if "held_out" in row else ""
    return (
        f"step {row['step']:>6}  samples {row['samples']:>9,}  {row['hours']:.2f} h  "
        f"loss {sum(recent) / len(recent):.4f}  {row['per_second']:.1f} samples/s{held_out}"
    )
