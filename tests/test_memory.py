"""What fits which machine: made-up machines over all families, what others measured, and real small pipelines under each plan."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unstrung.errors import NotEnoughMemory
from unstrung.models.hub.families import FAMILIES, Family, Weights
from unstrung.models.hub.memory import (
    GB,
    Machine,
    Plan,
    _frames,
    apply,
    choose,
    every,
    find,
    fitting_model,
    look,
    plans,
    step_down,
)

ROWS = [(weights, family) for family in FAMILIES for weights in family.weights]
NAMES = [weights.id for weights, _ in ROWS]
MACHINES = [Machine(v and v * GB, ram * GB, 200 * GB) for v, ram in product((None, 4, 8, 12, 16, 24, 80), (8, 16, 64))]
BOUNDLESS = Machine(10**15, 10**15, 10**15)


def frames_of(weights: Weights, family: Family) -> int:
    return min(_frames(weights, family, round(weights.seconds)), weights.max_frames)


@pytest.mark.parametrize(("weights", "family"), ROWS, ids=NAMES)
def test_every_machine_gets_a_plan_or_hears_what_would_fit(weights: Weights, family: Family) -> None:
    num_frames = frames_of(weights, family)
    for machine in MACHINES:
        try:
            plan = choose(weights, family, *weights.size, num_frames, machine)
        except NotEnoughMemory as error:
            said = error.message
            assert weights.id in said and f"{weights.size[0]}x{weights.size[1]}" in said and " free" in said
            if named := re.search(r"--size (\d+)x(\d+)(?: --seconds ([\d.]+))?$", said):
                width, height = int(named[1]), int(named[2])
                frames = round(float(named[3]) * weights.fps) if named[3] else num_frames
                assert width % family.size_multiple == 0 and height % family.size_multiple == 0
                assert width <= weights.size[0] and height <= weights.size[1] and frames <= num_frames
                assert (frames - family.frame_offset) % family.frame_stride == 0
                assert choose(weights, family, width, height, frames, machine)
            else:
                assert "No size of this model fits" in said
                other = re.search(r"--model (\S+)$", said)
                assert other and other[1] != weights.id
                if other[1] != "nano":
                    there, its_family = find(other[1])
                    assert choose(there, its_family, *there.size, frames_of(there, its_family), machine)
        else:
            assert not plan.lacks(machine)
            assert plan.peak <= (machine.vram or 0) and plan.ram <= machine.ram


def rank(weights: Weights, family: Family, width: int, height: int, num_frames: int, machine: Machine) -> int:
    """How far down the ladder the best plan is; past its end where none fits."""
    ladder = list(every(weights, family, width, height, num_frames, machine))
    return next((n for n, plan in enumerate(ladder) if not plan.lacks(machine)), len(ladder))


@pytest.mark.parametrize(("weights", "family"), ROWS, ids=NAMES)
def test_more_memory_is_never_worse_and_a_smaller_film_never_needs_more(weights: Weights, family: Family) -> None:
    num_frames = frames_of(weights, family)
    width, height = weights.size
    for machine in MACHINES:
        best = rank(weights, family, width, height, num_frames, machine)
        for more in (replace(machine, ram=machine.ram * 2), machine.vram and replace(machine, vram=machine.vram * 2)):
            assert not more or rank(weights, family, width, height, num_frames, more) <= best
    needs = None
    for part in (1, 0.8, 0.5, 0.3):
        for frames in (num_frames, num_frames // 2):
            film = (round(width * part / 32) * 32, round(height * part / 32) * 32, frames)
            least = {
                plan.name: (plan.peak, plan.ram) for plan in every(weights, family, *film, BOUNDLESS)
            }  # tiled, where it can be
            if needs:
                assert all(least[name][0] <= needs[name][0] and least[name][1] <= needs[name][1] for name in least)
            if frames == num_frames:
                needs = least


def test_a_fast_plan_comes_first() -> None:
    for weights, family in ROWS:
        film = (*weights.size, frames_of(weights, family))
        for machine in (BOUNDLESS, replace(BOUNDLESS, vram=None)):
            times = [plan.time for plan in plans(weights, family, *film, machine)]
            assert times == sorted(times)
            assert plans(weights, family, *film, machine)[0].name == "resident"


# the table of docs/hub.md: model, plan, tiled, size, frames, and what others measured, in GB
MEASURED = [
    ("cogvideox-5b", "resident", False, (720, 480), 49, 33),
    ("cogvideox-5b", "model-offload", False, (720, 480), 49, 19),
    ("cogvideox-5b", "model-offload", True, (720, 480), 49, 11),
    ("cogvideox-5b", "group-offload", True, (720, 480), 49, 5),
    ("cogvideox-5b", "fp8", True, (720, 480), 49, 4.4),
    ("cogvideox-2b", "group-offload", True, (720, 480), 49, 4),
    ("mochi-1", "model-offload", True, (848, 480), 85, 22),
    ("ltx-video", "fp8", False, (768, 512), 161, 10),
    ("wan2.1-14b", "group-offload", False, (832, 480), 81, 13),
    ("wan2.2", "resident", False, (1280, 720), 81, 80),
    ("wan2.2-5b", "model-offload", False, (1280, 704), 121, 24),
]
PAGE = (Path(__file__).parents[1] / "docs" / "hub.md").read_text()


@pytest.mark.parametrize(("model", "name", "tiled", "size", "frames", "theirs"), MEASURED)
def test_the_estimates_are_near_what_others_measured(
    model: str, name: str, tiled: bool, size: tuple[int, int], frames: int, theirs: float
) -> None:
    ladder = every(*find(model), *size, frames, BOUNDLESS)
    ours = next(plan for plan in ladder if (plan.name, plan.tiled) == (name, tiled)).peak / GB
    assert theirs / 1.45 < ours < theirs * 1.45
    words = f"{name}, tiled" if tiled else name
    assert f"| `{model}` | {words} | {size[0]}x{size[1]}, {frames} | {theirs:g} | {ours:.1f} |" in PAGE


@pytest.mark.parametrize(
    ("model", "gpu", "size", "frames", "theirs"),
    [
        ("cogvideox-2b", "NVIDIA A100-SXM4-80GB", (720, 480), 49, 90),
        ("cogvideox-5b", "NVIDIA A100-SXM4-80GB", (720, 480), 49, 180),
        ("cogvideox-2b", "NVIDIA H100 80GB HBM3", (720, 480), 49, 45),
        ("cogvideox-5b", "NVIDIA H100 80GB HBM3", (720, 480), 49, 90),
        ("wan2.1-1.3b", "NVIDIA A100-SXM4-80GB", (832, 480), 81, 260),
    ],
)
def test_seconds_are_near_what_others_measured_and_left_out_elsewhere(
    model: str, gpu: str, size: tuple[int, int], frames: int, theirs: float
) -> None:
    seconds = plans(*find(model), *size, frames, replace(BOUNDLESS, gpu=gpu))[0].seconds
    assert seconds and theirs / 1.5 < seconds < theirs * 1.5
    assert plans(*find(model), *size, frames, replace(BOUNDLESS, gpu="Another"))[0].seconds is None


def test_after_too_little_memory_comes_a_plan_that_needs_less() -> None:
    fitting = plans(*find("cogvideox-5b"), 720, 480, 49, Machine(24 * GB, 64 * GB, 100 * GB))
    plan: Plan | None = fitting[0]
    assert plan and plan.name == "model-offload"
    seen = []
    while plan:
        seen.append((plan.peak, plan.ram))
        plan = step_down(plan, fitting)
    assert len(seen) > 2 and seen == sorted(seen, reverse=True) and len(set(seen)) == len(seen)


def test_this_machine_is_looked_at() -> None:
    machine = look("cpu")
    assert machine.vram is None and machine.ram > 10**8 and machine.disk > 0
    assert fitting_model(Machine(None, 10**8, 10**8)) is None
    smallest = fitting_model(BOUNDLESS)
    assert smallest and smallest.id == "cogvideox-2b"


def test_planning_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import unstrung.models.hub.memory as m; print(m.look().vram, 'diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "None False\n", done.stderr


def small_pipeline(kind: str) -> Any:
    """A real pipeline with random weights: three layers, a prompt of single letters."""
    import torch
    from diffusers import (
        AutoencoderKLCogVideoX,
        AutoencoderKLWan,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
        FlowMatchEulerDiscreteScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"),
    ]
    tokenizer = T5Tokenizer(vocab=pieces)
    text: dict[str, Any] = {"d_model": 32, "d_kv": 8, "num_layers": 2, "num_heads": 4, "d_ff": 64, "vocab_size": 64}
    if kind == "wan":
        transformer = WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=16, ffn_dim=32, num_layers=3
        )
        parts = (AutoencoderKLWan(base_dim=4), FlowMatchEulerDiscreteScheduler(), transformer)
        pipe = WanPipeline(tokenizer, UMT5EncoderModel(UMT5Config(**text)).bfloat16(), *parts)
    else:
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=4, time_embed_dim=2, text_embed_dim=32,
            num_layers=3, sample_width=2, sample_height=2, sample_frames=9, max_text_seq_length=16,
        )  # fmt: skip
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        )  # fmt: skip
        encoder = T5EncoderModel(T5Config(**text)).bfloat16()
        pipe = CogVideoXPipeline(tokenizer, encoder, vae.bfloat16(), transformer, CogVideoXDDIMScheduler())
    transformer.bfloat16()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe: Any) -> np.ndarray:
    import torch

    asked = {"height": 32, "width": 32, "num_frames": 9, "num_inference_steps": 2, "max_sequence_length": 16, "output_type": "np"}
    frames: np.ndarray = pipe("a fox", generator=torch.Generator().manual_seed(1), **asked).frames[0]
    assert frames.shape == (9, 32, 32, 3) and np.isfinite(frames).all()
    return frames


@pytest.mark.parametrize("kind", ["wan", "cogvideox"])
def test_a_real_pipeline_draws_the_same_wherever_its_weights_lie(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    import torch

    def placed(name: str, tiled: bool = False) -> Any:
        pipe = small_pipeline(kind)
        apply(pipe, Plan(name, tiled, {}, 0, 0, 1.0, 0.0), "cpu", tmp_path)
        return pipe

    resident = drawn(placed("resident"))
    assert np.ptp(resident) > 0.01
    for name in ("group-offload", "disk"):
        assert np.array_equal(drawn(placed(name)), resident), name
    for part in ("transformer", "text_encoder"):
        assert list((tmp_path / part).glob("*.safetensors")), "its layers lie on the disk"
    tiled = placed("resident", tiled=True)
    assert tiled.vae.use_tiling and np.array_equal(drawn(tiled), resident), "one tile holds all of so small a picture"
    eight = placed("fp8")
    assert torch.float8_e4m3fn in {parameter.dtype for parameter in eight.transformer.parameters()}
    assert not np.array_equal(drawn(eight), resident)


def test_a_pipeline_moves_its_parts_one_after_the_other() -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("accelerate")
    resident = drawn(small_pipeline("wan"))
    pipe = small_pipeline("wan")
    apply(pipe, Plan("model-offload", False, {}, 0, 0, 1.0, 0.0), "cpu")
    assert np.array_equal(drawn(pipe), resident)
