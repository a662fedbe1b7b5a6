"""The Videos API, driven by the program that it is for: OpenAI's own client, against `unstrung serve`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from served import Served
from unstrung.media.codec import read_clip, read_recipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    server.stop()


def test_the_whole_life_of_a_video(served: Served, tmp_path: Path) -> None:
    client = served.client
    video = client.videos.create_and_poll(
        prompt="a red fox", seconds="4", size="160x96",  # type: ignore[arg-type]
        extra_body={"seed": 7, "num_inference_steps": 3, "fps": 12},
    )  # fmt: skip
    assert (video.status, video.progress, video.model, video.seconds, video.size) == ("completed", 100, "echo", "4", "160x96")
    assert video.error is None and video.completed_at and video.prompt == "a red fox"
    client.videos.download_content(video.id).write_to_file(tmp_path / "fox.mp4")
    assert read_clip(tmp_path / "fox.mp4").num_frames == 48
    assert read_recipe(tmp_path / "fox.mp4").seed == 7
    for variant, kind, shape in (("thumbnail", "WEBP", 160 / 96), ("spritesheet", "JPEG", None)):
        data = client.videos.download_content(video.id, variant=variant).read()  # type: ignore[arg-type]
        picture = Image.open(io.BytesIO(data))
        assert picture.format == kind and (shape is None or abs(picture.width / picture.height - shape) < 0.05)
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        client.videos.retrieve(video.id)
    assert gone.value.code == "not_found" and gone.value.request_id
    assert not list((served.folder / "clips").glob(f"{video.id}*"))


def test_json_is_taken_too(served: Served) -> None:
    video = served.client.videos.create(
        prompt="x",
        extra_headers={"Content-Type": "application/json"},
        extra_body={"width": 64, "height": 48, "num_frames": 9, "seed": 3},
    )
    assert video.size == "64x48" and served.client.videos.poll(video.id).status == "completed"
    assert video.model_extra is not None and video.model_extra["unstrung"]["request"]["seed"] == 3


def test_pages_of_the_list(served: Served) -> None:
    made = [served.client.videos.create(prompt=f"page {n}", extra_body={"size": "64x48", "draft": True}).id for n in range(5)]
    listed = [v.id for v in served.client.videos.list(limit=2) if v.prompt and v.prompt.startswith("page")]
    assert listed == made[::-1]
    oldest_first = [v.id for v in served.client.videos.list(limit=3, order="asc")]
    assert [id for id in oldest_first if id in made] == made
    for id in made:
        assert served.client.videos.poll(id).status == "completed"


def test_part_of_a_file(served: Served) -> None:
    video = served.client.videos.create_and_poll(prompt="x", extra_body={"size": "64x48"})
    whole = served.client.videos.download_content(video.id).read()
    part = served.client.videos.download_content(video.id, extra_headers={"Range": "bytes=10-19"})
    assert part.response.status_code == 206 and part.read() == whole[10:20]
    end = served.client.videos.download_content(video.id, extra_headers={"Range": "bytes=-7"})
    assert end.response.headers["content-range"] == f"bytes {len(whole) - 7}-{len(whole) - 1}/{len(whole)}"
    file = served.client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch").id
    for path in (f"/videos/{video.id}/content", f"/files/{file}/content"):
        for range, status in (("bytes=9000000-", 416), ("bytes=x-y", 400)):
            with pytest.raises(openai.APIStatusError) as refused:
                served.client.get(path, cast_to=bytes, options={"headers": {"Range": range}})
            assert (refused.value.status_code, refused.value.code) == (status, "invalid_range") and refused.value.request_id
        assert refused.value.response.headers["content-type"] == "application/json"


def test_each_error_is_the_clients_own(served: Served) -> None:
    client = served.client

    def refused(kind: type[openai.APIStatusError], param: str | None, **asked: Any) -> str:
        with pytest.raises(kind) as error:
            client.videos.create(**{"prompt": "x", **asked})
        assert error.value.param == param and error.value.code and error.value.request_id
        return error.value.message

    assert "empty" in refused(openai.BadRequestError, "prompt", prompt="  ")
    assert "1280x720" in refused(openai.BadRequestError, "size", size="large")
    assert "60" in refused(openai.BadRequestError, "seconds", seconds="600")
    assert "number" in refused(openai.BadRequestError, "seconds", seconds="four")
    assert "whole" in refused(openai.BadRequestError, "seed", extra_body={"seed": "x"})
    assert "did you mean 'seed'" in refused(openai.BadRequestError, "sed", extra_body={"sed": 1})
    assert "height is missing" in refused(openai.BadRequestError, "height", extra_body={"width": 64})
    assert "echo" in refused(openai.NotFoundError, "model", model="ekko")
    with pytest.raises(openai.NotFoundError):
        client.videos.download_content("video_nothing")
    with pytest.raises(openai.BadRequestError):
        client.videos.list(limit=0)
    with pytest.raises(openai.BadRequestError):
        client.post("/videos", cast_to=object, body=None, options={"headers": {"Content-Type": "application/json"}})
    long = client.videos.create(prompt="x", size="1280x720", seconds="60", extra_body={"num_inference_steps": 500})
    with pytest.raises(openai.ConflictError):
        client.videos.download_content(long.id)
    answer = client.post(f"/videos/{long.id}/cancel", cast_to=object)
    assert answer["status"] == "failed" and answer["unstrung"]["status"] == "canceled"  # type: ignore[index]
    ended = client.videos.poll(long.id)
    assert ended.status == "failed" and ended.error is not None and ended.error.code == "canceled"
    with pytest.raises(openai.ConflictError):
        client.post(f"/videos/{long.id}/cancel", cast_to=object)
    assert client.videos.delete(long.id).deleted


def test_pages_of_other_hosts_are_kept_out(served: Served) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        served.client.videos.create(prompt="x", extra_headers={"Origin": "https://example.org"})
    with pytest.raises(openai.APIStatusError) as other:
        served.client.videos.list(extra_headers={"Host": "example.org"})
    assert other.value.status_code == 421
    for name, value, status in (("Host", "[", 421), ("Origin", "http://[", 403)):  # no addresses at all
        with pytest.raises(openai.APIStatusError) as none:
            served.client.videos.list(extra_headers={name: value})
        assert none.value.status_code == status and none.value.response.headers["x-request-id"].startswith("req_")
    headers = served.client.videos.with_raw_response.list().headers
    assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers


def test_a_preview_is_of_one_piece_while_the_next_takes_its_place(served: Served) -> None:
    """A worker writes a new one several times a second, of another size."""
    id = served.client.videos.create(prompt="einöde", size="64x48", seconds="4").id  # type: ignore[arg-type]
    served.client.post(f"/videos/{id}/cancel", cast_to=dict)
    preview, pictures = served.folder / "previews" / f"{id}.png", (b"a" * 9_000, b"b" * 15_000)
    preview.parent.mkdir(exist_ok=True)
    stop = threading.Event()

    def write() -> None:
        for n in count():
            part = preview.with_name(".next.part")
            part.write_bytes(pictures[n % 2])
            part.replace(preview)
            if stop.is_set():
                return

    writing = threading.Thread(target=write)
    writing.start()
    try:
        while not preview.exists():
            time.sleep(0.01)
        for _ in range(300):
            answer = served.client.videos.download_content(id, variant="preview", timeout=10)  # type: ignore[arg-type]
            assert answer.read() in pictures
    finally:
        stop.set()
        writing.join()
    assert answer.response.headers["content-disposition"] == "inline; filename*=utf-8''ein%C3%B6de.png"


def test_events_go_on_from_where_they_were_cut_off(served: Served) -> None:
    video = served.client.videos.create_and_poll(prompt="x", extra_body={"size": "64x48"})

    def hear(after: int) -> list[tuple[int, str, dict[str, Any]]]:
        address = f"http://127.0.0.1:{served.port}/v1/videos/{video.id}/events"
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Last-Event-ID": str(after)}), timeout=30) as answer:
            text = answer.read().decode()
        events = []
        for block in text.strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
        return events

    whole = hear(0)
    assert [number for number, _, _ in whole] == list(range(1, len(whole) + 1))
    assert whole[0][2]["status"] == "queued" and whole[-1][2]["status"] == "completed"
    assert {kind for _, kind, _ in whole} == {"state", "progress", "preview", "note"}
    assert hear(3) == whole[3:]


def test_a_worker_ends_with_its_server_even_if_that_died_before_it_was_up(tmp_path: Path) -> None:
    environment = {**os.environ, "UNSTRUNG_DATA": str(tmp_path)}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    worker = subprocess.Popen([sys.executable, "-m", "unstrung", "worker", "--attached", str(gone.pid)], env=environment)
    assert worker.wait(60) == 0


def test_killed_and_started_again_nothing_is_lost(tmp_path: Path) -> None:
    server = Served(tmp_path)
    ids = [server.client.videos.create(prompt=f"n {n}", seconds="4", size="640x360").id for n in range(4)]  # type: ignore[arg-type]
    while server.client.videos.retrieve(ids[0]).status == "queued":
        time.sleep(0.02)
    server.process.kill()  # and its worker, which is left alone, ends by itself
    server.process.wait()
    again = Served(tmp_path)
    try:
        assert [again.client.videos.poll(id, poll_interval_ms=200).status for id in ids] == ["completed"] * 4
        assert len(list((tmp_path / "clips").glob("*.mp4"))) == 4
    finally:
        again.stop()
