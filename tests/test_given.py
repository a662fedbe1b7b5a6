"""Videos from pictures, clips and characters: remix, edits, extensions, and what a stranger's file may do here (nothing)."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from served import Served
from unstrung.media.clip import Clip
from unstrung.media.codec import read_clip, read_recipe, write_clip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL: Any = {"seconds": "1", "size": "64x48", "extra_body": {"fps": 8, "seed": 1}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("given"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def video(served: Served) -> Any:
    return served.client.videos.create_and_poll(prompt="a red fox", **SMALL)


def film(served: Served, id: str, folder: Path) -> Clip:
    served.client.videos.download_content(id).write_to_file(folder / f"{id}.mp4")
    return read_clip(folder / f"{id}.mp4")


def near(first: np.ndarray, second: np.ndarray) -> float:
    """The mean difference of pixels, from 0 to 255."""
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def by(**fields: Any) -> dict[str, Any]:
    """Fields as objects, in a form with bracketed names: the client's own arguments take files alone, against their types."""
    name = next(iter(fields))
    return {name: openai.omit, "extra_body": fields}


def picture(colour: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def test_remix_and_edit_follow_the_video_and_the_words(served: Served, video: Any, tmp_path: Path) -> None:
    videos = served.client.videos
    source = film(served, video.id, tmp_path)
    remix = videos.remix(video.id, prompt="a blue fox")
    edits = [
        videos.edit(prompt="a blue fox", **by(video={"id": video.id})),
        videos.edit(prompt="a blue fox", video=(tmp_path / f"{video.id}.mp4").read_bytes()),
    ]
    for asked in (remix, *edits):
        done = videos.poll(asked.id)
        assert done.status == "completed", done.error
        assert (done.prompt, done.seconds, done.size) == ("a blue fox", "1", "64x48")
        made = film(served, done.id, tmp_path)
        assert 2 < near(made.frames, source.frames) < 60, "neither the same nor another"
        recipe = read_recipe(tmp_path / f"{done.id}.mp4")
        assert len(recipe.parents) == 1
    assert remix.remixed_from_video_id == edits[0].remixed_from_video_id == video.id and edits[1].remixed_from_video_id is None


def test_an_extension_begins_as_the_video_does(served: Served, video: Any, tmp_path: Path) -> None:
    videos = served.client.videos
    source = film(served, video.id, tmp_path)
    ways: list[Any] = [by(video={"id": video.id}), by(video=video.id), {"video": (tmp_path / f"{video.id}.mp4").read_bytes()}]
    for way in ways:
        asked = videos.extend(prompt="it goes on", seconds="2", **way)  # type: ignore[arg-type]
        done = videos.poll(asked.id)
        assert (done.status, done.seconds) == ("completed", "3"), "the length of both together"
        made = film(served, done.id, tmp_path)
        assert made.num_frames == 24
        assert 2 * near(made.frames[:8], source.frames) < near(made.frames[8:16], source.frames)
    with pytest.raises(openai.BadRequestError, match="more than 0"):
        videos.extend(prompt="it goes back", seconds="-1", **ways[0])  # type: ignore[arg-type]


def test_a_picture_is_the_first_frame(served: Served, tmp_path: Path) -> None:
    red = picture((200, 30, 30), "JPEG", (128, 96))
    url = "data:image/png;base64," + base64.b64encode(picture((200, 30, 30))).decode()
    given: list[dict[str, Any]] = [
        {**SMALL, "input_reference": ("start.jpg", red, "image/jpeg")},
        {**SMALL, "extra_body": {**SMALL["extra_body"], "input_reference": {"image_url": url}}},
    ]
    for fields in given:
        done = served.client.videos.create_and_poll(prompt="a red room", **fields)
        assert done.status == "completed", done.error
        made = film(served, done.id, tmp_path)
        assert near(made.frames[0], np.full_like(made.frames[0], (200, 30, 30))) < 8
        assert near(made.frames[-1], made.frames[0]) > 8
        kept = served.folder / "uploads"
        held = set(kept.iterdir())
        served.client.videos.delete(done.id)
        assert len(set(kept.iterdir())) == len(held) - 1, "what was sent goes with the video"


def test_characters_are_kept_by_name(served: Served, video: Any, tmp_path: Path) -> None:
    videos = served.client.videos
    film(served, video.id, tmp_path)
    with (tmp_path / f"{video.id}.mp4").open("rb") as file:
        character = videos.create_character(name="Rusty", video=file)
    assert character.id and videos.get_character(character.id).to_dict() == character.to_dict()
    for size in ("64x48",):
        done = videos.create_and_poll(
            prompt="Rusty runs",
            seconds="1",
            size=size,
            extra_body={"fps": 8, "characters": [{"id": character.id}]},  # type: ignore[arg-type]
        )
        assert done.status == "completed", done.error
    with pytest.raises(openai.BadRequestError, match="Rusty"):
        videos.create(prompt="somebody runs", extra_body={"characters": [{"id": character.id}]})
    with pytest.raises(openai.NotFoundError):
        videos.create(prompt="Rusty runs", extra_body={"characters": [{"id": "char_0"}]})
    with pytest.raises(openai.ConflictError, match="delete that first"):
        served.client.delete(f"/videos/characters/{character.id}", cast_to=object)
    videos.delete(done.id)
    served.client.delete(f"/videos/characters/{character.id}", cast_to=object)
    with pytest.raises(openai.NotFoundError):
        videos.get_character(character.id)


def test_a_model_that_can_not_says_which_can(served: Served, video: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        served.client.videos.edit(prompt="x", **by(video={"id": video.id}, model="nano"))
    assert refused.value.code == "not_supported" and refused.value.param == "model"
    assert "nano does no video-to-video" in refused.value.message and "These do: echo" in refused.value.message
    with pytest.raises(openai.BadRequestError, match="nano takes no loras yet"):
        served.client.videos.create(prompt="x", extra_body={"model": "nano", "lora": {"name": "hf:me/mine", "scale": 0.5}})
    for name in ("mine", "/etc/mine.safetensors", "hf:me", "hf:me/../mine#3"):
        with pytest.raises(openai.BadRequestError, match="must be one that this host has"):
            served.client.videos.create(prompt="x", extra_body={"lora": name})


def test_several_are_made_of_one_request_or_none(served: Served) -> None:
    first = served.client.videos.create(prompt="three", **{**SMALL, "extra_body": {"fps": 8, "n": "3", "seed": 5}})
    assert first.model_extra is not None
    ids = first.model_extra["unstrung"]["variants"]
    assert len(ids) == 3 and ids[0] == first.id
    seeds = [served.client.videos.retrieve(id).model_extra["unstrung"]["request"]["seed"] for id in ids]  # type: ignore[index]
    assert seeds == [5, 6, 7]
    with pytest.raises(openai.BadRequestError, match="from 1 to 16"):
        served.client.videos.create(prompt="many", extra_body={"n": 17})


def test_asked_twice_with_one_key_is_asked_once(served: Served) -> None:
    key = {"Idempotency-Key": "mine"}
    first = served.client.videos.create(prompt="once", extra_headers=key, **SMALL)
    assert served.client.videos.create(prompt="once", extra_headers=key, **SMALL).id == first.id
    other = {"Idempotency-Key": "another"}
    assert served.client.videos.create(prompt="once", extra_headers=other, **SMALL).id != first.id


def test_a_key_is_for_one_request(served: Served, video: Any) -> None:
    videos, key = served.client.videos, {"Idempotency-Key": "for one"}
    red, blue = picture((200, 30, 30)), picture((30, 30, 200))
    asked: Any = {"prompt": "a room", "input_reference": ("a.png", red, "image/png"), "extra_headers": key, **SMALL}
    first = videos.create(**asked)
    there = held(served)
    assert videos.create(**{**asked, "input_reference": ("b.png", red, "image/png")}).id == first.id
    assert held(served) == there, "the picture that came again is not kept again"
    others: list[Any] = [
        lambda: videos.create(**{**asked, "prompt": "a cellar"}),
        lambda: videos.create(**{**asked, "input_reference": ("a.png", blue, "image/png")}),
        lambda: videos.remix(video.id, prompt="a room", extra_headers=key),
    ]
    for other in others:
        with pytest.raises(openai.ConflictError) as refused:
            other()
        assert refused.value.code == "key_reused" and "'for one'" in refused.value.message
    assert held(served) == there
    remix = videos.remix(video.id, prompt="a room", extra_headers={"Idempotency-Key": "a remix"})
    assert videos.remix(video.id, prompt="a room", extra_headers={"Idempotency-Key": "a remix"}).id == remix.id


def held(served: Served) -> set[str]:
    """The files that are kept of what was sent."""
    return {path.name for path in (served.folder / "uploads").glob("*")}


def test_what_is_refused_leaves_nothing(served: Served, video: Any, tmp_path: Path) -> None:
    film(served, video.id, tmp_path)
    videos, sent = served.client.videos, (tmp_path / f"{video.id}.mp4").read_bytes()
    red = ("a.png", picture((200, 30, 30)), "image/png")
    before, listed = held(served), [one.id for one in videos.list()]
    refused: list[dict[str, Any]] = [
        {"prompt": " "}, {"seconds": "600"}, {"size": "9x9"}, {"model": "nano"}, {"model": "ekko"}, {"extra_body": {"seed": -1}},
        {"extra_body": {"n": 99}}, {"extra_body": {"characters": [{"id": "char_0"}]}}, {"extra_body": {"sed": 1}},
        {"input_reference": ("a.png", red[1][:60], "image/png")},
    ]  # fmt: skip
    for fields in refused:
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
            videos.create(**{"prompt": "a room", "input_reference": red, **fields})
    for changed in ({"prompt": " "}, {"extra_body": {"seed": "x"}}, {"extra_body": {"model": "nano"}}, {"video": sent[:3000]}):
        with pytest.raises(openai.BadRequestError):
            videos.edit(**{"prompt": "another", "video": sent, **changed})
        with pytest.raises(openai.BadRequestError):
            videos.extend(**{"prompt": "more", "seconds": "4", "video": sent, **changed})
    with pytest.raises(openai.BadRequestError, match="60"):
        videos.extend(prompt="more", seconds="600", video=sent)  # type: ignore[arg-type]
    assert held(served) == before and [one.id for one in videos.list()] == listed


def test_what_can_be_said_of_a_video_can_be_said_of_what_is_made_from_it(served: Served, video: Any, tmp_path: Path) -> None:
    said = {"seed": 9, "num_inference_steps": 3, "negative_prompt": "rain", "guidance_scale": 2, "draft": True, "public": True}
    ways: list[Any] = [
        lambda more: served.client.videos.remix(video.id, prompt="a bear", extra_body=more),
        lambda more: served.client.videos.edit(prompt="a bear", **by(video=video.id, **more)),
        lambda more: served.client.videos.extend(prompt="a bear", seconds="1", **by(video=video.id, **more)),
    ]
    for way in ways:
        asked = way({**said, "n": 2})
        more = asked.model_extra["unstrung"]
        assert len(more["variants"]) == 2 and more["draft"] and more["public"]
        for seed, id in enumerate(more["variants"], 9):
            assert served.client.videos.poll(id, poll_interval_ms=100).status == "completed"
            film(served, id, tmp_path)
            recipe = read_recipe(tmp_path / f"{id}.mp4")
            made = {name: recipe.resolved[name] for name in ("num_inference_steps", "negative_prompt", "guidance_scale")}
            assert made == {name: said[name] for name in made} and recipe.seed == seed
        seeds = {way({}).model_extra["unstrung"]["request"]["seed"] for _ in range(2)}
        assert len(seeds) == 2, "each has a seed of its own, and not its source's"
        with pytest.raises(openai.BadRequestError, match="'size' is not a field here"):
            way({"size": "64x48"})
        with pytest.raises(openai.BadRequestError, match="nano does no video-"):
            way({"model": "nano"})


def test_while_it_is_made_there_is_a_preview(served: Served) -> None:
    done = served.client.videos.create_and_poll(prompt="seen early", **SMALL)
    data = served.client.videos.download_content(done.id, variant="preview").read()  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(data)).format == "PNG"


def test_its_preview_can_be_had_before_it_is_made(served: Served) -> None:
    videos = served.client.videos
    long, later = (
        videos.create(prompt=name, size="1280x720", seconds="60", extra_body={"num_inference_steps": 500})  # type: ignore[arg-type]
        for name in ("long", "waits for it")
    )
    try:
        while videos.retrieve(long.id).progress <= 5:  # until the first of its steps is done
            time.sleep(0.02)
        early = videos.download_content(long.id, variant="preview")  # type: ignore[arg-type]
        assert videos.retrieve(long.id).status == "in_progress", "it was asked for while it was made"
        seen = Image.open(io.BytesIO(early.read()))
        assert early.response.headers["content-type"] == "image/png" and seen.format == "PNG" and seen.width > seen.height
        for id, variant in ((long.id, "video"), (long.id, "thumbnail"), (long.id, "spritesheet"), (later.id, "preview")):
            with pytest.raises(openai.ConflictError) as refused:
                videos.download_content(id, variant=variant)  # type: ignore[arg-type]
            assert refused.value.code == "not_ready" and variant in refused.value.message
    finally:
        for id in (later.id, long.id):
            served.client.post(f"/videos/{id}/cancel", cast_to=object)
    stays = videos.download_content(long.id, variant="preview").read()  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(stays)).size == seen.size, "what was seen of it stays"


def bomb() -> bytes:
    """A PNG of 60 kB that says that it has 1.6 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(50_000_000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GIF89a" + bytes(100), "unsupported_media"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "unsupported_media"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_media"),
        (b"\x80\x04\x95 a pickle", "unsupported_media"),
        (b"", "unsupported_media"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "bad_media"),
        (picture((1, 2, 3))[:60], "bad_media"),
        (bomb(), "not_media"),
    ],
    ids=["gif", "playlist", "svg", "pickle", "empty", "no png", "half a png", "bomb"],
)  # fmt: skip
def test_types_are_sniffed_and_bad_pictures_do_nothing(served: Served, data: bytes, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        served.client.videos.create(prompt="x", input_reference=("fox.png", data, "image/png"))
    assert refused.value.code in (code, "not_media") and refused.value.param == "input_reference"
    assert str(served.folder) not in refused.value.message and "/" not in refused.value.message.replace("and/or", "")
    assert served.client.get("/health", cast_to=object)


def test_bad_videos_do_nothing(served: Served, video: Any, tmp_path: Path) -> None:
    whole = film(served, video.id, tmp_path)
    data = (tmp_path / f"{video.id}.mp4").read_bytes()
    long = Clip(np.zeros((1200, 720, 1280, 3), np.uint8), 24) if sys.platform != "win32" else whole
    write_clip(long, tmp_path / "long.mp4")
    for bad, code in (
        (data[:300], ("bad_media", "not_media")), (b"\x00\x00\x00\x18ftypmp42" + bytes(500), ("bad_media", "not_media")),
        (picture((1, 2, 3)), ("unsupported_media",)),
        ((tmp_path / "long.mp4").read_bytes(), ("too_large",)),
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as refused:
            served.client.videos.edit(prompt="x", video=bad)
        assert refused.value.code in code and refused.value.param == "video", refused.value.message
    assert not [path for path in (served.folder / "uploads").iterdir() if path.name.startswith(".vet")]


def test_a_decoder_gets_little_memory_and_time(tmp_path: Path) -> None:
    code = (
        "import unstrung.media.vet as v; v._limit(); import resource as r;"
        "print(r.getrlimit(r.RLIMIT_AS)[0] == v.MEMORY, r.getrlimit(r.RLIMIT_CPU)[0] == v.SECONDS);"
        "bytearray(4 * 2**30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True True" and "MemoryError" in done.stderr


def test_sizes_are_capped(served: Served) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        served.client.videos.create(prompt="x", input_reference=("fox.png", bytes(33 * 2**20), "image/png"))
    assert refused.value.status_code == 413


def test_other_kinds_of_bodies_are_not_read(served: Served) -> None:
    for kind in ("text/plain", "application/xml", "image/png"):
        with pytest.raises(openai.APIStatusError) as refused:
            served.client.videos.create(prompt="x", extra_headers={"Content-Type": kind})
        assert refused.value.status_code == 415 and kind in refused.value.message and refused.value.request_id


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "https://example.com/x.png",
        "file:///etc/passwd",
        "data:text/html;base64,PGI+",
        "data:image/png;base64,?",
    ],
)
def test_addresses_of_pictures_are_not_fetched(served: Served, url: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        served.client.videos.create(prompt="x", **by(input_reference={"image_url": url}))
    assert refused.value.param == "image_url"


def test_who_lets_pictures_be_fetched_lets_in_no_private_ones(tmp_path: Path) -> None:
    server = Served(tmp_path, "--fetch-images", "--workers", "0")
    try:
        for url in (
            f"http://127.0.0.1:{server.port}/x.png",
            "http://169.254.169.254/latest",
            "http://[::1]/x.png",
            "http://2130706433/",
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                server.client.videos.create(prompt="x", **by(input_reference={"image_url": url}))
            assert refused.value.code == "private_address" and refused.value.param == "image_url"
    finally:
        server.stop()


def test_paths_of_clients_are_never_used(served: Served, tmp_path: Path) -> None:
    for name in ("../../evil.png", "/etc/evil.png", "a\x00b.png"):
        done = served.client.videos.create_and_poll(prompt="x", input_reference=(name, picture((1, 2, 3)), "image/png"), **SMALL)
        assert done.status == "completed"
    assert not list(served.folder.rglob("*evil*")) and all(
        path.name.startswith(("upload_", "char_")) for path in (served.folder / "uploads").iterdir()
    )
    for odd in ("../unstrung.db", "/etc/passwd", "video_/../../x"):
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            served.client.videos.edit(prompt="x", **by(video={"id": odd}))
