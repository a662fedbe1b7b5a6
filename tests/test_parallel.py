"""A film that several processes make together: as one alone makes it, and nothing is left of them, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

import tiny  # noqa: E402
from unstrung import engine  # noqa: E402
from unstrung.errors import Canceled, GivenBack, InvalidRequest, NotEnoughMemory, UnstrungError  # noqa: E402
from unstrung.events import Event, Note, Preview, Progress  # noqa: E402
from unstrung.media.clip import Clip  # noqa: E402
from unstrung.models.hub import CARDS  # noqa: E402
from unstrung.models.hub.families import DIVIDED, FAMILIES  # noqa: E402
from unstrung.models.hub.memory import Machine  # noqa: E402
from unstrung.request import Condition, Lora, Request  # noqa: E402

KNOWN = {card.id: card for card in CARDS}
FOX, SEA = Condition("fox.png"), Condition("sea.png", -1)
RUNS: dict[str, list[tuple[Condition, ...]]] = {
    "wan2.1-1.3b": [(), (Condition("fox.mp4", kind="video", strength=0.3),)],
    "wan2.2-5b": [(), (FOX,)], "ltx-video": [(), (FOX,)], "ltx-video-0.9.5": [(), (FOX, SEA)], "helios": [(), (FOX,)],
}  # fmt: skip
TOGETHER = {"gpus": 2}

pytestmark = [
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core"),
    pytest.mark.skipif(sys.platform != "linux", reason="what is left of processes is looked up in /proc"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny.cache(tmp_path_factory.mktemp("hub"), [*RUNS, "ltx-2", "cogvideox-2b"]) as home:
        yield home


@pytest.fixture(scope="module")
def opened(home: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A model, open for all tests that name it, for its processes take seconds to come; closed after them, and nothing is left."""
    model = engine.open_model(request.param)
    yield model
    model.close()
    assert not helpers(os.getpid())


def of(*models: str) -> pytest.MarkDecorator:
    """Have a test's model be each of these; all tests of one come together."""
    return pytest.mark.parametrize("opened", models, indirect=True, scope="module")


def asked(model: str, conditions: tuple[Condition, ...] = (), steps: int = 3, **options: Any) -> Request:
    card = KNOWN[model]
    frames = (2 if card.frame_stride < 32 else 1) * card.frame_stride + card.frame_offset
    size = (64, 128) if conditions == (FOX, SEA) else (64, 64)  # what is given at frames of its own has tokens too
    return Request(
        "a red fox", model=model, width=size[0], height=size[1], num_frames=frames, num_inference_steps=steps, seed=7,
        conditions=conditions, options=options,
    )  # fmt: skip


def source(name: str) -> Clip:
    frames = np.random.default_rng(len(name)).integers(0, 255, (9 if name.endswith("mp4") else 1, 64, 64, 3)).astype(np.uint8)
    return Clip(frames, 24)


def made(request: Request, model: Any, emit: Any = lambda _: None) -> Clip:
    return engine.generate(request, emit, model=model, open_source=source)[0]


def helpers(parent: int | None = None) -> list[int]:
    """The processes that make films together, of one parent or of all."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words, status = (place / "cmdline").read_bytes(), (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"unstrung.models.hub.parallel" in words and (parent is None or int(status[1]) == parent):
            found.append(int(place.name))
    return sorted(found)


def test_what_is_divided_has_a_row_here() -> None:
    assert {KNOWN[model].family for model in RUNS} == DIVIDED < {family.id for family in FAMILIES}


def test_a_cancel_leaves_no_process_where_the_model_is_not_kept(home: Path) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "sample" and event.done == 1:
            assert len(helpers(os.getpid())) == 2
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(asked("wan2.1-1.3b", **TOGETHER), cut)
    assert not helpers(os.getpid())


def test_helpers_end_with_whoever_started_them(home: Path, tmp_path: Path) -> None:
    code = f"""
from unstrung import engine
from unstrung.request import Request
engine.generate({asked("wan2.1-1.3b", steps=900, **TOGETHER)!r}, lambda event: print(event, flush=True))
"""
    own = {**os.environ, "TMPDIR": str(tmp_path)}
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=own)
    assert first.stdout is not None
    for line in first.stdout:
        if "stage='sample', done=2" in line:
            break
    theirs = helpers(first.pid)
    assert len(theirs) == 2
    first.kill()
    first.wait()
    first.stdout.close()
    until = time.monotonic() + 60
    while set(theirs) & set(helpers()):
        assert time.monotonic() < until, "they live on"
        time.sleep(0.1)
    assert not list(tmp_path.glob("unstrung-*"))


@of(*RUNS)
def test_two_draw_what_one_draws(opened: Any) -> None:
    model = opened.card.id
    alone = [made(asked(model, conditions), opened) for conditions in RUNS[model]]
    for conditions, one in zip(RUNS[model], alone, strict=True):
        request, events = asked(model, conditions, **TOGETHER), list[Event]()
        together = made(request, opened, events.append)
        assert len(helpers(os.getpid())) == 2
        assert np.abs(together.frames.astype(int) - one.frames).max() <= tiny.NEAR
        steps = [event for event in events if isinstance(event, Progress) and event.stage == "sample"]
        assert steps[-1].done == steps[-1].total and sum(isinstance(event, Preview) for event in events) <= len(steps)
        assert made(request, opened).sha256() == together.sha256() != made(replace(request, seed=8), opened).sha256()


@of("wan2.1-1.3b")
def test_what_was_sampled_is_kept_for_whoever_goes_on(opened: Any, home: Path) -> None:
    request = replace(asked("wan2.1-1.3b", **TOGETHER), seed=9)
    kept, heard = home / "data" / "latents", list[Event]()

    def give_back(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "decode":
            until = time.monotonic() + 60
            while not list(kept.glob("*.safetensors")):
                assert time.monotonic() < until
            raise GivenBack

    with pytest.raises(GivenBack):
        made(request, opened, give_back)
    assert not helpers(os.getpid()) and list(kept.glob("*.safetensors"))
    resumed = made(request, opened, heard.append)
    assert "kept" in [event.code for event in heard if isinstance(event, Note)] and not list(kept.glob("*"))
    assert resumed.sha256() == made(request, opened).sha256()


@of("wan2.1-1.3b")
def test_a_cancel_ends_it_in_all_and_they_go_on_with_the_next(opened: Any) -> None:
    request = asked("wan2.1-1.3b", **TOGETHER)
    whole, recipe = engine.generate(request, model=opened)
    assert recipe.resolved["options"]["gpus"] == 2 and recipe.device["plan"] == "resident" and recipe.model["sha256"]
    before = helpers(os.getpid())

    for stage, done in [("sample", 1), ("decode", 0), ("load", 0)]:

        def cut(event: Event, at: tuple[str, int] = (stage, done)) -> None:
            if isinstance(event, Progress) and (event.stage, event.done) == at:
                raise Canceled

        with pytest.raises(Canceled):
            opened.generate(engine.resolve(request, opened.card).run, cut, {})
        assert helpers(os.getpid()) == before, "they had come to their end in time, and wait"
        assert made(request, opened).sha256() == whole.sha256()
    alone, recipe = engine.generate(asked("wan2.1-1.3b"), model=opened)
    assert recipe.resolved["options"]["gpus"] == 1 and not helpers(os.getpid()), "one alone needs nobody"
    assert np.abs(whole.frames.astype(int) - alone.frames).max() <= 1


@of("wan2.1-1.3b")
def test_a_helper_that_is_killed_ends_the_film(opened: Any) -> None:
    for which in (0, 1):

        def kill(event: Event, which: int = which) -> None:
            if isinstance(event, Progress) and event.stage == "sample" and event.done == 1:
                os.kill(helpers(os.getpid())[which], signal.SIGKILL)

        made(asked("wan2.1-1.3b", **TOGETHER), opened)  # by others, the second time
        with pytest.raises(UnstrungError, match=f"Process {which + 1} of the 2 .* has ended \\(signal 9\\): ask again"):
            made(asked("wan2.1-1.3b", steps=30, **TOGETHER), opened, kill)
        assert not helpers(os.getpid())


@of("wan2.1-1.3b")
def test_what_can_not_be_is_refused_before_anything_is_started(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [
        ({"gpus": 0}, {}, "option gpus is 0; this machine has no GPU, and .* cores? in their place: --set gpus="),
        ({"gpus": 1000}, {}, "option gpus is 1000; this machine has "),
        ({"gpus": 2, "cache": "taylorseer"}, {}, "cache is taylorseer, which do not go together"),
        ({"gpus": 2, "compile": True}, {}, "compile is True, which do not go together"),
        (TOGETHER, {"width": 80, "height": 80, "num_frames": 1}, "the film has 25 tokens at this size and length, which go by: 1"),
    ]  # fmt: skip
    for options, more, words in refused:
        with pytest.raises(InvalidRequest, match=words):
            engine.generate(replace(asked("wan2.1-1.3b", **options), **more), model=opened)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with pytest.raises(InvalidRequest, match=r"wan2\.1-1\.3b has 2 heads, which go by: 1, 2\."):
        engine.generate(asked("wan2.1-1.3b", gpus=4), model=opened)
    opened._part()
    monkeypatch.setattr(opened._pipes, "_machine", Machine(None, 10**9, 10**12))
    with pytest.raises(NotEnoughMemory, match=r"each process holds the whole model: .* at least .* GB of RAM"):
        engine.generate(asked("wan2.1-1.3b", **TOGETHER), model=opened)
    assert opened._team is None
    for model in ("ltx-2", "cogvideox-2b"):
        with pytest.raises(InvalidRequest, match=f"{model} has no option 'gpus'"):
            engine.resolve(asked(model, **TOGETHER), KNOWN[model])


@of("ltx-video")
def test_a_lora_goes_on_top_but_for_the_layer_where_all_is_gathered(opened: Any, tmp_path: Path) -> None:
    drawn = torch.Generator().manual_seed(1)
    requests = []
    for name, wide in (("transformer_blocks.0.attn1.to_q", (48, 48)), ("proj_out", (128, 48))):
        up, down = (torch.randn(shape, generator=drawn) for shape in ((wide[0], 2), (2, wide[1])))
        file = tmp_path / f"{name}.safetensors"
        save_file({f"transformer.{name}.lora_A.weight": down, f"transformer.{name}.lora_B.weight": up}, file)
        requests.append(replace(asked("ltx-video"), loras=(Lora(str(file)),)))
    one: Any = engine.open_model("ltx-video")
    plain, alone = made(asked("ltx-video"), one), made(requests[0], one)
    one.close()
    together = made(replace(requests[0], options=TOGETHER), opened)
    assert (
        np.abs(together.frames.astype(int) - alone.frames).max()
        <= tiny.NEAR
        < np.abs(plain.frames.astype(int) - alone.frames).max()
    )
    assert opened.about()["loras"]
    with pytest.raises(InvalidRequest, match=r"A LoRA changes the layer 'proj_out', .* leave out --set gpus"):
        made(replace(requests[1], options=TOGETHER), opened)
    assert made(replace(requests[0], options=TOGETHER), opened).sha256() == together.sha256()


@of("helios")
def test_what_is_wrong_in_a_process_is_said_as_it_is_by_one_alone(opened: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"gpus divides the film's tokens, .* no multiple of it"):
        made(replace(asked("helios", **TOGETHER), width=80, height=80), opened)
    with pytest.raises(InvalidRequest, match="The prompt has 900 words"):
        made(replace(asked("helios", **TOGETHER), prompt="fox " * 900), opened)
    made(asked("helios", **TOGETHER), opened)
