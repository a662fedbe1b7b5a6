"""The Videos API with the built-in model, driven by OpenAI's own client; what nano can't do is refused with who can."""

from __future__ import annotations

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

import unstrung as package
from served import Served
from test_batches import begin, line, read, wait
from test_given import by, near, picture
from test_tokens import unstrung
from test_webhooks import QUICKLY, Receiver, add
from unstrung.media.codec import read_clip, read_recipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
MODEL, WEIGHTS = "nano", "nano.safetensors"
SMALL: Any = {
    "prompt": "a red fox in the snow at night", "seconds": "1", "size": "160x96",
    "extra_body": {"fps": 8, "seed": 7, "num_inference_steps": 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp(MODEL), "--alias", f"sora-2={MODEL}", *QUICKLY)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def video(served: Served) -> Any:
    return make(served)


def make(served: Served, **more: Any) -> Any:
    return served.client.videos.create_and_poll(**{**SMALL, **more}, poll_interval_ms=100)


def content(client: openai.OpenAI, id: str, variant: Any) -> Image.Image:
    return Image.open(io.BytesIO(client.videos.download_content(id, variant=variant).read()))


def test_the_whole_life_of_a_video(served: Served, tmp_path: Path) -> None:
    client, receiver = served.client, Receiver()
    hook = add(client, receiver.url)
    video = make(served, model="sora-2-pro")  # which nobody gave another meaning here
    assert (video.status, video.progress, video.model, video.seconds, video.size) == ("completed", 100, MODEL, "1", "160x96")
    client.videos.download_content(video.id).write_to_file(tmp_path / "fox.mp4")
    film, recipe = read_clip(tmp_path / "fox.mp4"), read_recipe(tmp_path / "fox.mp4")
    assert (film.num_frames, film.width, film.height, film.fps) == (8, 160, 96, 8)
    assert recipe.seed == 7 and recipe.model["id"] == MODEL and recipe.model["sha256"]
    assert {"fox", "snow", "night"} <= set(recipe.understood["known"])

    small, sheet, early = (content(client, video.id, variant) for variant in ("thumbnail", "spritesheet", "preview"))
    assert (small.format, sheet.format, early.format) == ("WEBP", "JPEG", "PNG")
    assert small.size == (160, 96) and min(near(np.asarray(small.convert("RGB")), frame) for frame in film.frames) < 8
    assert sheet.width > 2 * film.width and sheet.height > film.height, "several frames on one picture"

    receiver.wait(1)
    headers, body = receiver.heard[0]
    receiver.close()
    event = client.webhooks.unwrap(body, headers, secret=hook["secret"])
    assert event.type == "video.completed" and event.data.id == video.id  # type: ignore[comparison-overlap, union-attr]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(b"video_", b"video-"), headers, secret=hook["secret"])
    client.delete(f"/webhooks/{hook['id']}", cast_to=object)

    assert video.id in {listed.id for listed in client.videos.list()}
    gone = client.videos.delete(video.id)
    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
    asks = client.videos.retrieve, client.videos.download_content, client.videos.delete
    for ask in asks:
        with pytest.raises(openai.NotFoundError):
            ask(video.id)
    assert not list(served.folder.rglob(f"{video.id}*"))


def test_pages_of_the_list(served: Served) -> None:
    client = served.client
    quick: Any = {"extra_body": {"fps": 8, "num_inference_steps": 1}}
    made = [client.videos.create(**{**SMALL, "prompt": f"snow {n}", **quick}).id for n in range(5)]
    assert {client.videos.poll(id, poll_interval_ms=100).status for id in made} == {"completed"}
    assert [video.id for video in client.videos.list(limit=2) if video.id in made] == made[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc") if video.id in made] == made
    page = client.videos.list(limit=2, after=made[3])
    assert [video.id for video in page.data] == [made[2], made[1]] and page.has_next_page()
    client.videos.delete(made[2])
    assert [video.id for video in client.videos.list(limit=1) if video.id in made] == [made[4], made[3], made[1], made[0]]


def test_a_batch_with_its_file(served: Served, tmp_path: Path) -> None:
    client = served.client
    lines = [line(n, prompt=f"a penguin {n}", size="96x64", seed=n) for n in range(3)]
    lines[1]["body"]["input_reference"] = {"image_url": data_url()}
    done = wait(client, begin(client, *lines).id)
    assert done.status == "completed" and done.request_counts is not None and done.request_counts.completed == 2
    output, errors = read(client, done.output_file_id), read(client, done.error_file_id)
    for n in (0, 2):
        made = client.videos.retrieve(output[f"film-{n}"]["response"]["body"]["id"])
        assert (made.model, made.status, made.prompt) == (MODEL, "completed", f"a penguin {n}")
        client.videos.download_content(made.id).write_to_file(tmp_path / f"{n}.mp4")
        assert read_clip(tmp_path / f"{n}.mp4").num_frames == 9 and read_recipe(tmp_path / f"{n}.mp4").seed == n
    refused = errors["film-1"]["response"]
    assert refused["status_code"] == 400 and refused["body"]["error"]["code"] == "not_supported"
    assert "These do: echo" in refused["body"]["error"]["message"]


def data_url() -> str:
    return "data:image/png;base64," + base64.b64encode(picture((200, 30, 30))).decode()


def sent(client: openai.OpenAI) -> str:
    return client.files.create(file=("room.png", picture((200, 30, 30))), purpose="vision").id


Asks = Callable[[openai.OpenAI, str, bytes], Any]  # a client, a finished video, and its film
LATER: Any = {"prompt": "it goes on", "seconds": "1"}
REFUSED: dict[str, tuple[str, Asks]] = {
    "remix": ("video-to-video", lambda c, id, _: c.videos.remix(id, prompt="x")),
    "edit by object": ("video-to-video", lambda c, id, _: c.videos.edit(prompt="x", **by(video={"id": id}))),
    "edit by id": ("video-to-video", lambda c, id, _: c.videos.edit(prompt="x", **by(video=id))),
    "edit by file": ("video-to-video", lambda c, _, film: c.videos.edit(prompt="x", video=film)),
    "extend by object": ("video-extension", lambda c, id, _: c.videos.extend(**LATER, **by(video={"id": id}))),
    "extend by id": ("video-extension", lambda c, id, _: c.videos.extend(**LATER, **by(video=id))),
    "extend by file": ("video-extension", lambda c, _, film: c.videos.extend(**LATER, video=film)),
    "first frame": ("image-to-video", lambda c, *_: c.videos.create(prompt="x", input_reference=picture((1, 2, 3)))),
    "first frame by address": (
        "image-to-video", lambda c, *_: c.videos.create(prompt="x", **by(input_reference={"image_url": data_url()})),
    ),
    "first frame by file": (
        "image-to-video",
        lambda c, *_: c.videos.create(prompt="x", **by(input_reference={"file_id": sent(c)})),
    ),
    "character": (
        "character-to-video",
        lambda c, _, film: c.videos.create(
            prompt="Rusty runs", extra_body={"characters": [{"id": c.videos.create_character(name="Rusty", video=film).id}]}
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", REFUSED)
def test_what_it_can_not_is_refused_with_who_can(served: Served, video: Any, way: str) -> None:
    task, ask = REFUSED[way]
    film = served.client.videos.download_content(video.id).read()
    before = [listed.id for listed in served.client.videos.list()]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(served.client, video.id, film)
    assert (refused.value.code, refused.value.param, refused.value.type) == ("not_supported", "model", "invalid_request_error")
    assert f"{MODEL} does no {task}; it does: text-to-video." in refused.value.message
    assert refused.value.message.endswith("These do: echo.") and refused.value.request_id
    assert [listed.id for listed in served.client.videos.list()] == before, "nothing is made of it"


def test_who_can_goes_on_from_what_it_made(served: Served, video: Any) -> None:
    videos = served.client.videos
    edited = videos.edit(prompt="x", **by(video={"id": video.id}, model="echo"))
    extended = videos.extend(**LATER, **by(video={"id": video.id}, model="echo"))
    for asked, seconds in ((edited, "1"), (extended, "2")):
        done = videos.poll(asked.id, poll_interval_ms=100)
        assert (done.status, done.model, done.seconds, done.size) == ("completed", "echo", seconds, "160x96"), done.error
        assert done.remixed_from_video_id == video.id


def test_what_it_finds_out_while_it_works_fails_the_video_alone(served: Served) -> None:
    videos = served.client.videos
    failed = make(served, prompt="a very red fox " * 40)
    assert failed.status == "failed" and failed.error is not None
    assert "160 words" in failed.error.message and "shorten it" in failed.error.message
    with pytest.raises(openai.ConflictError):
        videos.download_content(failed.id)
    with pytest.raises(openai.BadRequestError, match="from 64 to 1920"):
        videos.create(**{**SMALL, "size": "32x32"})
    assert make(served).status == "completed"


def test_stopped_in_the_middle_its_preview_stays(served: Served) -> None:
    client = served.client
    long = client.videos.create(**{**SMALL, "seconds": "60", "extra_body": {"num_inference_steps": 200}})
    try:
        while True:
            try:
                early = content(client, long.id, "preview")
                break
            except openai.ConflictError:  # it has none yet
                time.sleep(0.05)
        assert early.format == "PNG" and client.videos.retrieve(long.id).status == "in_progress"
    finally:
        client.post(f"/videos/{long.id}/cancel", cast_to=object)
    ended = client.videos.poll(long.id)
    assert ended.status == "failed" and ended.error is not None and ended.error.code == "canceled"
    assert content(client, long.id, "preview").size == early.size
    assert make(served).status == "completed"


def test_weights_that_have_gone_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as it is installed, but that its weights are taken away while a video waits."""
    here, copy = Path(package.__file__).parent, tmp_path / "installed" / "unstrung"
    shutil.copytree(here, copy, ignore=shutil.ignore_patterns("__pycache__", WEIGHTS))
    weights = next(copy.rglob("*.credits.json")).with_name(WEIGHTS)
    weights.symlink_to(here / weights.relative_to(copy))
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    server = Served(tmp_path / "data")
    try:
        videos = server.client.videos
        unstrung(server.folder, "jobs", "pause")
        waits = videos.create(**{**SMALL, "model": MODEL})
        weights.unlink()
        unstrung(server.folder, "jobs", "resume")
        failed = videos.poll(waits.id, poll_interval_ms=100)
        assert failed.status == "failed" and failed.error is not None and failed.error.code == "missing_weights"
        assert "reinstall unstrung" in failed.error.message
        with pytest.raises(openai.InternalServerError) as missing:
            videos.create(**{**SMALL, "model": MODEL})
        assert (missing.value.status_code, missing.value.code, missing.value.param) == (503, "missing_weights", "model")
        assert "reinstall unstrung" in missing.value.message and str(tmp_path) not in missing.value.message
        assert make(server, model="echo").status == "completed"
        weights.symlink_to(here / weights.relative_to(copy))
        server.client.post(f"/videos/{waits.id}/retry", cast_to=object)
        assert videos.poll(waits.id, poll_interval_ms=100).status == "completed"
    finally:
        server.stop()
