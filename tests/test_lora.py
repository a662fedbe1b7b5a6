"""LoRAs through our words: tiny ones in every trainer's spelling, on real tiny pipelines, from a file to changed frames."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

diffusers = pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import load_file, save_file  # noqa: E402

import tiny  # noqa: E402
from served import run_here  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import InvalidRequest  # noqa: E402
from unstrung.events import Event, Note  # noqa: E402
from unstrung.media.codec import read_recipe  # noqa: E402
from unstrung.models.base import Model  # noqa: E402
from unstrung.models.hub import CARDS, digest, forecast, lora, memory  # noqa: E402
from unstrung.models.hub.families import DRAFTS, FAMILIES, Single  # noqa: E402
from unstrung.models.hub.memory import Plan  # noqa: E402
from unstrung.models.hub.signatures import SIGNATURES, whose  # noqa: E402
from unstrung.request import Condition, Lora, Request  # noqa: E402

MODELS = ("cogvideox-2b", "mochi-1", "ltx-video", "wan2.1-1.3b")
OTHERS = ("wan2.2", "wan2.1-i2v-480p", "wan2.1-vace-1.3b")
KNOWN = {card.id: card for card in CARDS}
RANK = 2
Tensors = dict[str, Any]
OWN = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "net.0.proj": "0", "net.2": "2"}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of the hub, with the tiny models in it."""
    with tiny.cache(tmp_path_factory.mktemp("hub"), (*MODELS, *OTHERS)) as folder:
        yield folder


@pytest.fixture(scope="module")
def opened(home: Path) -> Any:
    """Each model, loaded once: what one test leaves in it, the next would see."""
    kept: dict[str, Model] = {}

    def get(model: str) -> Model:
        if model not in kept:
            kept[model] = engine.open_model(model)
        return kept[model]

    yield get
    for model in kept.values():
        model.close()


def asked(model: str, *loras: Lora, **more: Any) -> Request:
    card = KNOWN[model]
    frames = card.frame_stride + card.frame_offset
    request = Request(
        "a red fox", model=model, width=64, height=64, num_frames=frames, num_inference_steps=2, seed=7, loras=loras
    )
    return replace(request, **more)


def layers(model: str, home: Path) -> dict[str, tuple[int, int]]:
    """The layers that trainers change, and how wide they are."""
    (folder,) = (home / "hub" / f"models--{KNOWN[model].repo_id.replace('/', '--')}" / "snapshots").iterdir()
    with (folder / "transformer" / "diffusion_pytorch_model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    parts = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2", "ff.net.0.proj", "ff.net.2")
    found = {}
    for key, said in header.items():
        name = key.removesuffix(".weight")
        if name.startswith(("blocks.", "transformer_blocks.")) and name.endswith(parts) and key.endswith(".weight"):
            found[name] = tuple(said["shape"])
    return found


def numbers(model: str, home: Path, seed: int = 1) -> Tensors:
    """A LoRA as numbers: two matrices for each layer."""
    drawn = torch.Generator().manual_seed(seed)
    made = {}
    for name, (out, into) in layers(model, home).items():
        made[f"{name}.A"] = torch.randn(RANK, into, generator=drawn) * 0.5
        made[f"{name}.B"] = torch.randn(out, RANK, generator=drawn) * 0.5
    assert made
    return made


def as_diffusers(made: Tensors, folder: Path) -> Path:
    return written({f"transformer.{key[:-1]}lora_{key[-1]}.weight": value for key, value in made.items()}, folder, "diffusers")


def as_comfy(made: Tensors, folder: Path) -> Path:
    return written({f"diffusion_model.{key[:-1]}lora_{key[-1]}.weight": value for key, value in made.items()}, folder, "comfy")


def as_older_diffusers(made: Tensors, folder: Path) -> Path:
    sides = {"A": "down", "B": "up"}
    return written({f"transformer.{key[:-1]}lora.{sides[key[-1]]}.weight": value for key, value in made.items()}, folder, "older")


def as_peft(made: Tensors, folder: Path, alpha: float = RANK) -> Path:
    """What peft's own save_pretrained leaves: the numbers, and beside them how they are scaled."""
    (folder / "peft").mkdir()
    (folder / "peft" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": alpha}))
    tensors = {f"base_model.model.{key[:-1]}lora_{key[-1]}.weight": value for key, value in made.items()}
    return written(tensors, folder / "peft", "adapter_model")


def as_kohya(made: Tensors, folder: Path, alpha: float = RANK, name: str = "kohya") -> Path:
    """What kohya's scripts write: a layer's name with `_` for its dots, and an alpha for each."""
    sides, tensors = {"A": "lora_down", "B": "lora_up"}, {}
    for key, value in made.items():
        flat = f"lora_unet_{key[:-2].replace('.', '_')}"
        tensors[f"{flat}.{sides[key[-1]]}.weight"] = value
        tensors[f"{flat}.alpha"] = torch.tensor(float(alpha))
    return written(tensors, folder, name)


def by_own_names(made: Tensors) -> Tensors:
    """The same under the names that the model's publisher has for its layers."""
    found = {}
    for key, value in made.items():
        for ours, theirs in OWN.items():
            key = key.replace(f".{ours}.", f".{theirs}.")
        found[key] = value
    return found


def as_musubi(made: Tensors, folder: Path) -> Path:
    """What musubi-tuner writes for Wan: kohya's way, with the publisher's names."""
    return as_kohya(by_own_names(made), folder, name="musubi")


def as_publisher(made: Tensors, folder: Path) -> Path:
    return as_comfy(by_own_names(made), folder)


def written(tensors: Tensors, folder: Path, name: str) -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


STYLES: dict[str, tuple[Callable[[Tensors, Path], Path], ...]] = {
    "cogvideox-2b": (as_comfy, as_older_diffusers, as_peft, as_kohya),
    "mochi-1": (as_older_diffusers, as_peft, as_kohya),
    "ltx-video": (as_comfy, as_older_diffusers, as_peft, as_kohya),
    "wan2.1-1.3b": (as_publisher, as_comfy, as_older_diffusers, as_peft, as_kohya, as_musubi),
}


@pytest.mark.parametrize("model", MODELS)
def test_every_style_gives_the_same_changed_frames(model: str, home: Path, opened: Any, tmp_path: Path) -> None:
    made, loaded = numbers(model, home), opened(model)
    plain = engine.generate(asked(model), model=loaded)[0].sha256()
    file = as_diffusers(made, tmp_path)
    events: list[Event] = []
    clip, recipe = engine.generate(asked(model, Lora(str(file))), events.append, model=loaded)
    assert clip.sha256() != plain and not [event for event in events if isinstance(event, Note)]
    (kept,) = recipe.model["loras"]
    assert kept["source"] == str(file) and kept["scale"] == 1.0 and len(kept["sha256"]) == 64
    assert recipe.resolved["loras"] == ({"source": str(file), "scale": 1.0},)
    for style in STYLES[model]:
        (tmp_path / style.__name__).mkdir()
        file = style(made, tmp_path / style.__name__)
        same, _ = engine.generate(asked(model, Lora(str(file))), events.append, model=loaded)
        assert same.sha256() == clip.sha256(), style
    assert not [event for event in events if isinstance(event, Note)]
    after, recipe = engine.generate(asked(model), model=loaded)
    assert after.sha256() == plain and "loras" not in recipe.model


@pytest.mark.parametrize("model", MODELS)
def test_files_that_the_library_itself_writes(model: str, home: Path, opened: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    loaded = opened(model)
    (folder,) = (home / "hub" / f"models--{KNOWN[model].repo_id.replace('/', '--')}" / "snapshots").iterdir()
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=8, target_modules=["to_q", "to_v"], init_lora_weights=False))
    state = {key: value * 5 for key, value in get_peft_model_state_dict(pipe.transformer).items()}
    said = {"r": RANK, "lora_alpha": 8, "target_modules": ["to_q", "to_v"]}
    type(pipe).save_lora_weights(tmp_path, state, transformer_lora_adapter_metadata=said)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    clip, _ = engine.generate(asked(model, Lora(str(file))), model=loaded)
    bare = written(load_file(file), tmp_path, "bare")  # without what it says of its alpha: 8 / 2 is the scale
    assert clip.sha256() != engine.generate(asked(model, Lora(str(bare))), model=loaded)[0].sha256()
    assert clip.sha256() == engine.generate(asked(model, Lora(str(bare), 4.0)), model=loaded)[0].sha256()


@pytest.mark.parametrize("model", MODELS)
def test_scales_and_several_at_once(model: str, home: Path, opened: Any, tmp_path: Path) -> None:
    loaded = opened(model)

    def frames(*loras: Lora) -> str:
        return engine.generate(asked(model, *loras), model=loaded)[0].sha256()

    one = str(as_kohya(numbers(model, home), tmp_path, name="one"))
    half = str(as_kohya(numbers(model, home), tmp_path, alpha=RANK / 2, name="half"))
    two = str(as_diffusers(numbers(model, home, seed=2), tmp_path))
    plain = frames()
    assert frames(Lora(one, 0.0)) == plain == frames(Lora(one, 0.0), Lora(two, 0))
    made = [
        frames(Lora(one)),
        frames(Lora(two)),
        frames(Lora(one), Lora(two)),
        frames(Lora(one, 0.5)),
        frames(Lora(one, -1)),
        plain,
    ]
    assert len(set(made)) == len(made)
    assert frames(Lora(half)) == frames(Lora(one, 0.5)) == made[3]
    assert frames(Lora(one), Lora(two, 0.0)) == made[0] == frames(Lora(one))
    assert frames() == plain == engine.generate(asked(model))[0].sha256()


def test_a_recipe_with_loras_is_made_again_exactly(home: Path, tmp_path: Path) -> None:
    file = as_musubi(numbers("wan2.1-1.3b", home), tmp_path)
    clip, recipe = engine.generate(asked("wan2.1-1.3b", Lora(str(file), 0.7)))
    again, other, identical = engine.remake(recipe)
    assert identical and again.sha256() == clip.sha256() and other.model == recipe.model
    as_musubi(numbers("wan2.1-1.3b", home, seed=9), tmp_path)
    _, other, identical = engine.remake(recipe)
    assert not identical and other.model["loras"] != recipe.model["loras"]


PAIRS = [
    (mine, other) for mine in MODELS for other in MODELS
    if mine != other and (mine, other) not in {("cogvideox-2b", "mochi-1")}
]  # fmt: skip


@pytest.mark.parametrize(("mine", "other"), PAIRS)
def test_another_familys_is_refused_by_its_name(mine: str, other: str, home: Path, opened: Any, tmp_path: Path) -> None:
    family = KNOWN[mine].family
    for style in (as_diffusers, as_kohya):
        file = style(numbers(mine, home), tmp_path)
        with pytest.raises(InvalidRequest, match=rf"is a LoRA for .*{family}.*, not for {other}") as raised:
            engine.generate(asked(other, Lora(str(file))), model=opened(other))
        assert raised.value.field == "loras"
    plain = engine.generate(asked(other), model=opened(other))[0].sha256()
    assert plain == engine.generate(asked(other))[0].sha256()


def sized(pattern: str, width: int, blocks: int, folder: Path) -> Path:
    tensors = {}
    for block in range(blocks):
        for part in ("to_q", "to_k"):
            name = f"transformer.{pattern.format(block)}.{part}"
            tensors |= {f"{name}.lora_A.weight": torch.zeros(1, width), f"{name}.lora_B.weight": torch.zeros(width, 1)}
    return written(tensors, folder, "sized")


@pytest.mark.parametrize(
    ("pattern", "width", "onto", "words"),
    [
        ("blocks.{}.attn1", 5120, "wan2.1-1.3b", r"for wan \(wan2\.1-14b, .*\), not for wan2\.1-1\.3b: its layers are 5120 wide, those of wan2\.1-1\.3b 24\. Try --model wan2\.1-14b"),
        ("blocks.{}.attn1", 3072, "wan2.1-1.3b", r"for wan \(wan2\.2-5b\)"),
        ("blocks.{}.attn1", 777, "wan2.1-1.3b", "is a LoRA for another wan, not for wan2.1-1.3b: its layers are 777 wide"),
        ("transformer_blocks.{}.attn1", 1920, "ltx-video", r"for cogvideox \(cogvideox-2b\), not for ltx-video"),
        ("transformer_blocks.{}.attn1", 3072, "ltx-video", r"for cogvideox or mochi \(cogvideox-5b, .*mochi-1\)"),
        ("transformer_blocks.{}.attn2", 4096, "cogvideox-2b", r"for ltx \(ltx-video-13b, .*Try --model ltx-video-13b"),
        ("single_transformer_blocks.{}.attn", 3072, "mochi-1", "for flux, not for mochi-1"),
        ("down_blocks.{}.attn", 320, "mochi-1", "for stable-diffusion, not for mochi-1"),
        ("things.{}.of", 8, "mochi-1", r"is no LoRA that is known here: none of its 8 tensors has a place in mochi-1"),
    ],
)  # fmt: skip
def test_whose_it_is_is_told_by_its_width_too(
    pattern: str, width: int, onto: str, words: str, opened: Any, tmp_path: Path
) -> None:
    file = sized(pattern, width, 2, tmp_path)
    with pytest.raises(InvalidRequest, match=words):
        engine.generate(asked(onto, Lora(str(file))), model=opened(onto))


def test_a_deeper_models_is_refused(home: Path, opened: Any, tmp_path: Path) -> None:
    file = sized("blocks.{}.attn1", 24, 5, tmp_path)
    with pytest.raises(InvalidRequest, match=r"it changes blocks\.2, and wan2\.1-1\.3b ends before that"):
        engine.generate(asked("wan2.1-1.3b", Lora(str(file))), model=opened("wan2.1-1.3b"))


def test_what_is_no_lora_is_told_so(home: Path, opened: Any, tmp_path: Path) -> None:
    made = numbers("wan2.1-1.3b", home)
    lokr = {f"lora_unet_{key[:-2].replace('.', '_')}.lokr_w1": value for key, value in by_own_names(made).items()}
    halves = {f"transformer.{key[:-1]}lora_A.weight": value for key, value in made.items() if key.endswith("A")}
    for tensors, words in ((lokr, r"it holds no two matrices"), (halves, r"none of its \d+ tensors has a place there")):
        file = written(tensors, tmp_path, "x")
        with pytest.raises(InvalidRequest, match=rf"is a LoRA for another wan, not for wan2\.1-1\.3b: {words}"):
            engine.generate(asked("wan2.1-1.3b", Lora(str(file))), model=opened("wan2.1-1.3b"))


def test_what_peft_says_beside_the_file_counts(home: Path, opened: Any, tmp_path: Path) -> None:
    made, loaded = numbers("mochi-1", home), opened("mochi-1")
    shas = []
    for i, (said, scale) in enumerate(
        [({"lora_alpha": 1}, 1.0), ({"lora_alpha": 2}, 0.5), ({"lora_alpha": 2, "alpha_pattern": {"to_q": 2}}, 0.5)]
    ):
        (tmp_path / str(i)).mkdir()
        file = as_peft(made, tmp_path / str(i))
        (file.parent / "adapter_config.json").write_text(json.dumps({"r": RANK, **said}))
        shas.append(engine.generate(asked("mochi-1", Lora(str(file), scale)), model=loaded)[0].sha256())
    assert len(set(shas)) == 1 and engine.generate(asked("mochi-1", Lora(str(file), 0.5)), model=loaded)[1].model["loras"] == [
        {"source": str(file), "sha256": digest(file), "scale": 0.5, "lora_alpha": 2.0, "alpha_pattern": {"to_q": 2}}
    ]
    for text in ("{", "[]", '{"lora_alpha": "much"}'):
        (file.parent / "adapter_config.json").write_text(text)
        with pytest.raises(InvalidRequest, match="says of how it was trained is damaged"):
            engine.generate(asked("mochi-1", Lora(str(file))), model=loaded)


def test_what_has_no_place_is_counted_aloud(home: Path, opened: Any, tmp_path: Path) -> None:
    made = numbers("wan2.1-1.3b", home)
    more = {"blocks.0.attn9.to_q.A": torch.zeros(RANK, 24), "blocks.0.attn9.to_q.B": torch.zeros(24, RANK)}
    file = as_diffusers({**made, **more}, tmp_path)
    events: list[Event] = []
    engine.generate(asked("wan2.1-1.3b", Lora(str(file))), events.append, model=opened("wan2.1-1.3b"))
    (note,) = [event for event in events if isinstance(event, Note)]
    assert (
        note.text
        == f"2 of the {len(made) + 2} tensors in diffusers.safetensors have no place in wan2.1-1.3b: they count for nothing."
    )
    assert note.data["placed"] == len(made)
    strange = {key.replace("blocks.", "clocks."): value for key, value in made.items()}
    with pytest.raises(InvalidRequest, match=r"none of its \d+ tensors has a place"):
        engine.generate(asked("wan2.1-1.3b", Lora(str(as_diffusers(strange, tmp_path)))), model=opened("wan2.1-1.3b"))


def test_a_trainer_that_left_layers_out_is_understood(home: Path, opened: Any, tmp_path: Path) -> None:
    made = {
        key: value for key, value in numbers("wan2.1-1.3b", home).items() if ".attn1." in key and not key.startswith("blocks.0")
    }
    loaded = opened("wan2.1-1.3b")
    shas = set()
    for style in (as_musubi, as_publisher, as_diffusers):
        shas.add(engine.generate(asked("wan2.1-1.3b", Lora(str(style(made, tmp_path)))), model=loaded)[0].sha256())
    assert len(shas) == 1


def test_two_experts_get_it_both_or_one_each(home: Path, opened: Any, tmp_path: Path) -> None:
    loaded, plain = opened("wan2.2"), engine.generate(asked("wan2.2"))[0].sha256()
    one, two = (
        str(written(load_file(as_musubi(numbers("wan2.2", home, seed), tmp_path)), tmp_path, f"{seed}")) for seed in (1, 2)
    )

    def frames(*loras: Lora, heard: list[Event] | None = None) -> str:
        heard = heard if heard is not None else []
        request = asked("wan2.2", *loras, num_inference_steps=4)
        return engine.generate(request, heard.append, model=loaded)[0].sha256()

    heard: list[Event] = []
    plain = frames()
    made = [
        frames(Lora(one), heard=heard),
        frames(Lora(f"{one}#1")),
        frames(Lora(f"{one}#2")),
        frames(Lora(f"{one}#1"), Lora(f"{two}#2")),
    ]
    assert len({*made, plain}) == 5
    assert [event.code for event in heard if isinstance(event, Note)] == ["lora_for_both"]
    assert frames(Lora(f"{one}#1"), Lora(f"{one}#2")) == made[0]
    assert frames() == plain
    with pytest.raises(InvalidRequest, match=r"names expert 2; wan2\.1-1\.3b has 1"):
        engine.generate(asked("wan2.1-1.3b", Lora(f"{one}#2")), model=opened("wan2.1-1.3b"))


@pytest.mark.parametrize("model", ["ltx-video", "wan2.1-1.3b"])
@pytest.mark.parametrize("plan", ["group-offload", "disk", "fp8"])
def test_it_counts_wherever_the_weights_lie(plan: str, model: str, home: Path, opened: Any, tmp_path: Path) -> None:
    file, placed = str(as_diffusers(numbers(model, home), tmp_path)), engine.open_model(model)

    def frames(loaded: Any, *loras: Lora) -> Any:
        return loaded._run(engine.resolve(asked(model, *loras), loaded.card).run, lambda _: None, {}).frames.astype(int)

    resident = [frames(opened(model), *loras) for loras in ((), (Lora(file),), (Lora(file, 0.5),), ())]
    assert np.abs(resident[0] - resident[1]).max() > 1
    placed._pipes.plan = Plan(plan, False, {}, 0, 0, 1.0, 0.0)
    try:
        there = [frames(placed, *loras) for loras in ((), (Lora(file),), (Lora(file, 0.5),), ())]
    finally:
        placed.close()
    assert np.array_equal(there[0], there[3]), "nothing of it is left"
    for theirs, ours in zip(resident, there, strict=True):
        assert np.abs(theirs - ours).max() <= (1 if plan != "fp8" else 255)
    if plan == "fp8":  # what eight bits change is less than what the LoRA does
        assert np.abs(there[1] - resident[1]).mean() < np.abs(there[1] - there[0]).mean()


def test_plans_count_them(home: Path, tmp_path: Path) -> None:
    loaded: Any = engine.open_model("wan2.2")
    file, machine = as_diffusers(numbers("wan2.2", home), tmp_path), memory.look("cpu")

    def run(*sources: str) -> Request:
        return engine.resolve(asked("wan2.2", *map(Lora, sources)), loaded.card).run

    def resident(*sources: str) -> int:
        rows = {row["plan"]: row for row in forecast(loaded.card, run(*sources), "cpu")}
        return int(rows["resident"]["ram"])

    takes, plain = file.stat().st_size * machine.width // lora.FILE_BYTES, resident()
    both, first = resident(str(file)) - plain, resident(f"{file}#1") - plain
    one = 2 * machine.width  # a number of each, by rounding
    assert abs(both - 2 * takes) <= one and abs(first - takes) <= one, "in both experts, or in the one that is named"
    assert resident("hf:nobody/nothing") == plain, "what is not here is looked for later"
    packed = replace(
        loaded._pipes._weights, singles={"transformer": Single("packed.gguf", 1000), "transformer_2": Single("x", None)}
    )
    sizes = {part: one.size for part, one in lora.counted(packed, run(str(file))).singles.items()}
    assert sizes == {"transformer": 1000 + file.stat().st_size, "transformer_2": None}

    loaded._pipes._machine = machine
    plans = memory.plans(*loaded._pipes._asked(run()))
    loaded._pipes._machine = replace(machine, ram=plans[0].ram)  # just enough
    assert (plans[0].name, loaded._pipes.plan_for(run()).name) == ("resident", "resident")
    assert loaded._pipes.plan_for(run(str(file))).name != "resident"
    loaded.close()


def test_a_draft_takes_the_loras_that_were_made_for_few_steps(home: Path, opened: Any, tmp_path: Path) -> None:
    loaded, draft = opened("wan2.2"), {"preset": "draft"}
    request = replace(asked("wan2.2"), num_inference_steps=None, guidance_scale=None, options=draft)
    fresh: Any = engine.open_model("wan2.2")
    with pytest.raises(InvalidRequest, match=r"unstrung models pull wan2\.2 --draft$"):
        engine.generate(request, model=fresh)
    assert not fresh._pipes._pipes, "it is said before anything is loaded"
    snapshot = home / "hub" / "models--lightx2v--Wan2.2-Lightning" / "snapshots" / "abc"
    for seed, source in enumerate(DRAFTS["wan2.2"]):
        place = snapshot / source.partition("#")[0].removeprefix("hf:lightx2v/Wan2.2-Lightning/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(as_musubi(numbers("wan2.2", home, seed), tmp_path), place)
    clip, recipe = engine.generate(request, model=loaded)
    assert [one["source"] for one in recipe.model["loras"]] == list(DRAFTS["wan2.2"])
    assert (recipe.resolved["num_inference_steps"], recipe.resolved["guidance_scale"]) == (4, 1.0)
    steps = loaded._pipes.get("WanPipeline").scheduler.timesteps.tolist()
    assert np.allclose(steps, [1000, 937.5, 833.3, 625], atol=1), "the levels that they were distilled at"
    by_hand = [Lora(source) for source in DRAFTS["wan2.2"]]
    options = {"guidance_scale_2": 1.0}
    again = asked("wan2.2", *by_hand, num_inference_steps=4, guidance_scale=1.0, options=options)
    assert engine.generate(again, model=loaded)[0].sha256() == clip.sha256()
    said_too = replace(request, loras=tuple(by_hand), num_inference_steps=6)  # what a preset brings is not brought twice
    assert len(engine.generate(said_too, model=loaded)[1].model["loras"]) == 2
    weaker = replace(request, loras=(replace(by_hand[0], scale=0.5),))
    assert [one["scale"] for one in engine.generate(weaker, model=loaded)[1].model["loras"]] == [1.0, 0.5]
    standard = replace(asked("wan2.2"), num_inference_steps=4)
    assert "loras" not in engine.generate(standard, model=loaded)[1].model


@pytest.mark.parametrize("model", ["wan2.1-i2v-480p", "wan2.1-vace-1.3b"])
def test_a_text_models_fits_its_kin(model: str, home: Path, opened: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), (200, 60, 20)).save(tmp_path / "one.png")
    given = {"conditions": (Condition(str(tmp_path / "one.png")),)}
    file = as_musubi(numbers("wan2.1-1.3b", home), tmp_path)
    plain = engine.generate(asked(model, **given), model=opened(model))[0].sha256()
    changed = engine.generate(asked(model, Lora(str(file)), **given), model=opened(model))[0].sha256()
    assert plain != changed
    assert engine.generate(asked(model, **given), model=opened(model))[0].sha256() == plain


def test_files_that_are_none_are_refused(home: Path, opened: Any, tmp_path: Path) -> None:
    good = as_diffusers(numbers("mochi-1", home), tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "renamed.safetensors").write_bytes(b"\x80\x04\x95pickled")
    (tmp_path / "empty.safetensors").touch()
    cases = {
        **{f"a{kind}": "is a pickle, which runs what its maker wrote; only .safetensors" for kind in (".bin", ".pt", ".pth", ".ckpt", ".PT")},
        "a.gguf": "must be a .safetensors file", "none.safetensors": "There is no file '.*none.safetensors'",
        "broken.safetensors": "can't be read as safetensors", "renamed.safetensors": "can't be read as safetensors",
        "empty.safetensors": "can't be read as safetensors",
    }  # fmt: skip
    for name, words in cases.items():
        with pytest.raises(InvalidRequest, match=words) as raised:
            engine.generate(asked("mochi-1", Lora(str(tmp_path / name))), model=opened("mochi-1"))
        assert raised.value.field == "loras"
    with pytest.raises(InvalidRequest, match="is asked for 2 times"):
        engine.generate(asked("mochi-1", Lora(str(good)), Lora(str(good), 0.5)), model=opened("mochi-1"))
    with pytest.raises(InvalidRequest, match="scale is nan"):
        engine.generate(asked("mochi-1", Lora(str(good), float("nan"))), model=opened("mochi-1"))
    engine.generate(asked("mochi-1"), model=opened("mochi-1"))
    assert not [name for name, _ in opened("mochi-1")._pipes.get("MochiPipeline").transformer.named_modules() if "lora" in name]


def test_by_its_name_on_the_hub(home: Path, opened: Any, tmp_path: Path) -> None:
    snapshot = home / "hub" / "models--somebody--looks" / "snapshots" / "abc"
    (snapshot / "more").mkdir(parents=True)
    file = as_diffusers(numbers("ltx-video", home), tmp_path)

    def frames(source: str) -> str:
        return engine.generate(asked("ltx-video", Lora(source)), model=opened("ltx-video"))[0].sha256()

    made = frames(str(file))
    for source, words in {
        "hf:somebody/looks": r"holds 0 \.safetensors files; only these are read", "hf:somebody": "must be like hf:OWNER/NAME",
        "hf:somebody/../../x": "must be like hf:OWNER/NAME", "hf:nobody/none": "is not here: unstrung models pull hf:nobody/none",
        "hf:somebody/looks/b.safetensors": "is not here: unstrung models pull hf:somebody/looks/b.safetensors",
        "hf:somebody/looks/../x.safetensors": "must be like",
    }.items():  # fmt: skip
        with pytest.raises(InvalidRequest, match=words):
            frames(source)
    shutil.copy(file, snapshot / "look.safetensors")
    assert frames("hf:somebody/looks") == made == frames("hf:somebody/looks/look.safetensors")
    shutil.copy(file, snapshot / "more" / "other.safetensors")
    assert frames("hf:somebody/looks") == made == frames("hf:somebody/looks/more/other.safetensors")
    shutil.copy(file, snapshot / "third.safetensors")
    with pytest.raises(
        InvalidRequest, match=r"holds 2 .* one of them: hf:somebody/looks/look\.safetensors, hf:somebody/looks/third"
    ):
        frames("hf:somebody/looks")


def test_cards_say_what_the_pipelines_can(home: Path) -> None:
    for family in FAMILIES:
        for way in family.ways.values():
            assert hasattr(getattr(diffusers, way.pipeline), "load_lora_weights") == family.loras, way.pipeline
    ids = {family.id for family in FAMILIES}
    assert {family for one in SIGNATURES for family in one.families} <= ids
    assert [one.name for one in whose(["blocks.0.cross_attn.q"])] == ["wan"]
    with pytest.raises(InvalidRequest, match=r"echo takes no loras yet; .*These do: .*wan2\.1-1\.3b"):
        engine.check(Request("a fox", model="echo", loras=(Lora("x"),)))


def test_from_the_command(home: Path, tmp_path: Path) -> None:
    file = as_musubi(numbers("wan2.1-1.3b", home), tmp_path)
    words = ["a fox", "--model", "wan2.1-1.3b", "--size", "64x64", "--seconds", "0.3", "--steps", "2", "--seed", "7", "--json"]
    command, saved = [sys.executable, "-m", "unstrung"], ["--force", "-o", "a.mp4"]
    with_lora = [*words, *saved, "--lora", f"{file.name}=0.7", "--preset", "draft"]
    done = subprocess.run([*command, *with_lora], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recipe = json.loads(done.stdout)["clips"][0]["recipe"]
    assert recipe["request"]["loras"] == [{"source": str(file), "scale": 0.7}] and recipe["request"]["options"] == {
        "preset": "draft"
    }
    assert recipe["model"]["loras"][0]["scale"] == 0.7
    plain = json.loads(run_here(*words, *saved, cwd=tmp_path).stdout)["clips"][0]["recipe"]
    assert plain["output"]["sha256"] != recipe["output"]["sha256"]
    data = {**os.environ, "UNSTRUNG_DATA": str(tmp_path / "data")}
    queued = run_here(*words, "--queue", "--lora", f"{file.name}=0.7", cwd=tmp_path, UNSTRUNG_DATA=data["UNSTRUNG_DATA"])
    assert queued.returncode == 0, queued.stderr
    (id,) = [job["id"] for job in json.loads(queued.stdout)["jobs"]]
    (tmp_path / "elsewhere").mkdir()
    subprocess.run([*command, "worker", "--once"], check=True, cwd=tmp_path / "elsewhere", env=data, capture_output=True)
    subprocess.run([*command, "jobs", "save", id, "-o", "queued.mp4"], check=True, cwd=tmp_path, env=data, capture_output=True)
    assert read_recipe(tmp_path / "queued.mp4").output["sha256"] == recipe["output"]["sha256"]
    for name, says in (("ltx-video", "is a LoRA for wan"), ("wan2.1-1.3b", "is a pickle")):
        other = tmp_path / "x.ckpt"
        other.write_bytes(b"")
        given = str(other) if "pickle" in says else str(file)
        done = run_here(*words, *saved, "--model", name, "--lora", given, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr, done.stderr
