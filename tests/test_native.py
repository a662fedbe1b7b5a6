"""The native family: two runtimes that agree, windows that join, prompts that are understood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unstrung import Request
from unstrung.errors import InvalidRequest, MissingWeights
from unstrung.events import Event, Note, Preview, Progress
from unstrung.models.native import CARDS, codec
from unstrung.models.native.config import SIZES
from unstrung.models.native.detail import DetailNet
from unstrung.models.native.film import OpenVINODetail, to_film
from unstrung.models.native.model import NativeModel
from unstrung.models.native.pipeline import NativePipeline, canvas_for, load_pipeline, windows
from unstrung.models.native.runtime import OpenVINORuntime, TorchRuntime, Weights
from unstrung.models.native.text import MiniLM
from unstrung.models.native.understand import Vocabulary, split
from unstrung.request import resolve
from unstrung.train.checkpoint import export_weights

CARD = CARDS[0]


@pytest.fixture(scope="session")
def encoder() -> MiniLM:
    return MiniLM(threads=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder: MiniLM) -> Path:
    """A model folder with a tiny network of random weights, and a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = NativeModel(SIZES["tiny"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    export_weights(
        folder / "nano.safetensors", dict(model.named_parameters()), SIZES["tiny"].to_dict(), {"window": 3, "context": 1}
    )
    phrases, names = ["red fox", "in the snow", "at night", "runs", "running"], ["fox", "snow", "night", "run", "dog"]
    Vocabulary.write(folder / "nano.vocabulary.npz", phrases, names, encoder)
    return folder


@pytest.fixture(scope="session")
def pipeline(folder: Path) -> Iterator[NativePipeline]:
    opened = load_pipeline(CARD, folder)
    yield opened
    opened.close()


@pytest.mark.parametrize("shape", [(1, 1, 32, 48), (2, 1, 48, 32), (2, 3, 32, 32)])
def test_the_runtimes_agree(folder: Path, shape: tuple[int, int, int, int]) -> None:
    weights = Weights.read(folder / "nano.safetensors")
    b, t, h, w = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((b, 12, t, h, w)).astype(np.float32)
    sigma = rng.uniform(0, 1, (b, t)).astype(np.float32)
    text = rng.standard_normal((b, 16, 384)).astype(np.float32)
    mask = (np.arange(16) < np.array([[16], [5]])[:b]).astype(np.float32)
    by_torch = TorchRuntime(weights, "cpu")
    expected = by_torch.numpy(by_torch.predict(by_torch.array(x), sigma, text, mask))
    np.testing.assert_allclose(OpenVINORuntime(weights, "f32").predict(x, sigma, text, mask), expected, atol=2e-4)
    # what is masked is not read
    text[:, 5:] += 100 * (1 - mask[:, 5:, None])
    np.testing.assert_allclose(by_torch.numpy(by_torch.predict(by_torch.array(x), sigma, text, mask)), expected, atol=2e-4)


def test_every_frame_hears_its_own_noise_level_and_all_others() -> None:
    torch.manual_seed(0)
    model = NativeModel(SIZES["tiny"])
    torch.nn.init.normal_(model.film.weight, std=0.05)
    x, text, mask = torch.randn(1, 12, 3, 32, 32), torch.randn(1, 4, 384), torch.ones(1, 4)
    base = model(x, torch.tensor([[0.5, 0.5, 0.5]]), text, mask)
    own = (model(x, torch.tensor([[0.5, 0.1, 0.5]]), text, mask) - base).abs().amax((0, 1, 3, 4))
    assert own[1] > own[0]
    changed = x.clone()
    changed[:, :, 0] += 1
    heard = (model(changed, torch.tensor([[0.5, 0.5, 0.5]]), text, mask) - base).abs().amax((0, 1, 3, 4))
    assert (heard > 1e-5).all(), "attention joins all frames"


def test_the_codec_is_lossless() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 16, 32, 3), np.uint8)
    latent = codec.encode(frames)
    assert latent.shape == (12, 2, 16, 32) and abs(latent).max() <= 1
    assert np.array_equal(codec.decode(latent), frames)


@pytest.mark.parametrize(
    ("frames", "size", "context"), [(1, 4, 2), (4, 4, 2), (5, 4, 2), (10, 4, 2), (120, 4, 2), (10, 10, 4), (7, 1, 0)]
)
def test_windows_cover_every_frame_once(frames: int, size: int, context: int) -> None:
    plan = windows(frames, size, context)
    fresh = [n for w in plan for n in range(w.start + w.given, w.stop)]
    assert fresh == list(range(frames))
    assert all(w.stop - w.start <= size for w in plan)
    assert all(w.given == context for w in plan[1:]) and plan[0].given == 0


def test_canvases_fit_their_aspect() -> None:
    assert canvas_for(640, 360) == canvas_for(1920, 1080) == (160, 96)
    assert canvas_for(360, 640) == (96, 160)
    assert canvas_for(480, 480) == (128, 128)


def test_film_has_every_frame_and_cuts_to_the_middle() -> None:
    drawn = np.zeros((4, 96, 160, 3), np.uint8)
    drawn[1:, :, 80:] = 200
    film = to_film(drawn, 8, 24, 10, (640, 360), lambda done: None)
    assert film.shape == (10, 360, 640, 3)
    rising = film[:4, 180, 500, 0].astype(int)
    assert rising[0] == 0 and rising[3] == 200 and (np.diff(rising) > 50).all(), "the frames between are between"
    assert film[6, 180, 100, 0] == 0 and film[6, 0, 500, 0] == 200


def test_a_film_does_not_stand_still_at_its_end() -> None:
    drawn = np.repeat(np.arange(0, 240, 60, np.uint8), 16 * 16 * 3).reshape(4, 16, 16, 3)
    levels = to_film(drawn, 8, 24, 12, (16, 16), lambda done: None)[:, 8, 8, 0].astype(int)
    assert levels[0] == 0 and levels[-1] == 180 and (np.diff(levels) > 0).all()


def test_the_film_network_is_the_same_in_both_runtimes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = DetailNet((8, 12, 16))
    torch.nn.init.normal_(net.leave.weight, std=0.05)
    save_file(net.state_dict(), tmp_path / "detail.safetensors")
    a, b = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    for share in (0.0, 1 / 3):
        picture = OpenVINODetail(tmp_path / "detail.safetensors").between(a, b, share)
        planes = [torch.from_numpy(f).permute(2, 0, 1)[None].float() / 127.5 - 1 for f in (a, b)]
        with torch.no_grad():
            expected = net(*planes, torch.tensor([share]))[0].permute(1, 2, 0).numpy()
        expected = np.clip((expected + 1) * 127.5, 0, 255)
        assert picture.shape == (128, 192, 3)
        assert np.abs(picture - expected).mean() < 1.5
    # without anything learned it is the plain mix, enlarged
    torch.nn.init.zeros_(net.leave.weight)
    torch.nn.init.zeros_(net.leave.bias)
    save_file(net.state_dict(), tmp_path / "detail.safetensors")
    plain = OpenVINODetail(tmp_path / "detail.safetensors").between(a, b, 0.25)
    assert np.abs(plain[::4, ::4] - (0.75 * a + 0.25 * b)).max() <= 2


def test_a_request_becomes_a_clip(pipeline: NativePipeline) -> None:
    heard: list[Event] = []
    request = resolve(Request("a red fox in the snow", seconds=2, width=128, height=72, num_inference_steps=6, seed=1), CARD).run
    clip = pipeline.generate(request, heard.append, {})
    assert clip.frames.shape == (48, 72, 128, 3) and clip.fps == 24
    again = pipeline.generate(request, heard.append, {})
    assert np.array_equal(clip.frames, again.frames)
    other = pipeline.generate(replace(request, seed=2), heard.append, {})
    assert not np.array_equal(clip.frames, other.frames)
    assert {e.stage for e in heard if isinstance(e, Progress)} == {"encode", "prepare", "sample", "decode"}
    assert any(isinstance(e, Preview) for e in heard)


@pytest.mark.parametrize("sampler", CARD.samplers)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_every_sampler_runs_with_and_without_guidance(pipeline: NativePipeline, sampler: str, guidance: float) -> None:
    request = Request(
        "a fox", seconds=1, width=64, height=64, num_inference_steps=3, sampler=sampler, guidance_scale=guidance, seed=1
    )
    clip = pipeline.generate(resolve(request, CARD).run, lambda event: None, {})
    assert clip.frames.shape == (24, 64, 64, 3)


def test_torch_draws_the_same_film(folder: Path, pipeline: NativePipeline) -> None:
    request = resolve(Request("a fox", seconds=2, width=128, height=72, num_inference_steps=4, seed=1), CARD).run
    by_torch = load_pipeline(CARD, folder, "cpu:torch").generate(request, lambda event: None, {})
    difference = by_torch.frames.astype(int) - pipeline.generate(request, lambda event: None, {}).frames
    assert np.abs(difference).mean() < 2


def test_a_prompt_past_the_limit_is_refused_with_what_was_read(pipeline: NativePipeline) -> None:
    request = resolve(Request("a fox and " * 40, seconds=1, seed=1), CARD).run
    with pytest.raises(InvalidRequest, match="has 120 words; nano reads the first 62"):
        pipeline.generate(request, lambda event: None, {})
    with pytest.raises(InvalidRequest, match="negative prompt"):
        pipeline.generate(replace(request, prompt="a fox", negative_prompt="bad " * 99), lambda event: None, {})


def test_it_says_what_it_read_and_what_it_does_not_know(pipeline: NativePipeline, encoder: MiniLM, folder: Path) -> None:
    read = Vocabulary.read(folder / "nano.vocabulary.npz").read_prompt(
        "A red FOX and a cello, running in the snow; dogs", encoder
    )
    assert read.known == ("red", "fox", "running", "snow")
    assert read.unknown == ("cello",)
    assert read.near == {"dogs": "dog"}
    assert "does not know: cello" in read.sentence("nano")
    heard: list[Event] = []
    pipeline.generate(
        resolve(Request("a cello", seconds=1, width=64, height=64, num_inference_steps=1, seed=1), CARD).run, heard.append, {}
    )
    notes = [e for e in heard if isinstance(e, Note)]
    assert notes[0].code == "understood" and notes[0].data["unknown"] == ["cello"]
    assert split("A t-rex's 2 cats, naïve—Лиса") == ["a", "t-rex's", "2", "cats", "naïve", "лиса"]
    assert split("🦊 fox -- ✨ (©)?!") == ["🦊", "fox", "✨", "©"]


@pytest.mark.parametrize(("width", "height", "says"), [(1920, 64, "94% of it is cut away"), (640, 360, None), (512, 512, None)])
def test_a_shape_far_from_the_drawn_one_is_not_cut_silently(
    pipeline: NativePipeline, width: int, height: int, says: str | None
) -> None:
    heard: list[Event] = []
    asked = Request("a fox", seconds=1, fps=1, width=width, height=height, num_inference_steps=1, seed=1)
    pipeline.generate(resolve(asked, CARD).run, heard.append, {})
    notes = [e.text for e in heard if isinstance(e, Note) and e.code == "cut"]
    assert says in notes[0] if says else not notes


def test_the_encoder_tells_things_apart(encoder: MiniLM) -> None:
    fox, vixen, invoice = (encoder.encode(t).mean(0) for t in ("a fox", "a red fox", "an invoice"))

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert likeness(fox, vixen) > 0.6 > 0.3 > likeness(fox, invoice)
    assert encoder.encode("a fox").shape == (4, 384)


def test_missing_or_foreign_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="no weights at"):
        Weights.read(tmp_path / "nano.safetensors")
    (tmp_path / "nano.safetensors").write_bytes(b"something else")
    with pytest.raises(MissingWeights, match="does not hold weights"):
        Weights.read(tmp_path / "nano.safetensors")
