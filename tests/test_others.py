"""Video pipelines that no row is of: each real class, tiny, from a folder to films of all its tasks; and who is refused, and why."""

from __future__ import annotations

import gc
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

import tiny  # noqa: E402
from tiny_others import OTHERS  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import InvalidRequest, MissingWeights, UnknownModel, UnstrungError  # noqa: E402
from unstrung.events import Event, Note, Preview, Progress  # noqa: E402
from unstrung.media.clip import Clip  # noqa: E402
from unstrung.models.device import bf16_is_fast  # noqa: E402
from unstrung.models.hub.families import CONTROL, EXTEND, FIRST_LAST, IMAGE, KEYFRAMES, TEXT, VIDEO  # noqa: E402
from unstrung.request import Condition, Request  # noqa: E402

WORDS = "a red fox running through the snow at night"
PINNED = (IMAGE, FIRST_LAST, KEYFRAMES)
# what each can do
TASKS: dict[str, tuple[str, ...]] = {
    "lucy": (VIDEO,), "cogvideox-control": (CONTROL,), "hunyuan-i2v": (IMAGE,), "hunyuan-i2v-replace": (IMAGE,),
    "framepack": (IMAGE, FIRST_LAST), "hunyuan-skyreels": (IMAGE,), "easyanimate-inpaint": (TEXT, *PINNED, EXTEND),
    "cosmos-video": (IMAGE,), "cosmos-2": (IMAGE,), "cosmos-2.5": (TEXT, IMAGE), "cosmos-2.5-transfer": (CONTROL,), "cosmos-3": (TEXT, IMAGE),
    "video-to-video-sd": (VIDEO,), "pia": (IMAGE,), "animatediff-controlnet": (CONTROL,), "animatediff-sparse": PINNED,
    "motif-i2v": (IMAGE,), "chronoedit": (IMAGE,), "ltx2-in-context": (TEXT, *PINNED, EXTEND), "ltx2-dfr": (TEXT, *PINNED, EXTEND),
    "ltx-long": (TEXT, IMAGE), "kandinsky-6": (TEXT, IMAGE), "kandinsky-6-sound": (TEXT, IMAGE),
}  # fmt: skip
IGNORED = {
    "lucy": "LucyEditPipeline takes no strength: that changes nothing.",
    "cogvideox-control": "CogVideoXFunControlPipeline takes no strength: that changes nothing.",
    "ltx2-dfr": "LTX2DFRPipeline takes no guidance_scale, num_inference_steps: that changes nothing.",
}
# of those whose tasks are alike, the ones that are run
RUN = {
    "ltx2-in-context": (TEXT, KEYFRAMES), "ltx2-dfr": (TEXT, EXTEND), "kandinsky-6": (TEXT,), "animatediff-sparse": (IMAGE, KEYFRAMES),
    "kandinsky-6-sound": (IMAGE,), "easyanimate-inpaint": (TEXT, KEYFRAMES, EXTEND),
}  # fmt: skip
SOUND = ("ltx2-in-context", "ltx2-dfr", "kandinsky-6-sound")
BROKEN = ("easyanimate-control", "i2vgen-xl")  # in diffusers itself
BY_HAND = ("hunyuan-video", "animatediff", "svd")  # whose films are compared with what diffusers gives
BY_TORCHVISION = ("cosmos", "cosmos-video", "cosmos-2", "cosmos-2.5", "cosmos-2.5-transfer")


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread, and what is kept on the disk in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSTRUNG_DATA", str(tmp_path_factory.mktemp("data")))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        gc.collect()
        gc.freeze()  # whoever closes a model looks for what can go with it: not among a million things of the libraries
        yield
        gc.unfreeze()
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in (*BROKEN, *BY_HAND)])
def test_all_that_a_pipeline_without_a_row_can_do(name: str, pictures: dict[str, str], tmp_path: Path) -> None:
    """As long, as large and as fast as was asked; the same seed gives the same film, another one another, and so does what is given."""
    folder = tiny.save(name, tmp_path, OTHERS)
    if name in BY_TORCHVISION and not importlib.util.find_spec("torchvision"):
        with pytest.raises(
            MissingWeights, match=r"needs torchvision, which the default install leaves out: pip install torchvision$"
        ):
            engine.open_model(str(folder))
        return
    opened: Any = engine.open_model(str(folder))
    card = opened.card
    assert card.tasks == TASKS.get(name, (TEXT,))
    width, height = (128, 128) if name == "allegro" else (card.limits.min_side,) * 2
    for n, task in enumerate(RUN.get(name, card.tasks)):
        count = 9 + card.frame_stride if task in (KEYFRAMES, EXTEND) else 5
        request = Request(
            WORDS, model=str(folder), width=width, height=height, num_frames=count, fps=12, num_inference_steps=2, seed=7
        )
        request = replace(request, guidance_scale=3.0, conditions=tiny.given(task, pictures))
        events: list[Event] = []
        clip, recipe = engine.generate(request, events.append, model=opened)
        assert (clip.width, clip.height, clip.num_frames, clip.fps) == (width, height, count, 12), task
        assert clip.frames.std() > 3, "a picture"
        steps = [event for event in events if isinstance(event, Progress) and event.stage == "sample"]
        assert steps[-1].done == steps[-1].total >= 1, task
        assert [event.text for event in events if isinstance(event, Note)] == ([IGNORED[name]] if name in IGNORED else []), task
        assert recipe.model["files"] and (clip.audio is not None) == (name in SOUND)
        if name == "kandinsky-6-sound":
            assert clip.audio is not None and len(clip.audio) / (clip.sample_rate or 1) == pytest.approx(count / 12, abs=0.001)
        if not n:
            assert clip.sha256() == engine.generate(request, model=opened)[0].sha256(), task
            assert clip.sha256() != engine.generate(replace(request, seed=8), model=opened)[0].sha256(), task
        if task != TEXT:
            others = {**pictures, "one": pictures["two"], "two": pictures["one"], "video": pictures["noise"]}
            other = replace(request, conditions=tiny.given(task, others))
            assert clip.sha256() != engine.generate(other, model=opened)[0].sha256(), f"{task}: what is given is seen"
    opened.close()


@pytest.mark.parametrize("model", BY_HAND)
def test_a_pipeline_that_has_no_row_is_a_model_too(model: str, pictures: dict[str, str], tmp_path: Path) -> None:
    """Whatever draws videos in diffusers: from words, or from a picture, by a transformer or by what came before those."""
    folder = tiny.save(model, tmp_path, OTHERS)
    given = (Condition(pictures["one"]),) if model == "svd" else ()
    request = Request(WORDS, model=str(folder), width=100, height=64, seconds=0.75, fps=12, num_inference_steps=4, seed=7)
    request = replace(request, conditions=given, guidance_scale=4.0)
    opened: Any = engine.open_model(str(folder))
    events: list[Event] = []
    clip, recipe = engine.generate(request, events.append, model=opened)
    assert (clip.width, clip.height, clip.num_frames, clip.fps) == (100, 64, 9, 12)
    assert clip.sha256() == engine.generate(request, model=opened)[0].sha256()
    assert clip.sha256() != engine.generate(replace(request, seed=8), model=opened)[0].sha256()
    assert [event.done for event in events if isinstance(event, Progress) and event.stage == "sample"] == [0, 1, 2, 3, 4]
    ignored = [event.text for event in events if isinstance(event, Note)]
    assert ignored == (
        ["StableVideoDiffusionPipeline takes no prompt, guidance_scale: that changes nothing."] if model == "svd" else []
    )
    assert recipe.model["files"] and not [event for event in events if isinstance(event, Preview)]
    if model == "svd":
        with pytest.raises(InvalidRequest, match="does no text-to-video; it does: image-to-video"):
            engine.generate(replace(request, conditions=()), model=opened)
        return
    kind = torch.bfloat16 if bf16_is_fast("cpu") else torch.float32
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=kind)
    out = pipe(
        prompt=WORDS, width=112, height=64, num_frames=9, num_inference_steps=4, guidance_scale=4.0, output_type="np",
        generator=torch.Generator("cpu").manual_seed(7),
    )  # fmt: skip
    by_hand = Clip((out.frames[0] * 255).round().astype(np.uint8), 12).cover(100, 64)
    # where a VAE is one of pictures, they are decoded one by one, and by hand all at once: in another order of sums
    assert np.abs(clip.frames.astype(int) - by_hand.frames).max() <= (tiny.NEAR if model == "animatediff" else 0)
    if model == "animatediff":
        with pytest.raises(UnstrungError, match="AnimateDiffPipeline does not do that: "):
            engine.generate(replace(request, seconds=3.0), model=opened)
        index = folder / "model_index.json"
        index.write_text(index.read_text().replace("AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline"))
        anew = replace(request, conditions=(Condition(pictures["video"], kind="video", strength=0.4),))
        assert engine.generate(anew)[0].num_frames == 9, "the same parts, from a film"
        with pytest.raises(InvalidRequest, match="does no text-to-video; it does: video-to-video"):
            engine.generate(request)


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        ("WanAnimatePipeline", "is called with pose_video, face_video: nothing that is asked for here gives these"),
        ("SanaWMPipeline", r"is called with c2w, intrinsics \(a camera's path\): nothing that is asked for here gives these"),
        ("SanaWMLTX2Refiner", "is called with sana_latent: nothing that is asked for here gives these"),
        ("LTX2VideoDiffusionDecodePipeline", "is called with latents: nothing that is asked for here gives these"),
        ("ConsisIDPipeline", r"is called with id_cond, id_vit_hidden \(a face\): nothing that is asked for here gives these"),
        ("LTXLatentUpsamplePipeline", "goes on with what another pipeline has drawn: it makes no film of a prompt"),
        ("LTX2LatentUpsamplePipeline", "goes on with what another pipeline has drawn: it makes no film of a prompt"),
        ("LTX2DFRTemporalRefinePipeline", "goes on with what another pipeline has drawn: it makes no film of a prompt"),
        ("Kandinsky6SRPipeline", "goes on with what another pipeline has drawn: it makes no film of a prompt"),
        ("AnimateDiffVideoToVideoControlNetPipeline", "is called with two films at once, conditioning_frames and video: a request here has one"),
        ("LTX2HDRPipeline", "draws linear light, which films of eight bits do not hold"),
        ("EasyAnimateControlPipeline", "fails in diffusers itself, whatever is asked for: it calls its own encode_prompt with what"),
        ("I2VGenXLPipeline", "fails in diffusers itself, whatever is asked for: it looks for a part of its text encoder that transformers 5"),
        ("StableDiffusionPipeline", "draws no videos"),
        ("LuxuryVideoPipeline", "diffusers [0-9.]+ does not have"),
    ],
)  # fmt: skip
def test_a_pipeline_that_can_not_be_asked_says_why(made_by: str, why: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "vae").mkdir()
    save_file({"weight": torch.zeros(1)}, tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    index = {"_class_name": made_by, "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UnknownModel, match=rf"is a {made_by}, which {why}.*\. These are best known: "):
        engine.check(Request(WORDS, model=str(tmp_path)))


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_said_to_fail_in_diffusers_does(name: str, pictures: dict[str, str], tmp_path: Path) -> None:
    """Once it does not, its line in `others.py` has to go."""
    from PIL import Image

    pipe = OTHERS[name](tmp_path)
    given = {"image": Image.open(pictures["one"])} if name == "i2vgen-xl" else {}
    error, words = (AttributeError, "text_model") if given else (TypeError, "text_encoder_index")
    with pytest.raises(error, match=words):
        pipe(WORDS, negative_prompt="", width=64, height=64, num_frames=5, num_inference_steps=1, **given)


def test_what_the_signature_does_not_say_is_read_from_the_files(tmp_path: Path) -> None:
    folders = {name: tiny.save(name, tmp_path, OTHERS) for name in ("motif", "cogvideox-control", "easyanimate-inpaint", "latte")}
    cards = {name: engine.open_model(str(folder)).card for name, folder in folders.items()}
    assert cards["motif"].defaults["guidance_scale"] == 7.5, "its guider's"
    assert (cards["cogvideox-control"].defaults["width"], cards["cogvideox-control"].defaults["height"]) == (64, 64), (
        "its transformer's"
    )
    assert cards["latte"].defaults["seconds"] == 10 / 16
    config = folders["easyanimate-inpaint"] / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "resize_inpaint_mask_directly": True}))
    assert engine.open_model(str(config.parents[1])).card.tasks == (TEXT,), "with pictures diffusers would fail"


def test_lengths_and_sizes_that_a_transformer_does_not_know_are_refused(tmp_path: Path) -> None:
    """Where diffusers would fail in the middle, or leave the film black."""
    latte, allegro = (tiny.save(name, tmp_path, OTHERS) for name in ("latte", "allegro"))
    with pytest.raises(InvalidRequest, match=r"num_frames is 20; .*latte draws at most 10: ask for 0\.833 seconds or fewer"):
        engine.generate(Request(WORDS, model=str(latte), width=64, height=64, num_frames=11, fps=12))
    with pytest.raises(InvalidRequest, match=r"size is 64x64; .*allegro draws 128x128 alone: --size 128x128"):
        engine.generate(Request(WORDS, model=str(allegro), width=64, height=64, num_frames=9))


def test_a_film_that_is_drawn_in_windows_ends_with_one(pictures: dict[str, str], tmp_path: Path) -> None:
    """Else its last picture would be cut off with what was drawn too much: each window takes all steps."""
    folder = tiny.save("framepack", tmp_path, OTHERS)
    assert (
        engine.check(Request(WORDS, model=str(folder), conditions=tiny.given(IMAGE, pictures), num_frames=38)).run.num_frames
        == 73
    )
    request = Request(WORDS, model=str(folder), width=64, height=64, num_frames=37, num_inference_steps=1, seed=7)
    events: list[Event] = []
    clip, _ = engine.generate(replace(request, conditions=tiny.given(FIRST_LAST, pictures)), events.append)
    steps = [event for event in events if isinstance(event, Progress) and event.stage == "sample"]
    assert clip.num_frames == 37 and steps[-1].total == 1 and not [event for event in events if isinstance(event, Note)]


def test_what_a_pipeline_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    folder = tiny.save("cosmos-3", tmp_path, OTHERS)
    request = Request(WORDS, model=str(folder), width=64, height=64, num_frames=5, num_inference_steps=1)
    index = folder / "model_index.json"
    known = json.loads(index.read_text())
    index.write_text(json.dumps({**known, "enable_safety_checker": True}))
    if importlib.util.find_spec("cosmos_guardrail") is None:
        with pytest.raises(MissingWeights, match="needs a library that is not here: `cosmos_guardrail` is not installed"):
            engine.generate(request)
    index.write_text(json.dumps({key: part for key, part in known.items() if key != "vae"}))
    with pytest.raises(MissingWeights, match=r"can't be read: Pipeline .*Cosmos3OmniPipeline.* expected"):
        engine.generate(request)
