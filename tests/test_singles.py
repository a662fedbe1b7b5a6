"""A listed model whose transformer comes from a file of its own, as those for ComfyUI are: real files, tiny, made on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

diffusers = pytest.importorskip("diffusers")
gguf = pytest.importorskip("gguf")

import tiny  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import InvalidRequest, MissingWeights, UnknownModel  # noqa: E402
from unstrung.models.device import bf16_is_fast  # noqa: E402
from unstrung.models.hub.memory import Plan  # noqa: E402
from unstrung.plugins import find_card  # noqa: E402
from unstrung.request import Request  # noqa: E402

MODELS = ("wan2.1-1.3b", "wan2.2", "ltx-video", "cogvideox-2b", "ltx-video-0.9.5")
Q8 = gguf.GGMLQuantizationType.Q8_0
# how the publishers call what diffusers calls otherwise
NAMES = {
    "wan": {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0", "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0", "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1", "scale_shift_table": "modulation", "proj_out": "head.head",
        ".ffn.net.0.proj": ".ffn.0", ".ffn.net.2": ".ffn.2", ".attn1.norm_": ".self_attn.norm_", ".attn2.norm_": ".cross_attn.norm_",
        ".attn1.to_out.0": ".self_attn.o", ".attn2.to_out.0": ".cross_attn.o", ".attn1.to_": ".self_attn.", ".attn2.to_": ".cross_attn.",
        ".norm2": ".norm3",
    },
    "ltx": {"proj_in": "patchify_proj", "time_embed": "adaln_single", "norm_q": "q_norm", "norm_k": "k_norm"},
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny.cache(tmp_path_factory.mktemp("hub"), MODELS) as home:
        yield home


def published(family: str, transformer: Any) -> dict[str, Any]:
    """A transformer's weights under the names that its publisher gave them."""
    found = {}
    for name, weight in transformer.state_dict().items():
        if name == "scale_shift_table" and family == "wan":
            name = "head.modulation"
        for ours, theirs in NAMES[family].items():
            name = name.replace(ours, theirs)
        found[name] = weight
    return found


def packed(family: str, transformer: Any, file: Path) -> Path:
    """Write a transformer's weights as a GGUF file: matrices in eight bits, the rest as it is."""
    writer = gguf.GGUFWriter(file, family)
    for name, weight in published(family, transformer).items():
        values = weight.float().numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, Q8), raw_dtype=Q8)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def asked(model: str) -> Request:
    return Request("a red fox", model=model, width=64, height=64, num_frames=9, num_inference_steps=3, seed=7)


@pytest.fixture(scope="module")
def files(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder, found = tmp_path_factory.mktemp("packed"), {}
    for model in MODELS[:3]:
        opened: Any = engine.open_model(model)
        engine.generate(asked(model), model=opened)
        pipe = next(iter(opened._pipes._pipes.values()))
        parts = [part for part in ("transformer", "transformer_2") if getattr(pipe, part, None) is not None]
        found[model] = [packed(model[:3], getattr(pipe, part), folder / f"{model}-{part}.gguf") for part in parts]
    return found


@pytest.mark.parametrize("model", MODELS[:3])
def test_a_film_comes_from_the_file(model: str, home: Path, files: dict[str, list[Path]]) -> None:
    plain, before = engine.generate(asked(model))
    name = f"{model}@{','.join(map(str, files[model]))}"
    opened: Any = engine.open_model(name)
    clip, recipe = engine.generate(asked(name), model=opened)
    again, _ = engine.generate(asked(name), model=opened)
    transformer = next(iter(opened._pipes._pipes.values())).transformer
    assert any(type(weight).__name__ == "GGUFParameter" for weight in transformer.parameters()), "it stays packed"
    away = np.abs(clip.frames.astype(int) - plain.frames)
    assert away.max() > 0 and away.mean() < 3, "eight bits are nearly the same"
    assert clip.sha256() == again.sha256()
    assert find_card(f"{model}@{','.join(os.path.relpath(file) for file in files[model])}")[0].id == name, "wherever one stands"
    assert recipe.model["id"] == name and recipe.model["license"] == before.model["license"]
    assert recipe.model["sha256"] != before.model["sha256"]
    theirs = {f"{file.stem.rsplit('-')[-1]}/{file.name}" for file in files[model]}
    assert theirs <= set(recipe.model["files"]) and len(recipe.model["files"]) == len(before.model["files"])


@pytest.mark.parametrize("model", MODELS[:3])
def test_a_film_comes_from_a_file_of_safetensors(model: str, home: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    opened: Any = engine.open_model(model)
    plain, before = engine.generate(asked(model), model=opened)
    pipe = next(iter(opened._pipes._pipes.values()))
    parts = [part for part in ("transformer", "transformer_2") if getattr(pipe, part, None) is not None]
    rounded = 0.6 if bf16_is_fast("cpu") else 0  # of what is computed with in float32, a little is lost on the way
    for kind, away in ((None, rounded), (torch.float8_e4m3fn, 8)):
        named = []
        for part in parts:
            weights = published(model[:3], getattr(pipe, part))
            if model == "ltx-video":  # all in one, as its makers publish it
                weights = {f"model.diffusion_model.{name}": weight for name, weight in weights.items()}
                weights["vae.decoder.conv_in.conv.bias"] = torch.ones(4)
            if kind:
                weights = {name: weight.to(kind) if weight.ndim > 1 else weight for name, weight in weights.items()}
            save_file({name: weight.contiguous() for name, weight in weights.items()}, tmp_path / f"{part}.safetensors")
            named.append(str(tmp_path / f"{part}.safetensors"))
        name = f"{model}@{','.join(named)}"
        clip, recipe = engine.generate(asked(name))
        assert np.abs(clip.frames.astype(int) - plain.frames).mean() <= away
        assert not kind or clip.sha256() != plain.sha256()
        assert recipe.model["id"] == name and len(recipe.model["files"]) == len(before.model["files"])
        assert {f"{part}/{part}.safetensors" for part in parts} <= set(recipe.model["files"])


def test_a_distilled_file_that_is_known_is_drawn_by_its_own_levels(home: Path, tmp_path: Path) -> None:
    """LTX's distilled 2B is published as one file alone, beside the pipeline of another one."""
    from safetensors.torch import save_file

    opened: Any = engine.open_model("ltx-video-0.9.5")
    engine.generate(asked("ltx-video-0.9.5"), model=opened)
    weights = published("ltx", next(iter(opened._pipes._pipes.values())).transformer)
    opened.close()
    recipes = {}
    for file in ("ltxv-2b-0.9.8-distilled.safetensors", "other.safetensors"):
        save_file({name: weight.contiguous() for name, weight in weights.items()}, tmp_path / file)
        name = f"ltx-video-0.9.5@{tmp_path / file}"
        model: Any = engine.open_model(name)
        _, recipes[file] = engine.generate(replace(asked(name), num_inference_steps=None), model=model)
        levels = next(iter(model._pipes._pipes.values())).scheduler.timesteps.tolist()
        model.close()
        assert file == "other.safetensors" or levels == pytest.approx([1000, 993, 987, 981, 975, 909, 725, 0.03])
    known, other = (recipe.resolved for recipe in recipes.values())
    assert (known["num_inference_steps"], known["guidance_scale"]) == (8, 1.0)
    assert (other["num_inference_steps"], other["guidance_scale"]) == (40, 3.0)


def test_it_draws_the_same_wherever_its_weights_lie(home: Path, files: dict[str, list[Path]]) -> None:
    name = f"wan2.1-1.3b@{files['wan2.1-1.3b'][0]}"
    run = engine.resolve(asked(name), find_card(name)[0]).run
    drawn = {}
    for plan in ("resident", "model-offload", "group-offload", "disk"):
        opened: Any = engine.open_model(name)
        opened._pipes.plan = Plan(plan, False, {}, 0, 0, 1.0, 0.0)
        drawn[plan] = opened._run(run, lambda _: None, {}).frames.astype(int)
        assert np.abs(drawn[plan] - drawn["resident"]).max() <= 1, plan
        opened.close()


def test_plans_count_the_file(home: Path, files: dict[str, list[Path]], tmp_path: Path) -> None:
    big = tmp_path / "big.gguf"
    with files["wan2.1-1.3b"][0].open("rb") as file, big.open("wb") as target:
        target.write(file.read())
        target.truncate(9 * 10**9)  # sparse: as large as a 14B model in four bits
    rows = {}
    for name in ("wan2.1-14b", f"wan2.1-14b@{big}"):
        line = [
            sys.executable,
            "-m",
            "unstrung",
            "doctor",
            "--model",
            name,
            "--size",
            "832x480",
            "--seconds",
            "2",
            "--device",
            "cpu",
            "--json",
        ]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows[name] = {row["plan"]: row["ram"] for row in json.loads(done.stdout)["plans"] if "ram" in row and not row["tiled"]}
    plain, small = rows.values()
    assert small["resident"] < plain["resident"] - 15 * 10**9 and "fp8" in plain and "fp8" not in small


def test_what_does_not_fit_is_refused_in_words(home: Path, files: dict[str, list[Path]], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    wan, ltx = files["wan2.1-1.3b"][0], files["ltx-video"][0]
    no = tmp_path / "no.gguf"
    no.write_bytes(b"PK\x03\x04 not at all")
    short = tmp_path / "short.gguf"
    short.write_bytes(wan.read_bytes()[:-4000])
    scaled = tmp_path / "scaled.safetensors"
    save_file({"blocks.0.ffn.0.weight": torch.ones(2, 2), "blocks.0.ffn.0.scale_weight": torch.ones(1)}, scaled)
    half = tmp_path / "half.safetensors"
    half.write_bytes(scaled.read_bytes()[:40])
    odd = tmp_path / "odd.safetensors"
    odd.write_bytes((30).to_bytes(8, "little") + b'{"a": {"dtype": "F32"}}       ' + b"\0" * 8)
    other = tmp_path / "other.safetensors"
    save_file({"blocks.0.ffn.0.weight": torch.ones(2, 2)}, other)
    for name, kind, words in (
        (f"wan2.1-1.3b@{scaled}", MissingWeights, r"in eight bits with scales \(blocks.0.ffn.0.scale_weight\)"),
        *((f"wan2.1-1.3b@{file}", MissingWeights, "is no safetensors file") for file in (half, odd)),
        (f"wan2.1-1.3b@{no}", MissingWeights, "is no GGUF file"),
        (f"wan2.1-1.3b@{tmp_path / 'gone.gguf'}", MissingWeights, "can't be read: No such file"),
        (f"cogvideox-2b@{wan}", UnknownModel, r"reads no single files for cogvideox-2b; it does for: ltx"),
        (f"wan2.2@{wan}", UnknownModel, r"has 2 transformers \(transformer, transformer_2\), and 1 files are named"),
        (f"wan2.1-1.3c@{wan}", UnknownModel, "wan2.1-1.3b"),
        (f"wan2.1-14b@{wan}", MissingWeights, "unstrung models pull wan2.1-14b@/"),
    ):
        with pytest.raises(kind, match=words):
            engine.open_model(name)
    for name in (f"wan2.1-1.3b@{ltx}", f"wan2.1-1.3b@{short}", f"wan2.1-1.3b@{other}"):
        with pytest.raises(MissingWeights, match=r"does not fit the transformer of wan2\.1-1\.3b"):
            engine.generate(asked(name))


def test_nobody_names_a_file_over_the_api(files: dict[str, list[Path]]) -> None:
    with pytest.raises(UnknownModel):
        find_card(f"wan2.1-1.3b@{files['wan2.1-1.3b'][0]}", listed=True)


def test_a_lora_goes_on_top(home: Path, files: dict[str, list[Path]], tmp_path: Path) -> None:
    import test_lora
    from unstrung.request import Lora

    file = test_lora.as_diffusers(test_lora.numbers("wan2.1-1.3b", home), tmp_path)
    name = f"wan2.1-1.3b@{files['wan2.1-1.3b'][0]}"
    from dataclasses import replace

    plain, _ = engine.generate(asked(name))
    styled, recipe = engine.generate(replace(asked(name), loras=(Lora(str(file)),)))
    assert styled.sha256() != plain.sha256() and recipe.model["loras"]
    with pytest.raises(InvalidRequest):
        engine.generate(replace(asked(name), loras=(Lora(str(tmp_path / "gone.safetensors")),)))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core")
def test_two_processes_draw_from_it_together(home: Path, files: dict[str, list[Path]]) -> None:
    name = f"wan2.1-1.3b@{files['wan2.1-1.3b'][0]}"
    opened: Any = engine.open_model(name)
    alone, _ = engine.generate(asked(name), model=opened)
    together, _ = engine.generate(replace(asked(name), options={"gpus": 2}), model=opened)
    opened.close()
    assert np.abs(together.frames.astype(int) - alone.frames).max() <= 1
