"""What fits which machine: made-up machines over all families, what others measured, and real small pipelines under each plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from served import run, run_here
from unstrung.errors import NotEnoughMemory
from unstrung.media.clip import Clip
from unstrung.models.device import bf16_is_fast, bf16_is_foreseen, may_have_gpu
from unstrung.models.hub import _KNOWN, card_of, fits
from unstrung.models.hub.families import FAMILIES, Family, Weights
from unstrung.models.hub.memory import (
    COSTS,
    GB,
    Machine,
    Plan,
    _frames,
    choose,
    every,
    fitting_model,
    forecast,
    look,
    plans,
    step_down,
)
from unstrung.request import Condition, Request, fill, resolve

ROWS = [(weights, family) for family in FAMILIES for weights in family.weights]
NAMES = [weights.id for weights, _ in ROWS]
MACHINES = [Machine(v and v * GB, ram * GB, 200 * GB) for v, ram in product((None, 4, 8, 12, 16, 24, 80), (8, 16, 64))]
BOUNDLESS = Machine(10**15, 10**15, 10**15)


def frames_of(weights: Weights, family: Family) -> int:
    return _frames(family, round(weights.seconds * weights.fps))


def find(model: str) -> tuple[Weights, Family]:
    family, weights = _KNOWN[model]
    return weights, family


def test_the_list_says_what_fits() -> None:
    small, large = Machine(8 * GB, 32 * GB, 500 * GB, "a small one"), Machine(80 * GB, 200 * GB, 500 * GB, "H100")
    none = Machine(None, 16 * GB, 500 * GB)
    cards = {weights.id: card_of(family, weights) for weights, family in ROWS}
    said = {id: (fits(card, none), fits(card, small), fits(card, large)) for id, card in cards.items()}
    assert {there for _, _, there in said.values()} == {"yes"} and {there for there, _, _ in said.values()} == {"no", "slowly"}
    assert said["wan2.2"][:2] == ("no", "no") and said["cogvideox-2b"][1] == "yes"
    for weights, family in ROWS:  # as the plans say
        asked = fill(Request("a fox", model=weights.id), cards[weights.id]).run
        rows = forecast(weights, family, asked, machine=small)
        assert (said[weights.id][1] == "no") == all(row["why"] for row in rows), weights.id


@pytest.mark.parametrize(("weights", "family"), ROWS, ids=NAMES)
def test_every_machine_gets_a_plan_or_hears_what_would_fit(weights: Weights, family: Family) -> None:
    num_frames = frames_of(weights, family)
    for machine in MACHINES:
        try:
            plan = choose(weights, family, *weights.size, num_frames, machine)
        except NotEnoughMemory as error:
            said = error.message
            assert weights.id in said and f"{weights.size[0]}x{weights.size[1]}" in said and " free" in said
            if named := re.search(r"--size (\d+)x(\d+)(?: --seconds (\d+))?$", said):
                width, height = int(named[1]), int(named[2])
                frames = _frames(family, int(named[3]) * weights.fps) if named[3] else num_frames
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


def test_a_processor_that_computes_in_float32_needs_twice_the_memory() -> None:
    """Weights of eight bits stay as small as they are; a VAE that is always float32 too."""
    for model, ratio in (("cogvideox-5b", 2), ("wan2.1-14b", 1.9)):
        weights, family = find(model)
        half, full = (
            {plan.name: plan.ram for plan in every(weights, family, 480, 320, 49, replace(BOUNDLESS, vram=None, width=width))}
            for width in (2, 4)
        )
        assert half["resident"] * ratio * 0.9 < full["resident"] <= half["resident"] * 2
        assert full["fp8"] < half["resident"] * 1.4


def test_weights_of_eight_bits_need_less_than_the_same_ones_in_sixteen() -> None:
    """Of two experts too, of which one is on the GPU at a time."""
    for weights, family in ROWS:
        by_name = {plan.name: plan for plan in every(weights, family, *weights.size, frames_of(weights, family), BOUNDLESS)}
        assert by_name["fp8"].vram["sample"] < by_name["group-offload"].vram["sample"], weights.id


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


def test_what_a_cache_keeps_is_counted() -> None:
    weights, family = find("wan2.1-14b")
    film = (weights, family, 832, 480, 81)
    states = (21 * 52 * 30 + family.text_tokens) * weights.width

    def peaks(cache: str) -> dict[str, int]:
        return dict(next(iter(every(*film, BOUNDLESS, cache=cache))).vram)

    plain = peaks("none")
    for cache, bytes_ in (("taylorseer", 0), ("magcache", 8), ("first-block", 12), ("cache-dit", 24)):  # both passes together
        with_it = peaks(cache)
        assert [with_it[stage] - plain[stage] for stage in ("encode", "sample", "decode")] == [
            0,
            states * bytes_,
            states * bytes_,
        ]
    least = min(plan.peak for plan in every(*film, BOUNDLESS)) + GB
    small = Machine(least, 10**12, 10**12)
    assert choose(*film, small)
    with pytest.raises(NotEnoughMemory, match=r"Without the cache 'first-block' it would: --set cache=none"):
        choose(*film, small, cache="first-block")
    asked = Request("a fox", model=weights.id, width=832, height=480, seconds=5.0, options={"cache": "first-block"})
    rows = forecast(weights, family, resolve(asked, card_of(family, weights)).run, machine=small)
    assert all(row["why"] for row in rows) and "--set cache=none" in rows[-1]["why"]


def test_a_film_in_pieces_is_counted_by_the_piece() -> None:
    for model in ("helios", "helios-distilled", "skyreels-v2-df"):
        weights, family = find(model)
        piece, long = _frames(family, COSTS[family.id].piece or 0), _frames(family, weights.max_frames // 2)
        first, more = (next(iter(every(weights, family, *weights.size, n, BOUNDLESS))) for n in (piece, long))
        assert more.vram["sample"] - first.vram["sample"] < 4 * GB and more.petaflops >= first.petaflops * 4
        with_all = replace(family, id="wan")  # as if all of it were drawn at once
        assert next(iter(every(weights, with_all, *weights.size, long, BOUNDLESS))).vram["sample"] > more.vram["sample"] + 4 * GB


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
    assert smallest and smallest.id == "sana-video"


def test_every_family_has_its_costs() -> None:
    assert set(COSTS) == {family.id for family in FAMILIES}


def test_planning_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import unstrung.models.hub.memory as m; print(m.look().vram, 'diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "None False\n", done.stderr


@pytest.mark.skipif(may_have_gpu(), reason="this machine may have a GPU: PyTorch is asked")
def test_a_machine_without_a_gpu_is_known_without_loading_anything() -> None:
    code = "import sys; import unstrung.models.hub.memory as m; print(m.look(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    seen = look("cpu")
    assert re.fullmatch(rf"Machine\(vram=None, .*width={seen.width}, processes=1\) False\n", done.stdout), done.stderr


def test_what_the_processor_does_well_is_foreseen() -> None:
    pytest.importorskip("torch")
    assert bf16_is_foreseen() == bf16_is_fast("cpu")


def same(one: Any, other: Any) -> bool:
    """Whether frames are alike but for the rounding of a few: where weights lie in memory, a float32's last bit may depend on."""
    away = np.abs(one.astype(int) - other)
    return bool(away.max() <= 1 and (away > 0).mean() < 1e-3)


# one of each kind of parts; what is opened by the class of another task is left to the adapter's own tests
ABLE = ("cogvideox-2b", "mochi-1", "ltx-video", "wan2.1-1.3b", "wan2.1-i2v-480p", "wan2.2", "wan2.2-5b")


@pytest.mark.parametrize("model", ABLE)
def test_a_real_pipeline_draws_the_same_wherever_its_weights_lie(model: str, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("accelerate")
    import torch

    import tiny
    from unstrung.models.hub.adapter import HubModel
    from unstrung.models.hub.pipes import Pipes

    torch.set_num_threads(1)
    family, weights = _KNOWN[model]
    saved = tiny.save(model, tmp_path)
    card = card_of(family, weights)
    given = {"one": Clip(np.full((1, 64, 64, 3), (200, 60, 20), np.uint8), weights.fps)}
    conditions = () if "text-to-video" in card.tasks else (Condition("one"),)
    asked = Request(
        "a red fox", model=model, width=64, height=64, num_frames=9, num_inference_steps=2, seed=1, conditions=conditions
    )
    run = resolve(asked, card).run
    assert run.num_frames

    def drawn(name: str, tiled: bool = False) -> tuple[Any, Any]:
        pipes = Pipes(card, family, weights, saved, "cpu")
        pipes.plan = Plan(name, tiled, {}, 0, 0, 1.0, 0.0)
        pipe = pipes.get(family.ways[card.tasks[0]].pipeline)
        if tiled:  # one tile holds all of so small a picture; a tiny CogVideoX's tiles are too small for their seams
            assert pipe.vae.use_tiling
            pipe.vae.tile_sample_min_height, pipe.vae.tile_sample_min_width = 64, 64
            pipe.vae.tile_latent_min_height, pipe.vae.tile_latent_min_width = 64, 64
        clip = HubModel(card, family, weights, pipes, {"sha256": ""})._run(run, lambda _: None, given)
        assert clip.frames.shape == (run.num_frames, 64, 64, 3)
        return clip.frames, pipes

    resident, _ = drawn("resident")
    assert np.ptp(resident) > 2
    for name in ("model-offload", "group-offload"):
        assert same(drawn(name)[0], resident), name
    frames, pipes = drawn("disk")
    assert same(frames, resident)
    for part in ("transformer", "text_encoder"):
        assert list((Path(pipes._disk.name) / part).glob("*.safetensors")), "its layers lie on the disk"
    assert same(drawn("resident", tiled=True)[0], resident)
    pipe = drawn("fp8")[1].get(family.ways[card.tasks[0]].pipeline)
    assert torch.float8_e4m3fn in {parameter.dtype for parameter in pipe.transformer.parameters()}


def test_doctor_says_which_way_a_model_fits(tmp_path: Path) -> None:
    def doctor(*words: str) -> subprocess.CompletedProcess[str]:
        return run_here("doctor", *words, cwd=tmp_path)

    asked = ("--model", "wan2.1-1.3b", "--size", "832x480", "--seconds", "2", "--device", "cpu")
    report = json.loads(run("doctor", *asked, "--json", cwd=tmp_path).stdout)
    assert (report["model"], report["width"], report["num_frames"]) == ("wan2.1-1.3b", 832, 33)
    assert {row["plan"] for row in report["plans"]} >= {"resident", "fp8", "disk"}
    said = doctor(*asked).stdout
    assert said.startswith("wan2.1-1.3b at 832x480, 33 frames at 16 a second: "), said
    large = doctor("--model", "wan2.2", "--size", "2048x2048", "--device", "cpu").stdout
    assert "GB of RAM" in large
    assert "resident: 1.5 GB of RAM" in doctor("--model", "nano").stdout
    assert doctor("--model", "wan2.1-i2v-480p", "--size", "832x480").returncode == 0, "whatever it is made from"
    needed = {}
    for option in ("cache=none", "cache=first-block", "gpus=2"):
        rows = json.loads(doctor(*asked, "--set", option, "--json").stdout)["plans"]
        needed[option] = {(row["plan"], row["tiled"]): row["ram"] for row in rows if "ram" in row}
    whole = ("resident", False)  # which of the two ways comes first depends on who else has memory just now
    assert needed["cache=none"][whole] < needed["cache=first-block"][whole]
    assert {plan for plan, _ in needed["gpus=2"]} == {"resident"}
    assert "has no option 'gpu'" in doctor(*asked, "--set", "gpu=2").stderr
    listed = doctor().stdout
    assert re.search(r"^nano +ready$", listed, re.M) and re.search(
        r"^wan2\.2 +not here; it would (fit|not fit: it needs .* are free)", listed, re.M
    )
    wrong = doctor("--size", "640x360")
    assert wrong.returncode == 2 and "add --model NAME" in wrong.stderr


def test_a_forecast_of_what_does_not_fit_says_what_would() -> None:
    family, weights = _KNOWN["ltx-video-13b"]
    run = resolve(Request("a fox", model=weights.id, fps=30), card_of(family, weights)).run
    rows = forecast(weights, family, run, machine=Machine(16 * GB, 64 * GB, 100 * GB))
    if all(row["why"] for row in rows):
        assert "This would fit: --size" in rows[-1]["why"]
    rows = forecast(weights, family, run, machine=Machine(10 * GB, 64 * GB, 100 * GB))
    assert "This would fit: --size" in rows[-1]["why"]
    assert "nano" in forecast(weights, family, run, machine=Machine(GB, GB, GB))[-1]["why"]
