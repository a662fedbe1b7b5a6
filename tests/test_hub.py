"""The open models through our words: every family's real pipeline, tiny, from its publisher's files to a film with a recipe."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition  # noqa: E402

import tiny  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import (  # noqa: E402
    Canceled,
    InvalidRequest,
    MissingWeights,
    NotEnoughMemory,
    UnknownModel,
)
from unstrung.events import Event, Note, Preview, Progress  # noqa: E402
from unstrung.media.clip import Clip  # noqa: E402
from unstrung.media.codec import read_clip, read_recipe, write_clip  # noqa: E402
from unstrung.models.device import bf16_is_fast  # noqa: E402
from unstrung.models.hub import _KNOWN, CARDS, others  # noqa: E402
from unstrung.models.hub.caches import transformers  # noqa: E402
from unstrung.models.hub.families import CONTROL, EXTEND, FAMILIES, FIRST_LAST, IMAGE, KEYFRAMES, TEXT, VIDEO  # noqa: E402
from unstrung.request import Condition, Request  # noqa: E402

WORDS = "a red fox running through the snow at night"
KNOWN = {card.id: card for card in CARDS}
DOCS = Path(__file__).parents[1] / "docs" / "hub.md"
# whose latents are laid out, kept and decoded as those of another one of their family, which is tested for that
ALIKE = ("cogvideox-5b", "ltx-2.3", "ltx-2.5", "kandinsky-5-pro-i2v", "cogvideox-5b-i2v")
RUNS = [(card.id, task) for card in CARDS for task in card.tasks]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of the hub, as it is after the tiny models were pulled."""
    with tiny.cache(tmp_path_factory.mktemp("hub"), tiny.MAKERS) as home:
        yield home


@pytest.fixture(scope="module")
def opened(hub: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A model, loaded once for all tests that name it."""
    model = engine.open_model(request.param)
    yield model
    model.close()


# models that give what comes after a film, and which film that is: Helios needs 33 frames
GOING_ON = {"helios": "longer", "helios-distilled": "longer", "helios-mid": "longer", "skyreels-v2-df": "video"}


def asked(model: str, task: str = TEXT, files: dict[str, str] | None = None, **more: Any) -> Request:
    card = KNOWN[model]
    weights = _KNOWN[model][1]
    frames = (2 if card.frame_stride < 32 and not weights.fixed else 1) * card.frame_stride + card.frame_offset
    if files and task == EXTEND and card.id in GOING_ON:
        frames += card.frame_stride  # more than it is given
        files = {**files, "video": files[GOING_ON[card.id]]}
    width, height = weights.size if weights.fixed else (card.limits.min_side, card.limits.min_side)
    request = Request(WORDS, model=model, width=width, height=height, num_frames=frames, num_inference_steps=3, seed=7)
    return replace(request, conditions=tiny.given(task, files or {}) if task != TEXT else (), **more)


@pytest.mark.parametrize(("opened", "task"), RUNS, indirect=["opened"], scope="module")
def test_every_family_makes_films_of_every_task(
    opened: Any, task: str, pictures: dict[str, str], ran: set[tuple[str, str]], tmp_path: Path
) -> None:
    card, model = opened.card, opened.card.id
    request = asked(model, task, pictures)
    events: list[Event] = []
    clip, recipe = engine.generate(request, events.append, model=opened)
    again, _ = engine.generate(request, model=opened)
    other, _ = engine.generate(replace(request, seed=8), model=opened)
    assert (clip.width, clip.height, clip.num_frames, clip.fps) == (request.width, request.height, request.num_frames, card.fps)
    assert clip.sha256() == again.sha256() != other.sha256()
    steps = [event for event in events if isinstance(event, Progress) and event.stage == "sample"]
    assert steps[-1].done == steps[-1].total >= (2 if task == VIDEO else 3)
    file = tmp_path / "film.mp4"
    write_clip(clip, file, recipe=recipe)
    kept, made = read_recipe(file), read_clip(file)
    assert (made.num_frames, made.fps, made.width) == (request.num_frames, card.fps, request.width)
    assert {"vae/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"} <= set(
        kept.model["files"]
    )
    assert all(len(digest) == 64 for digest in kept.model["files"].values())
    assert kept.model["id"] == model and kept.seed == 7 and len(kept.parents) == len({c.source for c in request.conditions})
    assert {"encode", "sample", "decode"} <= set(kept.seconds) and kept.software["diffusers"] == diffusers.__version__
    ran.add((model, task))


@pytest.fixture(scope="module")
def ran() -> set[tuple[str, str]]:
    """Which models have made a film of which task."""
    return set()


def test_the_table_of_what_runs_is_that_of_what_ran(ran: set[tuple[str, str]]) -> None:
    """`UNSTRUNG_WRITE_DOCS=1 pytest tests/test_hub.py` writes it."""
    if ran != set(RUNS):
        pytest.skip("not all were run")
    rows = ["| family | task | by diffusers' | ran, tiny, on the CPU |", "|---|---|---|---|"]
    for family in FAMILIES:
        for task, way in family.ways.items():
            made = " ".join(
                f"`{model}`" for model, done in RUNS if done == task and _KNOWN[model][0] is family and (model, done) in ran
            )
            rows.append(f"| {family.id} | {task} | `{way.pipeline}` | {made or 'not yet'} |")
    text = DOCS.read_text()
    wanted = re.sub(r"(?<=<!-- what runs -->\n).*?(?=\n<!-- end -->)", lambda _: "\n".join(rows), text, flags=re.DOTALL)
    if os.environ.get("UNSTRUNG_WRITE_DOCS"):
        DOCS.write_text(wanted)
    assert text == wanted


# what whoever calls a pipeline by hand has to say beside what is asked for: the shift of its sampler, as its makers draw with it, too
LTX, DECODED = {"frame_rate": 24}, {"decode_timestep": 0.05, "decode_noise_scale": 0.025}
BY_HAND: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("cogvideox-2b", TEXT, {}), ("cogvideox-2b", VIDEO, {}), ("cogvideox1.5-5b-i2v", IMAGE, {}), ("mochi-1", TEXT, {}),
    ("ltx-video", TEXT, LTX), ("ltx-video", IMAGE, LTX),
    *(("ltx-video-0.9.5", task, LTX | DECODED) for task in (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND)),
    ("wan2.1-1.3b", TEXT, {}), ("wan2.1-1.3b", VIDEO, {}), ("wan2.1-14b", TEXT, {"shift": 5.0}),
    ("wan2.1-i2v-720p", IMAGE, {"shift": 5.0}), ("wan2.1-flf2v", FIRST_LAST, {"shift": 16.0}),
    ("wan2.2", TEXT, {"shift": 12.0, "guidance_scale_2": 3.0}), ("wan2.2-i2v", FIRST_LAST, {"shift": 5.0, "guidance_scale_2": 3.5}),
    ("wan2.2-5b", TEXT, {}), ("wan2.2-5b", IMAGE, {}),
    *(("wan2.1-vace-1.3b", task, {"shift": 16.0}) for task in (TEXT, IMAGE, FIRST_LAST, KEYFRAMES, EXTEND, CONTROL)),
    ("skyreels-v2", TEXT, {"shift": 8.0}),
    ("sana-video", TEXT, {"prompt": f"{WORDS} motion score: 30.", "use_resolution_binning": False}),
)  # fmt: skip


def shown_by_hand(pipe: Any, task: str, request: Request, files: dict[str, str]) -> dict[str, Any]:
    """What a pipeline is shown for a task, made of the files as its documentation has it."""
    assert request.width and request.height and request.num_frames and request.fps
    size = (request.width, request.height)
    one, two = ([Image.fromarray(engine.open_file(files[name]).cover(*size).frames[0])] for name in ("one", "two"))
    film = engine.open_file(files["video"]).at_rate(request.fps).cover(*size)
    frames = [Image.fromarray(frame) for frame in film.frames]
    followed = [*frames, *frames[-1:] * request.num_frames][: request.num_frames]  # its last one stays
    last = request.num_frames - 1
    pinned = {IMAGE: {0: one}, FIRST_LAST: {0: one, last: two}, KEYFRAMES: {0: one, 8: two}, EXTEND: {0: frames}}.get(task, {})
    match type(pipe).__name__:
        case "LTXConditionPipeline":
            shown = {at: {"video": of} if task == EXTEND else {"image": of[0]} for at, of in pinned.items()}
            return {"conditions": [LTXVideoCondition(frame_index=at, **what) for at, what in shown.items()]} if shown else {}
        case "WanVACEPipeline" if pinned:
            known = {at + i: frame for at, of in pinned.items() for i, frame in enumerate(of)}
            grey, black, white = Image.new("RGB", size, (128, 128, 128)), Image.new("L", size, 0), Image.new("L", size, 255)
            every = range(request.num_frames)
            return {"video": [known.get(i, grey) for i in every], "mask": [black if i in known else white for i in every]}
    return {
        TEXT: {}, IMAGE: {"image": one[0]}, FIRST_LAST: {"image": one[0], "last_image": two[0]},
        VIDEO: {"video": followed, "strength": 1 - 0.3}, CONTROL: {"video": followed, "conditioning_scale": 0.8},
    }[task]  # fmt: skip


@pytest.mark.parametrize(("opened", "task", "more"), BY_HAND, indirect=["opened"], scope="module")
def test_frames_are_those_of_the_pipeline_called_by_hand(
    opened: Any, task: str, more: dict[str, Any], hub: Path, pictures: dict[str, str]
) -> None:
    family, weights = _KNOWN[opened.card.id]
    request = replace(asked(weights.id, task, pictures), negative_prompt="dark", guidance_scale=4.0)
    clip, recipe = engine.generate(request, model=opened)
    folder = next((hub / "hub" / f"models--{weights.repo_id.replace('/', '--')}" / "snapshots").iterdir())
    kinds = {"default": torch.bfloat16 if bf16_is_fast("cpu") else torch.float32, **dict.fromkeys(family.float32, torch.float32)}
    pipe = getattr(diffusers, family.ways[task].pipeline).from_pretrained(folder, dtype=kinds)
    assert recipe.model.get("shift") == more.get("shift")
    if "shift" in more:
        pipe.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=more["shift"])
    fps, frames = opened.card.fps, "frames" if weights.id == "sana-video" else "num_frames"
    shown = shown_by_hand(pipe, task, replace(request, fps=fps), pictures)
    arguments = {"prompt": WORDS, "negative_prompt": "dark", "num_inference_steps": 3, "guidance_scale": 4.0, **shown}
    arguments |= {"width": request.width, "height": request.height, **{name: of for name, of in more.items() if name != "shift"}}
    if frames in inspect.signature(pipe.__call__).parameters:  # else it draws as many as it is shown
        arguments[frames] = request.num_frames
    out = pipe(generator=torch.Generator("cpu").manual_seed(7), output_type="np", **arguments)
    assert np.array_equal(clip.frames, (out.frames[0] * 255).round().astype(np.uint8))


def test_a_model_that_has_words_of_its_own_against_what_is_bad_uses_them(hub: Path) -> None:
    """Kandinsky's pipeline has a negative prompt, where none is said."""
    opened: Any = engine.open_model("kandinsky-5-lite")
    engine.generate(asked("kandinsky-5-lite"), model=opened)
    heard: list[Any] = []
    pipe = opened._pipes.get("Kandinsky5T2VPipeline")
    encode = pipe.encode_prompt
    pipe.encode_prompt = lambda *words, **named: (heard.append(named["prompt"]), encode(*words, **named))[1]
    engine.generate(asked("kandinsky-5-lite"), model=opened)
    engine.generate(asked("kandinsky-5-lite", negative_prompt="dark"), model=opened)
    said = [words if isinstance(words, str) else words[0] for words in heard]
    assert said[0] == said[2] == WORDS and len(said[1]) > 20 and said[3] == "dark"


def test_attention_to_blocks_is_nobody_elses(hub: Path, pictures: dict[str, str]) -> None:
    """Kandinsky's large model needs an attention of its own, which diffusers would have all models use from then on."""
    plain, _ = engine.generate(asked("wan2.1-1.3b"))
    engine.generate(asked("kandinsky-5-pro-i2v", IMAGE, pictures, num_inference_steps=1))
    assert np.array_equal(engine.generate(asked("wan2.1-1.3b"))[0].frames, plain.frames)


def test_levels_are_those_of_the_task(hub: Path, pictures: dict[str, str]) -> None:
    """SkyReels' makers draw from a picture with another shift than from words; a sampler of another kind has it too."""
    opened: Any = engine.open_model("skyreels-v2-df")
    for task, shift in ((TEXT, 8.0), (IMAGE, 5.0), (TEXT, 8.0)):
        engine.generate(asked("skyreels-v2-df", task, pictures), model=opened)
        way = _KNOWN["skyreels-v2-df"][0].ways[task]
        assert opened._pipes.get(way.pipeline).scheduler.config.flow_shift == shift
    opened.close()
    opened = engine.open_model("wan2.1-14b")
    engine.generate(asked("wan2.1-14b", sampler="euler"), model=opened)
    assert opened._pipes.get("WanPipeline").scheduler.config.shift == 5.0


SHOWN = [model for model in tiny.NETWORKS if TEXT in KNOWN[model].tasks and model not in ALIKE]


@pytest.mark.parametrize("opened", SHOWN, indirect=True, scope="module")
def test_what_comes_is_shown_and_can_be_stopped(opened: Any) -> None:
    model, seen = opened.card.id, list[Event]()

    def stop(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Progress) and event.stage == "sample" and event.done == 7:
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(replace(asked(model), num_inference_steps=12), stop, model=opened)
    previews = [event for event in seen if isinstance(event, Preview)]
    assert [event.step for event in previews] == [3, 6]
    for event in previews:
        assert event.frames.dtype == np.uint8 and event.frames.shape[0] > 1 and event.frames.shape[3] == 3
        assert max(event.frames.shape[1:3]) >= 200
    clip, _ = engine.generate(asked(model), model=opened)  # and it works on afterwards
    assert clip.sha256() == engine.generate(asked(model))[0].sha256()


def test_two_steps_on_one_way_foretell_where_it_leads() -> None:
    from unstrung.models.hub.preview import foreseen, levels

    clean, noise = torch.randn(2, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow.set_timesteps(10)
    ddim = diffusers.CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    ddim.set_timesteps(10)
    for scheduler in (flow, ddim):
        x, found = None, levels(scheduler)
        for i, step in enumerate(scheduler.timesteps[:6]):
            signal, noisy = found[i]
            x = signal * clean + noisy * noise if x is None else x
            target = noise - clean if scheduler is flow else signal * noise - noisy * clean
            after = scheduler.step(target, step, x, return_dict=False)[0]
            told = foreseen(x, after, (found[i], found[i + 1]))
            assert told is not None and torch.allclose(told, clean, atol=1e-3), i
            x = after


def test_a_folder_is_a_model_matched_by_its_pipelines_class(hub: Path, tmp_path: Path) -> None:
    folder = tiny.save("wan2.1-1.3b", tmp_path)
    request = replace(asked("wan2.1-1.3b"), model=str(folder))
    clip, recipe = engine.generate(request)
    assert clip.sha256() == engine.generate(asked("wan2.1-1.3b"))[0].sha256() and recipe.model["id"] == str(folder)
    index = folder / "model_index.json"
    known = index.read_text()
    absent = rf"diffusers {re.escape(diffusers.__version__)} does not have"
    for name, why in (("WanPipelineOfMine", absent), ("Wan", absent), ("StableDiffusionPipeline", "draws no videos")):
        index.write_text(known.replace('"WanPipeline"', f'"{name}"'))
        words = rf"is a {name}, which {why}\. These are best known: CogVideoXImageToVideoPipeline"
        with pytest.raises(UnknownModel, match=words):
            engine.check(request)
    index.write_text("{")
    with pytest.raises(UnknownModel, match=r"there is no .*model_index\.json"):
        engine.check(request)
    with pytest.raises(MissingWeights, match=r"unstrung models pull hf:nobody/nothing"):
        engine.check(replace(request, model="hf:nobody/nothing"))
    named = engine.check(replace(request, model="hf:Wan-AI/Wan2.1-T2V-1.3B-Diffusers")).target
    assert named.model == "hf:Wan-AI/Wan2.1-T2V-1.3B-Diffusers" and named.guidance_scale == 5.0


def test_a_folder_is_run_as_the_row_that_it_is_like(hub: Path, tmp_path: Path) -> None:
    """Several rows have one class: what changes how it is run is read from the folder; a row's own repository has all of it."""
    found = {model: others.read("mine", tiny.save(model, tmp_path)) for model in (
        "cogvideox-2b", "cogvideox-5b-i2v", "cogvideox1.5-5b-i2v", "wan2.1-1.3b", "wan2.2", "wan2.2-5b", "kandinsky-5-pro-i2v",
        "kandinsky-5-lite-i2v", "ltx-2",
    )}  # fmt: skip
    assert {model: family.id for model, (family, _) in found.items()} == {model: _KNOWN[model][0].id for model in found}
    assert {model for model, (_, weights) in found.items() if weights.fixed} == {"cogvideox-5b-i2v"}
    assert {model for model, (_, weights) in found.items() if "transformer_2" in weights.billions} == {"wan2.2"}
    assert all(sum(weights.billions.values()) < 0.01 for _, weights in found.values()), "plans count what is there"
    named = engine.check(Request(WORDS, model="hf:Lightricks/LTX-2.5-Diffusers")).target
    assert (named.num_inference_steps, named.guidance_scale) == (8, 1.0)


def test_a_folder_that_can_not_be_run_says_why(tmp_path: Path) -> None:
    folder = tiny.save("wan2.1-1.3b", tmp_path)
    request = Request(WORDS, model=str(folder))
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(MissingWeights, match=r"can't be read: .* is no safetensors file"):
        engine.check(request)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(MissingWeights, match="weights only as a pickle, which can run anything"):
        engine.check(request)
    weights.with_suffix(".bin").unlink()
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(MissingWeights, match=r"vae/config\.json can't be read"):
        engine.check(request)
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(MissingWeights, match="has no weights"):
        engine.check(request)


@pytest.mark.parametrize(
    ("model", "change", "words"),
    [
        ("mochi-1", {"conditions": (Condition("a.png"),)}, r"mochi-1 does no image-to-video; it does: text-to-video\. These do: .*wan2"),
        ("wan2.1-i2v-480p", {}, "does no text-to-video; it does: image-to-video"),
        ("wan2.1-1.3b", {"conditions": (Condition("a.png"), Condition("b.png", 4))}, "does no keyframes"),
        ("wan2.1-i2v-480p", {"conditions": 2 * (Condition("one"),)}, "takes one picture or film for this, and was given 2"),
        ("wan2.1-1.3b", {"conditions": (Condition("video", kind="video", strength=0.9),)}, r"strength is 0\.9; of 3 steps that leaves none"),
        ("wan2.1-1.3b", {"fps": 24, "num_frames": None}, "fps is 24; it must be from 16 to 16"),
        ("cogvideox-2b", {"seconds": 9.0, "num_frames": None}, r"seconds is 9 s; it must be from 0 to 6\.125 s"),
        ("ltx-video-0.9.5", {"conditions": (Condition("video", kind="video"),), "num_frames": 9}, "has 9 frames, .* is to have 9: ask for more seconds"),
        ("helios", {"conditions": (Condition("video", kind="video"),), "num_frames": 65}, r"has 9 frames; helios goes on from 33 at the least, 1\.4 s"),
        ("helios", {"conditions": (Condition("video", kind="video", strength=0.5),)}, r"helios does no video-to-video; it does: .*video-extension\. These do: .*wan2\.1-1\.3b"),
        ("skyreels-v2-df", {"conditions": (Condition("video", 3, kind="video"),), "num_frames": 33}, "frame_index is 3; skyreels-v2-df goes on from the end of a film: leave it at 0"),
        ("skyreels-v2-df", {"conditions": (Condition("one"), Condition("two", -1)), "num_frames": 101}, "num_frames is 101; skyreels-v2-df draws at most 97 between two pictures: ask for 4.04 seconds"),
        ("helios-distilled", {"num_inference_steps": 2}, "num_inference_steps is 2; helios-distilled draws at 3 sizes, and takes a step at each: --steps 3"),
        ("helios-distilled", {"width": 64}, "width is 64 pixels; it must be from 128"),
        ("wan2.1-1.3b", {"sampler": "heun"}, "has: unipc, euler"),
        ("wan2.1-1.3b", {"options": {"preset": "quick"}}, "allows: standard, draft, final"),
        ("ltx-video", {"prompt": "fox " * 300}, r"The prompt has 300 words; ltx-video reads the first \d+: shorten it"),
    ],
)  # fmt: skip
def test_what_a_model_can_not_do_is_refused(
    hub: Path, pictures: dict[str, str], model: str, change: dict[str, Any], words: str
) -> None:
    conditions = tuple(replace(one, source=pictures.get(one.source, one.source)) for one in change.get("conditions", ()))
    with pytest.raises(InvalidRequest, match=words):
        engine.generate(replace(asked(model), **{**change, "conditions": conditions}))


def test_the_last_picture_is_the_last_frame_where_one_more_is_drawn(hub: Path, pictures: dict[str, str]) -> None:
    """8 frames of a model that draws 9: both ends are as they were given, and one in the middle goes."""
    opened = engine.open_model("wan2.1-flf2v")
    whole, _ = engine.generate(asked("wan2.1-flf2v", FIRST_LAST, pictures), model=opened)
    shorter, recipe = engine.generate(asked("wan2.1-flf2v", FIRST_LAST, pictures, num_frames=8), model=opened)
    assert (whole.num_frames, shorter.num_frames) == (9, 8)
    assert np.array_equal(shorter.frames[[0, -1]], whole.frames[[0, -1]])
    assert engine.remake(recipe)[2]


def going_on(model: str, film: Clip, num_frames: int, hear: Any = lambda event: None, opened: Any = None) -> Clip:
    request = replace(asked(model, num_frames=num_frames), conditions=(Condition("film", kind="video"),))
    return engine.generate(request, hear, model=opened, open_source=lambda _: film)[0]


def noisy(num_frames: int, side: int = 64) -> Clip:
    frames = np.random.default_rng(1).integers(0, 256, (num_frames, 8, 8, 3), np.uint8)
    return Clip(frames.repeat(side // 8, axis=1).repeat(side // 8, axis=2), 24)


@pytest.mark.parametrize(
    ("model", "known", "num_frames"),
    [("skyreels-v2-df", known, n) for known, n in ((1, 5), (2, 9), (16, 25), (17, 19), (30, 41), (100, 240))]
    + [("helios", 33, 65), ("helios", 40, 120), ("helios", 120, 161), ("helios-distilled", 34, 50)],
)
def test_a_film_that_goes_on_begins_with_all_that_was_given(model: str, known: int, num_frames: int, hub: Path) -> None:
    film = noisy(known, KNOWN[model].limits.min_side)
    clip = going_on(model, film, num_frames)
    assert clip.num_frames == num_frames and np.array_equal(clip.frames[:known], film.frames)
    after = clip.frames[known:].astype(int)
    assert np.ptp(after) > 2 and not np.array_equal(after[0], film.frames[-1])


def test_what_follows_a_film_is_what_the_pipeline_draws_after_it(hub: Path) -> None:
    opened: Any = engine.open_model("skyreels-v2-df")
    film = noisy(22)
    clip = going_on("skyreels-v2-df", film, 35, opened=opened)  # 37 are drawn: 17 of the film's again, and 16 new
    pipe = opened._pipes.get("SkyReelsV2DiffusionForcingVideoToVideoPipeline")
    torch.manual_seed(7)
    out = pipe(
        video=[Image.fromarray(frame) for frame in film.frames], prompt=WORDS, negative_prompt="", width=64, height=64,
        num_frames=33, num_inference_steps=3, guidance_scale=6.0, overlap_history=17, addnoise_condition=20,
        base_num_frames=121, generator=torch.Generator("cpu").manual_seed(7), output_type="np",
    )  # fmt: skip
    by_hand = (out.frames[0] * 255).round().astype(np.uint8)
    assert len(by_hand) == 22 + 33 and np.array_equal(by_hand[22 + 17 :][:13], clip.frames[22:])


def test_previews_count_the_steps_of_all_pieces(hub: Path) -> None:
    seen: list[Event] = []
    request = replace(asked("helios", num_frames=65), num_inference_steps=7)
    engine.generate(request, seen.append)
    assert [event.step for event in seen if isinstance(event, Preview)] == [3, 6, 9, 12]


def test_a_model_of_one_size_says_so() -> None:
    from unstrung.models.hub import card_of
    from unstrung.models.hub.adapter import load_model

    family, weights = _KNOWN["cogvideox-5b-i2v"]
    model = load_model(card_of(family, weights), family, weights, Path("nowhere"), "cpu", {})
    with pytest.raises(InvalidRequest, match="draws 720x480 alone: --size 720x480"):
        model.generate(asked("cogvideox-5b-i2v", width=64, height=64), lambda event: None, {})


def test_what_is_unset_comes_from_the_models_row(hub: Path) -> None:
    target = engine.check(Request(WORDS, model="wan2.1-1.3b")).target
    assert (target.width, target.height, target.seconds, target.fps) == (832, 480, 5.0, 16)
    assert (target.num_inference_steps, target.guidance_scale, target.sampler) == (50, 5.0, None)
    draft = engine.check(Request(WORDS, model="wan2.1-1.3b", options={"preset": "draft"})).target
    assert draft.num_inference_steps == 20
    run = engine.check(Request(WORDS, model="ltx-video", width=854, height=480, seconds=2.0)).run
    assert (run.width, run.height, run.num_frames) == (864, 480, 49)


def test_a_part_that_nobody_asks_for_is_not_loaded(hub: Path) -> None:
    """LTX-2.5 comes with a model of language as large as its reader: it takes no memory, in no plan."""
    opened: Any = engine.open_model("ltx-2.5")
    engine.generate(asked("ltx-2.5"), model=opened)
    pipe = opened._pipes.get("LTX2Pipeline")
    assert pipe.prompt_enhancer is None and pipe.text_encoder is not None and pipe.duration_head is not None
    assert (opened._pipes.folder / "prompt_enhancer" / "model.safetensors").is_file()
    assert "prompt_enhancer" not in opened._pipes._weights.billions and "text_encoder" in opened._pipes._weights.billions


def test_a_video_is_made_anew_in_whole_tokens(hub: Path, pictures: dict[str, str]) -> None:
    """In CogVideoX 1.5 a token stands for two latents: where their number is odd, the last frame stays a little, and is cut off."""
    opened = engine.open_model("cogvideox1.5-5b")
    even = engine.generate(asked("cogvideox1.5-5b", VIDEO, pictures, num_frames=13), model=opened)[0]
    odd = engine.generate(asked("cogvideox1.5-5b", VIDEO, pictures, num_frames=9), model=opened)[0]
    assert (even.num_frames, odd.num_frames) == (13, 9)
    assert np.array_equal(even.frames[:9], odd.frames), "of the film that is given the last frame is there four times more"


def test_pipelines_of_one_model_share_its_parts_as_they_are(hub: Path) -> None:
    opened = engine.open_model("ltx-video-0.9.5")
    pipes = [opened._pipes.get(name) for name in ("LTXConditionPipeline", "LTXPipeline", "LTXImageToVideoPipeline")]  # type: ignore[attr-defined]
    assert all(pipe.transformer is pipes[0].transformer and pipe.vae is pipes[0].vae for pipe in pipes)
    assert {part.dtype for part in (pipes[0].transformer, pipes[0].vae, pipes[0].text_encoder)} == {opened._pipes.kind}  # type: ignore[attr-defined]


def out_of_memory(module: Any, *given: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_memory_that_ends_while_sampling_is_met_by_a_smaller_plan_once(hub: Path) -> None:
    opened = engine.open_model("wan2.1-1.3b")
    plain, recipe = engine.generate(asked("wan2.1-1.3b"), model=opened)
    notes: list[Event] = []
    opened._pipes.get("WanPipeline").transformer.register_forward_pre_hook(out_of_memory)  # type: ignore[attr-defined]
    again, other = engine.generate(asked("wan2.1-1.3b"), notes.append, model=opened)
    (note,) = [event for event in notes if isinstance(event, Note)]
    assert note.code == "smaller_plan" and "goes on under" in note.text
    assert recipe.device["plan"] == "resident" and (other.device["plan"], other.device["tiled"]) != ("resident", False)
    assert again.frames.shape == plain.frames.shape
    opened._pipes.plan = replace(opened._pipes.plan, name="disk")  # type: ignore[attr-defined]
    opened._pipes.get("WanPipeline").transformer.register_forward_pre_hook(out_of_memory)  # type: ignore[attr-defined]
    with pytest.raises(NotEnoughMemory, match="under the plan 'disk', and there is no smaller one"):
        engine.generate(asked("wan2.1-1.3b"), model=opened)


def test_memory_that_ends_twice_is_said_in_words(hub: Path) -> None:
    opened: Any = engine.open_model("wan2.1-1.3b")
    opened._pipes.loaded = lambda pipe: pipe.transformer.register_forward_pre_hook(out_of_memory)
    with pytest.raises(NotEnoughMemory, match=r"under the plan 'resident', and then under '[\w-]+': ask for fewer"):
        engine.generate(asked("wan2.1-1.3b"), model=opened)


def test_memory_that_ends_while_decoding_costs_no_step(hub: Path) -> None:
    opened = engine.open_model("cogvideox-2b")
    plain, _ = engine.generate(asked("cogvideox-2b"), model=opened)
    events: list[Event] = []
    decoder = opened._pipes.get("CogVideoXPipeline").vae.decoder  # type: ignore[attr-defined]
    broken = decoder.register_forward_pre_hook(out_of_memory)

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, Note):
            broken.remove()  # in tiles there is room

    clip, _ = engine.generate(asked("cogvideox-2b"), hear, model=opened)
    assert [event.text for event in events if isinstance(event, Note)] == [
        "Decoding needs more memory than there is: it is done again, in tiles."
    ]
    steps = [event.done for event in events if isinstance(event, Progress) and event.stage == "sample"]
    assert steps == [0, 1, 2, 3] and clip.frames.shape == plain.frames.shape
    assert opened.about()["tiled"] is True, "and the recipe says so"


class Killed(BaseException):
    """As far as the work goes, the end of its process."""


def killed(*_: Any) -> None:
    raise Killed


WHOLE = [(model, KNOWN[model].tasks[0]) for model in tiny.NETWORKS if not _KNOWN[model][0].pieces and model not in ALIKE]


@pytest.mark.parametrize(("model", "task"), [*WHOLE, ("skyreels-v2-df", EXTEND)])
def test_what_was_sampled_is_decoded_by_whoever_goes_on(
    model: str, task: str, hub: Path, pictures: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path))
    request = asked(model, task, pictures)
    opened: Any = engine.open_model(model)
    plain, _ = engine.generate(request, model=opened)
    kept = tmp_path / "latents"
    assert not list(kept.iterdir()), "a film that is made leaves nothing"
    pipe = next(iter(opened._pipes._pipes.values()))
    dying = pipe.vae.decoder.register_forward_pre_hook(killed)
    with pytest.raises(Killed):
        engine.generate(request, model=opened)
    dying.remove()
    assert len(list(kept.iterdir())) == 1
    for transformer in transformers(pipe):
        transformer.register_forward_pre_hook(killed)
    events: list[Event] = []
    again, recipe = engine.generate(request, events.append, model=opened)
    assert np.array_equal(again.frames, plain.frames) and recipe.output["sha256"] == again.sha256()
    assert (again.audio is None) == (plain.audio is None) == (model != "ltx-2")
    assert plain.audio is None or np.array_equal(again.audio, plain.audio)
    assert "kept" in [event.code for event in events if isinstance(event, Note)] and not list(kept.iterdir())
    with pytest.raises(Killed):
        engine.generate(replace(request, seed=8), model=opened)  # another film is another film


def test_memory_that_ends_in_tiles_too_goes_on_from_what_was_sampled(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path))
    opened: Any = engine.open_model("wan2.1-1.3b")
    plain, _ = engine.generate(asked("wan2.1-1.3b"), model=opened)
    opened._pipes.get("WanPipeline").vae.decoder.register_forward_pre_hook(out_of_memory)
    events: list[Event] = []
    clip, recipe = engine.generate(asked("wan2.1-1.3b"), events.append, model=opened)
    codes = [event.code for event in events if isinstance(event, Note)]
    assert codes == ["smaller_plan", "smaller_plan", "kept"] and recipe.device["plan"] != "resident"
    assert [event.done for event in events if isinstance(event, Progress) and event.stage == "sample"] == [0, 1, 2, 3]
    assert np.abs(clip.frames.astype(int) - plain.frames).mean() < 8, "tiles of a tiny decoder have seams"

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and (event.stage, event.done) == ("decode", 1):
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(asked("wan2.1-1.3b"), stop, model=opened)
    assert not list((tmp_path / "latents").iterdir()), "what nobody wants is not kept"


def test_what_does_not_fit_is_refused_before_anything_is_loaded() -> None:
    from unstrung.models.hub import memory

    with pytest.raises(NotEnoughMemory, match=r"wan2\.1-14b at 1280x720 for 5\.06 s does not fit\. .* --model nano"):
        memory.choose(*_sized("wan2.1-14b"), memory.Machine(4 * 2**30, 2**33, 2**33))


def _sized(model: str) -> Any:
    family, weights = _KNOWN[model]
    return weights, family, *weights.size, 81


def test_what_is_closed_is_given_back(hub: Path) -> None:
    opened = engine.open_model("mochi-1")
    engine.generate(asked("mochi-1"), model=opened)
    transformer = weakref.ref(opened._pipes.get("MochiPipeline").transformer)  # type: ignore[attr-defined]
    opened.close()
    assert transformer() is None


def test_samplers_by_name_change_the_picture(hub: Path) -> None:
    opened = engine.open_model("wan2.1-1.3b")
    made = {
        name: engine.generate(replace(asked("wan2.1-1.3b"), sampler=name), model=opened)[0].sha256()
        for name in ("unipc", "euler")
    }
    assert made["unipc"] == engine.generate(asked("wan2.1-1.3b"), model=opened)[0].sha256() != made["euler"]


def test_rows_say_the_same_as_the_pipelines() -> None:
    for family in FAMILIES:
        for way in family.ways.values():
            taken = set(inspect.signature(getattr(diffusers, way.pipeline).__call__).parameters)
            wanted = {family.fps, family.guidance} - {None} | {"prompt", "width", "height", "generator"}
            if way.takes == "image":
                wanted -= {"width", "height"}  # one is as large as its picture, and that is as large as what is asked for
            counts = {"num_frames", "frames"} & taken  # both are given: one is taken, or none of what is as long as a given video
            assert len(counts) == 1 or way.takes == "video"
            assert wanted <= taken, (family.id, way.pipeline, wanted - taken)
            for weights in family.weights:
                if way in [family.ways[task] for task in weights.tasks]:
                    said = {name for name in weights.options if f"{{{name}}}" in weights.arguments.get("prompt", "")}
                    assert (set(weights.arguments) | set(weights.options)) - said <= taken
        for name in family.samplers.values():
            assert hasattr(diffusers, name)
    assert set(_KNOWN) == set(tiny.MAKERS), "a model has no tiny pipeline"


def test_from_the_command(hub: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "unstrung",
        WORDS,
        "--model",
        "wan2.1-1.3b",
        "--size",
        "64x64",
        "--seconds",
        "0.5",
        "--steps",
        "2",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out["clips"][0]["recipe"]["model"]["id"] == "wan2.1-1.3b" and (tmp_path / f"{WORDS.replace(' ', '-')}.mp4").exists()
    nothing = {**os.environ, "HF_HOME": str(tmp_path / "empty")}
    gone = subprocess.run([*command, "-o", "other.mp4"], capture_output=True, text=True, cwd=tmp_path, env=nothing)
    assert gone.returncode == 2 and "unstrung models pull wan2.1-1.3b" in gone.stderr
