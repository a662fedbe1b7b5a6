"""Films that are drawn smaller, doubled and drawn on: real pipelines, tiny, as the library's own are called by hand."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

import tiny  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import Canceled, InvalidRequest, MissingWeights, NotEnoughMemory  # noqa: E402
from unstrung.events import Event, Note, Preview, Progress  # noqa: E402
from unstrung.media.clip import Clip  # noqa: E402
from unstrung.media.codec import read_recipe, write_clip  # noqa: E402
from unstrung.models.device import bf16_is_fast  # noqa: E402
from unstrung.models.hub import _KNOWN, card_of, digest, memory  # noqa: E402
from unstrung.models.hub.families import UPSAMPLERS  # noqa: E402
from unstrung.models.hub.memory import GB, Machine, Plan  # noqa: E402
from unstrung.models.hub.upsample import counted, passes  # noqa: E402
from unstrung.request import Condition, Request, resolve  # noqa: E402

WORDS = "a red fox running through the snow at night"
MODELS = DEV, DISTILLED = "ltx-video-13b", "ltx-video-13b-distilled"
REPO = "Lightricks/ltxv-spatial-upscaler-0.9.7"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the hub with both models and their upsampler."""
    with tiny.cache(tmp_path_factory.mktemp("hub"), MODELS) as folder:
        pipe = diffusers.LTXConditionPipeline.from_pretrained(snapshot(folder, DEV))
        tiny.ltx_upsampler(pipe.vae).save_pretrained(place(folder))
        yield folder


def place(home: Path) -> Path:
    return home / "hub" / f"models--{REPO.replace('/', '--')}" / "snapshots" / "fedcba9876543210"


def snapshot(home: Path, model: str) -> Path:
    repo = _KNOWN[model][1].repo_id
    return next((home / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots").iterdir())


def asked(model: str = DEV, side: int = 96, upsample: bool = True, **more: Any) -> Request:
    request = Request(WORDS, model=model, width=side, height=side, num_frames=9, seed=7, options={"upsample": upsample})
    steps = None if model == DISTILLED else 5
    return replace(request, num_inference_steps=steps, **more)


def by_hand(home: Path, model: str, clip: Clip | None = None) -> Any:
    """Call diffusers' pipelines one after the other, as its documentation does for this model."""
    kind = torch.bfloat16 if bf16_is_fast("cpu") else torch.float32
    pipe = diffusers.LTXConditionPipeline.from_pretrained(snapshot(home, model), dtype=kind)
    double = diffusers.LTXLatentUpsamplePipeline.from_pretrained(place(home), vae=pipe.vae, dtype=kind)
    distilled = model == DISTILLED

    def call(side: int, **more: Any) -> Any:
        if clip is not None:
            from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
            from PIL import Image

            more["conditions"] = [LTXVideoCondition(image=Image.fromarray(clip.cover(96, 96).cover(side, side).frames[0]))]
        return pipe(
            prompt=WORDS, negative_prompt="", width=side, height=side, num_frames=9, frame_rate=24, decode_timestep=0.05,
            decode_noise_scale=0.025, image_cond_noise_scale=0.0, guidance_scale=1.0 if distilled else 5.0, guidance_rescale=0.7,
            generator=torch.Generator().manual_seed(7), **more,
        ).frames  # fmt: skip

    first: dict[str, Any] = {"timesteps": [1000, 993, 987, 981, 975, 909, 725, 0.03]} if distilled else {"num_inference_steps": 5}
    doubling: dict[str, Any] = {"adain_factor": 1.0, "tone_map_compression_ratio": 0.6} if distilled else {}
    again: dict[str, Any] = {"num_inference_steps": 10, "denoise_strength": 0.4}
    if distilled:
        again = {"timesteps": [1000, 909, 725, 421, 0], "denoise_strength": 0.999}
    small = call(64, output_type="latent", **first)
    large = double(latents=small, output_type="latent", **doubling).frames
    assert large.shape[-2:] == (4, 4)
    frames = call(128, latents=large, output_type="np", **again)[0]
    return Clip((frames * 255).round().astype(np.uint8), 24).cover(96, 96).frames


@pytest.mark.parametrize(("model", "later"), [(DEV, 4), (DISTILLED, 4)])
def test_it_is_what_the_pipelines_give_when_they_are_called_by_hand(model: str, later: int, home: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    opened = engine.open_model(model)
    clip, recipe = engine.generate(asked(model), events.append, model=opened)
    plain, other = engine.generate(asked(model, upsample=False), model=opened)
    again, _ = engine.generate(asked(model), model=opened)
    another, _ = engine.generate(replace(asked(model), seed=8), model=opened)
    assert clip.frames.shape == (9, 96, 96, 3) and clip.sha256() == again.sha256()
    assert len({clip.sha256(), plain.sha256(), another.sha256()}) == 3
    assert np.array_equal(clip.frames, by_hand(home, model))
    steps = [(event.done, event.total) for event in events if isinstance(event, Progress) and event.stage == "sample"]
    count = (8 if model == DISTILLED else 5) + later
    assert {total for _, total in steps} == {count}, "all steps are counted from the first one on"
    assert sorted({done for done, _ in steps}) == list(range(count + 1))
    shown = [event for event in events if isinstance(event, Preview)]
    assert [event.step for event in shown] == ([3, 6, 11] if model == DISTILLED else [3, 8])
    assert shown[0].frames.shape[0] == shown[-1].frames.shape[0] > 1
    file = tmp_path / "film.mp4"
    write_clip(clip, file, recipe=recipe)
    told = read_recipe(file).model["upsampler"]
    weights = place(home) / "latent_upsampler" / "diffusion_pytorch_model.safetensors"
    assert told["repo_id"] == REPO and told["revision"] == place(home).name
    assert told["files"] == {"latent_upsampler/diffusion_pytorch_model.safetensors": digest(weights)}
    assert "upsampler" not in other.model and recipe.resolved["options"]["upsample"] is True
    assert engine.remake(recipe)[2]


def test_what_is_given_counts_in_both_passes(home: Path) -> None:
    lights = np.random.default_rng(0).uniform(60, 255, (1, 96, 96, 3)).astype(np.uint8)
    opened = engine.open_model(DEV)

    def made(*conditions: Condition) -> Clip:
        request = replace(asked(), conditions=conditions)
        return engine.generate(request, model=opened, open_source=lambda _: Clip(lights, 24))[0]

    clip = made(Condition("one"))
    assert clip.frames.shape == (9, 96, 96, 3) and np.array_equal(clip.frames, by_hand(home, DEV, Clip(lights, 24)))
    assert clip.sha256() != made().sha256()
    for conditions in ((Condition("one"), Condition("one", -1)), (Condition("one", 4),)):
        assert made(*conditions).sha256() != clip.sha256()


@pytest.mark.parametrize("done", [2, 7])
def test_either_pass_can_be_stopped_and_leaves_nothing(
    done: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path))
    opened = engine.open_model(DEV)

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and (event.stage, event.done) == ("sample", done):
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(asked(), stop, model=opened)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert np.array_equal(engine.generate(asked(), model=opened)[0].frames, engine.generate(asked())[0].frames)


class Killed(BaseException):
    """As far as the work goes, the end of its process."""


def killed(*_: Any) -> None:
    raise Killed


def test_what_was_sampled_is_decoded_by_whoever_goes_on(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path))
    opened: Any = engine.open_model(DEV)
    plain, _ = engine.generate(asked(), model=opened)
    pipe = opened._pipes.get("LTXConditionPipeline")
    dying = pipe.vae.decoder.register_forward_pre_hook(killed)
    with pytest.raises(Killed):
        engine.generate(asked(), model=opened)
    dying.remove()
    pipe.transformer.register_forward_pre_hook(killed)
    events: list[Event] = []
    again, recipe = engine.generate(asked(), events.append, model=opened)
    assert np.array_equal(again.frames, plain.frames) and recipe.model["upsampler"]
    assert "kept" in [event.code for event in events if isinstance(event, Note)] and not list((tmp_path / "latents").iterdir())


def out_of_memory(module: Any, *given: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_memory_that_ends_in_the_upsampler_is_met_by_a_smaller_plan(home: Path) -> None:
    opened: Any = engine.open_model(DEV)
    plain, _ = engine.generate(asked(), model=opened)
    opened._pipes._upsampler.latent_upsampler.register_forward_pre_hook(out_of_memory)
    notes: list[Event] = []
    again, recipe = engine.generate(asked(), notes.append, model=opened)
    assert [event.code for event in notes if isinstance(event, Note)] == ["smaller_plan"]
    assert recipe.device["plan"] != "resident" or recipe.device["tiled"]
    assert again.frames.shape == plain.frames.shape


@pytest.mark.parametrize("plan", ["model-offload", "group-offload", "disk"])
def test_it_draws_the_same_wherever_its_weights_lie(plan: str, home: Path) -> None:
    pytest.importorskip("accelerate")
    resident, _ = engine.generate(asked())
    opened: Any = engine.open_model(DEV)
    run = resolve(asked(), opened.card).run
    opened._pipes.plan_for(run)
    opened._pipes.plan = Plan(plan, False, {}, 0, 0, 1.0, 0.0)
    from unstrung.models.hub import upsample

    opened._upsampler = upsample.find(run, _KNOWN[DEV][1])
    for _ in range(2):
        clip = opened._run(run, lambda _: None, {})
        away = np.abs(clip.frames.astype(int) - resident.frames)
        assert away.max() <= 1 and (away > 0).mean() < 1e-3


def test_a_cache_guesses_in_the_first_pass_alone(home: Path) -> None:
    opened: Any = engine.open_model(DEV)
    request = replace(asked(), num_inference_steps=9)
    plain, _ = engine.generate(request, model=opened)
    guessed = replace(request, options={"upsample": True, "cache": "taylorseer"})
    calls: list[int] = []  # of the last layer, which what is left out does not reach
    block = opened._pipes.get("LTXConditionPipeline").transformer.transformer_blocks[-1]
    layer = [module for module in block.modules() if isinstance(module, torch.nn.Linear)][-1]
    layer.register_forward_hook(lambda *_: calls.append(1))
    first: list[int] = []

    def hear(event: Event) -> None:
        if isinstance(event, Progress) and (event.stage, event.done) == ("sample", 9):
            first.append(len(calls))

    clip, recipe = engine.generate(guessed, hear, model=opened)
    assert clip.sha256() != plain.sha256() and recipe.model["cache"] == {"name": "taylorseer"}
    assert 0 < first[0] < 9 and len(calls) - first[0] == 4, "some of nine, and all four"
    assert engine.generate(request, model=opened)[0].sha256() == plain.sha256()


def test_what_can_not_be_had_is_refused_before_anything_is_loaded(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Any = engine.open_model(DEV)
    with pytest.raises(InvalidRequest, match=r"option upsample is True; the preset 'draft' .* leave one of the two out"):
        engine.generate(replace(asked(), options={"upsample": True, "preset": "draft"}), model=opened)
    with pytest.raises(InvalidRequest, match="option upsample is 'yes'; it must be of type bool"):
        engine.generate(replace(asked(), options={"upsample": "yes"}), model=opened)
    with pytest.raises(InvalidRequest, match=r"ltx-video-0\.9\.5 has no option 'upsample'"):
        engine.check(replace(asked(), model="ltx-video-0.9.5"))
    place(home).parent.rename(tmp_path / "gone")
    try:
        words = f"Option upsample needs weights of their own, which are not here: unstrung models pull hf:{REPO}$"
        with pytest.raises(MissingWeights, match=words):
            engine.generate(asked(), model=opened)
        assert not opened._pipes._pipes, "nothing was loaded"
        engine.generate(asked(upsample=False), model=opened)
    finally:
        (tmp_path / "gone").rename(place(home).parent)


@pytest.mark.parametrize(
    ("asked_for", "small"), [((96, 96), (64, 64)), ((64, 32), (32, 32)), ((1216, 704), (800, 480)), ((1152, 768), (768, 512))]
)
def test_the_first_pass_is_two_thirds_and_the_second_never_less_than_what_is_asked_for(
    asked_for: tuple[int, int], small: tuple[int, int]
) -> None:
    family, weights = _KNOWN[DEV]
    both = counted(weights, asked())
    assert passes(weights, family, *asked_for) == [(30, *asked_for)]
    assert passes(both, family, *asked_for) == [(30, *small), (4, 2 * small[0], 2 * small[1])]
    for side in range(32, 2049, 32):
        _, wide, high = passes(both, family, side, 64)[1]
        assert side <= wide <= 2 * side and high == 64


def test_plans_count_the_upsampler_and_the_size_that_is_drawn() -> None:
    family, weights = _KNOWN[DEV]
    both, machine = counted(weights, asked()), Machine(10**15, 10**15, 10**15)
    film = (1216, 704, 121, machine)
    for plain, more in zip(memory.every(weights, family, *film), memory.every(both, family, *film), strict=True):
        assert (
            more.name == plain.name
            and all(more.vram[stage] >= plain.vram[stage] for stage in plain.vram)
            and more.ram > plain.ram
        )
    resident, large = next(memory.every(both, family, *film)), next(memory.every(weights, family, 1600, 960, 121, machine))
    assert {resident.vram[stage] - large.vram[stage] for stage in large.vram} == {2 * 126_000_000}
    assert resident.petaflops < large.petaflops / 2, "most steps are made at half of its sides"
    with pytest.raises(NotEnoughMemory, match=r"ltx-video-13b at 1216x704 .* This would fit: --size"):
        memory.choose(both, family, 1216, 704, 121, Machine(8 * GB, 64 * GB, 100 * GB))
    run = resolve(asked(side=704), card_of(family, weights)).run
    rows = [memory.forecast(counted(weights, one), family, one, machine=machine) for one in (run, replace(run, options={}))]
    assert rows[0][0]["vram"]["sample"] > rows[1][0]["vram"]["sample"]


def test_rows_say_the_same_as_the_pipelines() -> None:
    taken = set(inspect.signature(diffusers.LTXConditionPipeline.__call__).parameters)
    repositories = {weights.repo_id for _, weights in _KNOWN.values()}
    for repo_id, row in UPSAMPLERS.items():
        assert repo_id in repositories and set(row.again) <= taken
        assert set(row.doubling) <= set(inspect.signature(getattr(diffusers, row.pipeline).__call__).parameters)
        with torch.device("meta"):
            model = tiny.LTXLatentUpsamplerModel()
        assert abs(sum(one.numel() for one in model.parameters()) / 1e9 - row.billions) < 0.001


def test_from_the_command(home: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "unstrung"]
    film = [WORDS, "--model", DEV, "--size", "64x64", "--seconds", "0.4", "--steps", "2", "--set", "upsample=true"]
    done = subprocess.run([*line, *film, "-o", "film.mp4"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_recipe(tmp_path / "film.mp4").model["upsampler"]["repo_id"] == REPO
    shown = subprocess.run([*line, "models", "show", DEV], capture_output=True, text=True, cwd=tmp_path).stdout
    assert "option    upsample = False" in shown and f"unstrung models pull hf:{REPO}" in shown
