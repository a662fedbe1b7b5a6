"""Training for real, on a tiny model: it learns, it survives kill -9, and goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from unstrung.errors import UnstrungError
from unstrung.models.native.config import SIZES
from unstrung.models.native.detail import DetailNet
from unstrung.models.native.film import OpenVINODetail
from unstrung.models.native.model import NativeModel
from unstrung.train.checkpoint import export_weights, import_weights, load_checkpoint, save_checkpoint
from unstrung.train.config import Bucket, Levels, Phase, TrainConfig
from unstrung.train.configs.nano import nano
from unstrung.train.data import Batch, pick_bucket
from unstrung.train.loop import Plan, Trainer
from unstrung.train.loss import Sketch, training_loss
from unstrung.train.noise import noise_levels

RUN = """
import sys, torch
from pathlib import Path
from unstrung.models.native.config import SIZES
from unstrung.train.config import Bucket, Phase, TrainConfig
from unstrung.train.loop import Plan, train

if __name__ == "__main__":
    torch.set_num_threads(1)
    small, clip = Bucket(1, 32, 48, 8), Bucket(2, 32, 48, 4)
    phases = (Phase(100, ((small, 1.0),)), Phase(10**9, ((small, 0.5), (clip, 0.5))))
    config = TrainConfig("tiny", SIZES["tiny"], phases, warmup=4, compile="compile" in sys.argv)
    cooldown = int(sys.argv[4]) if sys.argv[4:] and sys.argv[4].isdigit() else None
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    plan = Plan(hours=1, folder=folder, save_minutes=float(sys.argv[3]), test_steps=10, steps=steps, cooldown=cooldown)
    train(config, plan, lambda text: print(text, flush=True), lambda trainer: None)
"""


@pytest.fixture
def environment(stills: Path, tmp_path: Path) -> dict[str, str]:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "toyworld").symlink_to(stills)
    return {**os.environ, "UNSTRUNG_CACHE": str(cache), "OMP_WAIT_POLICY": "passive"}


def start(
    tmp_path: Path, environment: dict[str, str], folder: str, steps: int, save_minutes: float, *more: str
) -> subprocess.Popen[bytes]:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    return subprocess.Popen([sys.executable, script, tmp_path / folder, str(steps), str(save_minutes), *more], env=environment)


def rows(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_step(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    for _ in range(1200):
        if any(row["step"] >= step for row in rows(folder)):
            return
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.05)
    raise AssertionError("the run is stuck")


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path, environment: dict[str, str]) -> None:
    whole = start(tmp_path, environment, "whole", 30, save_minutes=100)
    assert whole.wait(300) == 0
    victim = start(tmp_path, environment, "killed", 30, save_minutes=0)
    wait_for_step(victim, tmp_path / "killed", 13)
    victim.kill()
    victim.wait()
    # what lies half-written beside the checkpoint when the power goes must not matter
    (tmp_path / "killed" / "last.part").write_bytes(b"half a checkpoint")
    assert start(tmp_path, environment, "killed", 30, save_minutes=0).wait(300) == 0

    expected = {row["step"]: row["loss"] for row in rows(tmp_path / "whole")}
    assert sorted(expected) == list(range(1, 31))
    for row in rows(tmp_path / "killed"):
        assert row["loss"] == expected[row["step"]], row
    assert {row["step"] for row in rows(tmp_path / "killed")} == set(expected)
    first, second = (load_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    assert first is not None and second is not None and first["samples"] == second["samples"]
    for part in ("model", "ema"):
        assert all(torch.equal(a, second[part][name]) for name, a in first[part].items())
    held_out = [row["held_out"] for row in rows(tmp_path / "whole") if "held_out" in row]
    assert held_out[-1] < held_out[0], "it learns"


def test_a_run_that_is_killed_while_it_cools_cools_on(tmp_path: Path, environment: dict[str, str]) -> None:
    assert start(tmp_path, environment, "whole", 100, 100, "20").wait(300) == 0
    victim = start(tmp_path, environment, "killed", 100, 0, "20")
    wait_for_step(victim, tmp_path / "killed", 9)
    victim.kill()
    victim.wait()
    assert start(tmp_path, environment, "killed", 100, 0, "20").wait(300) == 0
    expected = {row["step"]: row["loss"] for row in rows(tmp_path / "whole")}
    assert max(expected) == 20, "it stops when it is cold"
    assert all(row["loss"] == expected[row["step"]] for row in rows(tmp_path / "killed"))
    assert max(row["step"] for row in rows(tmp_path / "killed")) == 20


def test_a_new_sketch_teaches_the_network_nothing_until_it_can_read() -> None:
    config = TrainConfig("x", SIZES["tiny"], (), compile=False)
    rng = np.random.default_rng(0)
    batch = Batch(
        0, rng.integers(0, 256, (6, 4, 32, 48, 3), np.uint8), rng.integers(0, 256, (6, 4, 32, 48), np.uint8),
        rng.standard_normal((6, 8, 384)).astype(np.float16), np.ones((6, 8), np.float32),
    )  # fmt: skip
    model, sketch, device = NativeModel(config.model), Sketch(config.model), torch.device("cpu")

    def gradients(mean: float) -> list[torch.Tensor]:
        model.zero_grad()
        changed = dataclasses.replace(config, finished_share=0.5, sketched_noise=Levels(mean, 1.0))
        training_loss(model, sketch, batch, changed, torch.Generator().manual_seed(0), device).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    # other noise for those that are only sketched changes nothing of what is learned, until the sketch has weights
    plain, other = gradients(2.0), gradients(4.0)
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    assert sketch.out.weight.grad is not None and sketch.out.weight.grad.abs().max() > 0
    torch.nn.init.normal_(sketch.out.weight, std=0.1)
    plain, other = gradients(2.0), gradients(4.0)
    assert not torch.equal(plain[0], other[0])


def test_sigterm_saves(tmp_path: Path, environment: dict[str, str]) -> None:
    run = start(tmp_path, environment, "run", 100_000, save_minutes=100)
    wait_for_step(run, tmp_path / "run", 3)
    assert load_checkpoint(tmp_path / "run") is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 0
    state = load_checkpoint(tmp_path / "run")
    assert state is not None and state["step"] == rows(tmp_path / "run")[-1]["step"]


def test_without_a_compiler_it_trains_all_the_same(tmp_path: Path, environment: dict[str, str]) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    bare = {**environment, "CXX": str(tmp_path / "no compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    command = [sys.executable, script, tmp_path / "run", "2", "100", "compile"]
    done = subprocess.run(command, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on without torch.compile" in done.stdout and rows(tmp_path / "run")[-1]["step"] == 2


def test_the_film_network_learns_until_it_is_told_to_stop_and_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    folder, file = tmp_path / "detail", tmp_path / "detail" / "detail.safetensors"
    command = [sys.executable, "-m", "unstrung", "train", "detail", "--minutes", "60", "--folder", folder]
    for more in ([], ["--from", file]):
        run = subprocess.Popen([*command, *more], env=environment)
        begun = len(rows(folder))
        wait_for_step(run, folder, 10 if not begun else int(rows(folder)[-1]["step"]) + 10)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
    assert import_weights(file, DetailNet())["step"] >= rows(folder)[-1]["step"] >= 20
    small = np.zeros((32, 48, 3), np.uint8)
    assert OpenVINODetail(file).between(small, small, 0.5).shape == (128, 192, 3)
    measured = [sys.executable, Path(__file__).parents[1] / "bench" / "detail.py", file, "--scenes", "1"]
    done = subprocess.run(measured, env=environment, capture_output=True, text=True, check=True)
    errors = json.loads(done.stdout.splitlines()[-1])["errors"]
    assert set(errors) == {f"{kind} {name}" for kind in ("clean", "rough") for name in ("plain", "network")}
    assert errors["clean plain"] < errors["rough plain"]


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(tmp_path) == {"step": 2}
    with pytest.raises(AttributeError):
        save_checkpoint(path, {"step": 3, "bad": lambda: None})
    assert load_checkpoint(tmp_path) == {"step": 2}
    path.unlink()  # killed between the two renames
    assert load_checkpoint(tmp_path) == {"step": 1}


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path: Path) -> None:
    phases = (Phase(10**9, ((Bucket(1, 32, 48, 8), 1.0),)),)
    config = TrainConfig("x", SIZES["tiny"], phases, compile=False)
    trainer = Trainer(config, Plan(hours=1, folder=tmp_path), print)
    trainer.save()
    wider = dataclasses.replace(config, model=dataclasses.replace(SIZES["tiny"], half=24))
    with pytest.raises(UnstrungError, match="network of another shape"):
        Trainer(wider, Plan(hours=1, folder=tmp_path), print)
    assert Trainer(config, Plan(hours=1, folder=tmp_path), print).step == trainer.step


def test_weights_go_out_and_come_in(tmp_path: Path) -> None:
    model, other = NativeModel(SIZES["tiny"]), NativeModel(SIZES["tiny"])
    export_weights(tmp_path / "w.safetensors", dict(model.named_parameters()), SIZES["tiny"].to_dict(), {"samples": 5})
    assert import_weights(tmp_path / "w.safetensors", other) == {"samples": 5}
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_noise_patterns_cover_every_kind_of_conditioning() -> None:
    sigma, learn = noise_levels(4000, 5, Levels(0.8, 0.8), torch.Generator().manual_seed(0))
    assert ((sigma >= 0) & (sigma < 1)).all()
    given = learn == 0
    assert (sigma[given] <= 0.15).all() and (sigma[given] == 0).float().mean() > 0.5
    assert learn.sum(1).min() >= 1, "something is always to be learned"
    kinds = {tuple(int(x) for x in row) for row in learn.tolist()}
    assert (1, 1, 1, 1, 1) in kinds and (0, 1, 1, 1, 1) in kinds and (1, 1, 1, 1, 0) in kinds and (1, 0, 1, 1, 1) in kinds
    spread = sigma[~given.any(1)].std(1)
    assert 0.05 < (spread > 0).float().mean() < 0.3, "some samples have a level for each frame"
    sigma, learn = noise_levels(10, 1, Levels(0.8, 0.8), torch.Generator().manual_seed(0))
    assert sigma.shape == (10, 1) and (learn == 1).all()


def test_buckets_follow_their_phases() -> None:
    a, b = Bucket(1, 96, 160, 4), Bucket(4, 96, 160, 1)
    config = TrainConfig("x", SIZES["tiny"], (Phase(100, ((a, 1.0),)), Phase(10**9, ((a, 0.25), (b, 0.75)))))
    assert {pick_bucket(config, step, 99) for step in range(50)} == {a}
    later = [pick_bucket(config, step, 100) for step in range(400)]
    assert 0.15 < later.count(a) / 400 < 0.35
    for phase in nano().phases:
        assert sum(weight for _, weight in phase.weights) == pytest.approx(1)
        assert all(bucket.height % 16 == bucket.width % 16 == 0 for bucket, _ in phase.weights)
