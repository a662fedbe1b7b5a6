"""Files and batches, driven by OpenAI's own client against `unstrung serve`; and by hand, where hours have to pass."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from PIL import Image

from served import Served
from unstrung.api.callers import HOST, Caller, Door
from unstrung.api.desk import Desk
from unstrung.api.drive import PACE, drive
from unstrung.api.files import open_file
from unstrung.api.rules import Rules
from unstrung.api.schema import read_create
from unstrung.api.server import create_app
from unstrung.job import Job, Status
from unstrung.jobs import batches, files
from unstrung.jobs.batches import LEASE, MOST_WAITING, WINDOW, Batch, BatchStatus, NotYours
from unstrung.jobs.files import Caps, NoSuchFile
from unstrung.jobs.limits import Allowance, OverLimit
from unstrung.jobs.lines import Line, check
from unstrung.jobs.store import NotFound, Store
from unstrung.jobs.tokens import Tokens
from unstrung.jobs.worker import Worker
from unstrung.media.codec import read_clip
from unstrung.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL = {"size": "64x48", "num_frames": 9, "num_inference_steps": 2}
OVER = ("completed", "failed", "expired", "cancelled")


def line(n: int, **body: Any) -> dict[str, Any]:
    return {"custom_id": f"film-{n}", "method": "POST", "url": "/v1/videos", "body": {"prompt": f"fox {n}", **SMALL, **body}}


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def upload(client: openai.OpenAI, *lines: dict[str, Any]) -> str:
    return client.files.create(file=("films.jsonl", jsonl(*lines)), purpose="batch").id


def begin(client: openai.OpenAI, *lines: dict[str, Any], **more: Any) -> openai.types.Batch:
    id = upload(client, *lines)
    return client.batches.create(input_file_id=id, endpoint="/v1/videos", completion_window="24h", **more)


def wait(client: openai.OpenAI, id: str, *status: str, seconds: float = 120) -> openai.types.Batch:
    end = time.monotonic() + seconds
    while (batch := client.batches.retrieve(id)).status not in (status or OVER):
        assert time.monotonic() < end, batch
        time.sleep(0.1)
    return batch


def read(client: openai.OpenAI, id: str | None) -> dict[str, dict[str, Any]]:
    """The lines of an output or error file, by custom id."""
    if id is None:
        return {}
    lines = [json.loads(text) for text in client.files.content(id).text.splitlines()]
    assert len({one["id"] for one in lines}) == len({one["custom_id"] for one in lines}) == len(lines)
    return {one["custom_id"]: one for one in lines}


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    server.stop()


def unstrung(folder: Path, *words: str) -> str:
    environment = {**os.environ, "UNSTRUNG_DATA": str(folder)}
    command = [sys.executable, "-m", "unstrung", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


# files


def test_a_file_is_kept_and_given_back(served: Served) -> None:
    client, data = served.client, jsonl(line(1))
    before = int(time.time())
    file = client.files.create(
        file=("../../etc/passwd", data), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.object, file.bytes, file.filename, file.purpose, file.status) == (
        "file", len(data), "../../etc/passwd", "batch", "processed",
    )  # fmt: skip
    assert before <= file.created_at and file.expires_at == pytest.approx(file.created_at + 3600, abs=1)
    assert client.files.retrieve(file.id) == file and client.files.content(file.id).read() == data
    assert (served.folder / "files" / file.id).read_bytes() == data and not (served.folder.parent / "etc").exists()
    assert client.files.wait_for_processing(file.id).id == file.id
    part = client.files.content(file.id, extra_headers={"Range": "bytes=1-3"})
    assert part.response.status_code == 206 and part.read() == data[1:4]
    gone = client.files.delete(file.id)
    assert (gone.id, gone.deleted, gone.object) == (file.id, True, "file")
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            ask(file.id)
        assert missing.value.code == "not_found" and file.id in missing.value.message
    assert not (served.folder / "files" / file.id).exists()
    assert client.files.create(file=("x", data), purpose="batch").expires_at == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_pictures_are_what_they_say(served: Served, tmp_path: Path) -> None:
    client = served.client
    for kind, purpose in (("PNG", "vision"), ("JPEG", "user_data"), ("WEBP", "vision")):
        made = client.files.create(file=("fox", picture(kind)), purpose=purpose)  # type: ignore[arg-type]
        answer = client.files.content(made.id)
        assert answer.response.headers["content-type"] == f"image/{kind.lower()}" and answer.read() == picture(kind)
        assert made.expires_at is None and made.purpose == purpose
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("fox.png", b"GIF89a and not a PNG"), purpose="vision")
    assert refused.value.param == "file" and "WebP" in refused.value.message


def test_what_is_no_file_is_refused(served: Served) -> None:
    client = served.client

    def refused(param: str, **fields: Any) -> str:
        with pytest.raises(openai.BadRequestError) as error:
            client.files.create(**{"file": ("x", b"{}"), "purpose": "batch", **fields})
        assert error.value.param == param
        return error.value.message

    assert "user_data" in refused("purpose", purpose="fine-tune")
    for seconds in (3599, 30 * 86400 + 1, "soon"):
        assert "3600" in refused("expires_after.seconds", expires_after={"anchor": "created_at", "seconds": seconds})
    assert "anchor" in refused("expires_after", expires_after={"anchor": "last_used", "seconds": 3600})
    assert "printable" in refused("file", file=("x" * 256, b"{}"))
    assert "known are" in refused("colour", extra_body={"colour": "red"})
    with pytest.raises(openai.BadRequestError):
        client.post(
            "/files", cast_to=object, body={"purpose": "batch"}, options={"headers": {"Content-Type": "multipart/form-data"}}
        )
    with pytest.raises(openai.APIStatusError) as other:
        client.post("/files", cast_to=object, body={"purpose": "batch"})
    assert other.value.status_code == 415
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-nothing")


def test_pages_of_files(served: Served) -> None:
    client = served.client
    made = [client.files.create(file=(f"page {n}", picture("PNG")), purpose="user_data").id for n in range(5)]
    listed = [f.id for f in client.files.list(limit=2, purpose="user_data") if f.filename.startswith("page")]
    assert listed == made[::-1]
    assert [f.id for f in client.files.list(limit=2, order="asc", purpose="user_data") if f.id in made] == made
    assert not [f for f in client.files.list(purpose="batch") if f.id in made] and not client.files.list(purpose="evals").data
    page = client.files.list(limit=2, after=made[3])
    assert [f.id for f in page.data] == [made[2], made[1]] and page.has_more
    with pytest.raises(openai.NotFoundError):
        client.files.list(after="file-nothing")


@pytest.fixture
def capped(tmp_path: Path) -> Iterator[Served]:
    """The application with small caps, at a socket, with a client."""
    store = Store(f"sqlite:///{tmp_path}/unstrung.db")
    app = create_app(store, tmp_path, Rules({"sora-2": "echo"}, caps=Caps(batch_bytes=100_000, lines=3, picture_bytes=2_000)))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    made = Served.__new__(Served)
    made.folder, made.port = tmp_path, listening.getsockname()[1]
    made.client = openai.OpenAI(base_url=f"http://127.0.0.1:{made.port}/v1", api_key="none", max_retries=0)
    yield made
    server.should_exit = True
    thread.join()


def test_a_file_may_be_so_large_and_no_larger(capped: Served) -> None:
    client = capped.client
    assert client.files.create(file=("x", b"x" * 100_000), purpose="batch").bytes == 100_000
    for size in (100_001, 900_000, 3_000_000):
        with pytest.raises(openai.APIStatusError) as large:
            client.files.create(file=("x", b"x" * size), purpose="batch")
        assert large.value.status_code == 413
    with pytest.raises(openai.APIStatusError) as wide:
        client.files.create(file=("x", picture("PNG") + b"x" * 2_000), purpose="vision")
    assert wide.value.status_code == 413 and "2000" in wide.value.message
    assert len(list((capped.folder / "files").iterdir())) == 1


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: 5000000", "Content-Length: 900"])
def test_what_a_header_says_need_not_be_true(capped: Served, header: str) -> None:
    """No length at all, one that is too much, and one that is less than what comes."""
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", capped.port), timeout=30) as wire:
        head = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n{header}\r\n\r\n"
        wire.sendall(head.encode())
        sent = 0
        try:
            for n in range(100):  # up to 3 MB, while nobody says stop
                part = (start if n == 0 else b"") + b"x" * 30_000
                wire.sendall(b"%x\r\n%s\r\n" % (len(part), part) if "chunked" in header else part)
                sent += len(part)
        except OSError:
            pass
        answer = b""
        try:
            while b"\r\n\r\n" not in answer and (got := wire.recv(4096)):
                answer += got
        except OSError:
            pass
    expected = b"400" if "900" in header else b"413"
    assert answer.split(b" ")[1:2] == [expected] or (not answer and sent < 3_000_000), answer
    assert not (capped.folder / "files").exists() and capped.client.files.list().data == []


# batches


def test_the_whole_life_of_a_batch(served: Served, tmp_path: Path) -> None:
    client = served.client
    lines = [line(n) for n in range(10)]
    lines[3]["body"]["prompt"] = "  "
    lines[5]["body"]["model"] = "ekko"
    lines[6]["body"]["sed"] = 1
    lines[7]["body"]["size"] = ["odd"]
    batch = begin(
        client, *lines, metadata={"who": "ann"}, output_expires_after={"anchor": "created_at", "seconds": 7200}
    )  # fmt: skip
    assert (batch.object, batch.endpoint, batch.completion_window) == ("batch", "/v1/videos", "24h")
    assert batch.status == "validating" and batch.metadata == {"who": "ann"} and batch.expires_at == batch.created_at + 86400
    done = wait(client, batch.id)
    assert done.status == "completed" and done.errors is None and done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (10, 6, 4)
    times = [done.created_at, done.in_progress_at, done.finalizing_at, done.completed_at]
    assert all(times) and times == sorted(times)  # type: ignore[type-var]
    output, errors = read(client, done.output_file_id), read(client, done.error_file_id)
    assert [int(id[5:]) for id in output] == [0, 1, 2, 4, 8, 9] and [int(id[5:]) for id in errors] == [3, 5, 6, 7]
    for id, one in output.items():
        video = openai.types.Video.construct(**one["response"]["body"])
        assert one["error"] is None and one["response"]["status_code"] == 200 and one["response"]["request_id"]
        assert video.status == "completed" and video.prompt == f"fox {id[5:]}" and video == client.videos.retrieve(video.id)
        client.videos.download_content(video.id).write_to_file(tmp_path / "film.mp4")
        assert read_clip(tmp_path / "film.mp4").num_frames == 9
    said = {
        int(id[5:]): (one["response"]["status_code"], one["response"]["body"]["error"]["param"]) for id, one in errors.items()
    }
    assert said == {3: (400, "prompt"), 5: (404, "model"), 6: (400, "sed"), 7: (400, "size")}
    assert all(one["error"] is None for one in errors.values())
    for id in (done.output_file_id, done.error_file_id):
        kept = client.files.retrieve(id or "")
        assert kept.purpose == "batch_output" and kept.expires_at == pytest.approx(kept.created_at + 7200, abs=1)
        assert kept.filename.startswith(batch.id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_an_input_that_is_none_fails_with_its_lines(served: Served) -> None:
    client = served.client

    def errors(*lines: Any) -> list[tuple[str | None, int | None]]:
        data = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)
        file = client.files.create(file=("x", data), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")
        failed = wait(client, batch.id)
        assert failed.status == "failed" and failed.failed_at and failed.errors is not None
        assert failed.output_file_id is None and failed.error_file_id is None and failed.errors.object == "list"
        assert all(error.message for error in failed.errors.data or [])
        return [(error.code, error.line) for error in failed.errors.data or []]

    before = len(list(client.videos.list()))
    assert errors(b"") == [("empty_file", None)]
    assert errors(line(1), line(2), b"", line(1), line(2)) == [("duplicate_custom_id", 4), ("duplicate_custom_id", 5)]
    assert errors(
        b"{", b"[]", b"\xff\xfe", b"[" * 100_000, {**line(1), "method": "GET"}, {**line(2), "url": "/v1/responses"},
        {**line(3), "custom_id": 7}, {**line(4), "custom_id": "a\ud800"}, {**line(5), "body": "x"}, line(6),
        {**line(7), "custom_id": "x" * 513},
    ) == [
        ("invalid_json_line", 1), ("invalid_json_line", 2), ("invalid_json_line", 3), ("invalid_json_line", 4),
        ("invalid_method", 5), ("invalid_url", 6), ("invalid_custom_id", 7), ("invalid_custom_id", 8), ("invalid_body", 9),
        ("invalid_custom_id", 11),
    ]  # fmt: skip
    assert len(errors(*[b"{"] * 150)) == 100
    assert len(list(client.videos.list())) == before, "nothing of a file that is none is made"


def test_what_a_batch_cannot_be_made_of(served: Served) -> None:
    client = served.client
    id = upload(client, line(1))
    shown = client.files.create(file=("x", picture("PNG")), purpose="vision").id

    def refused(kind: type[openai.APIStatusError], param: str, **fields: Any) -> str:
        with pytest.raises(kind) as error:
            client.batches.create(**{"input_file_id": id, "endpoint": "/v1/videos", "completion_window": "24h", **fields})
        assert error.value.param == param  # type: ignore[attr-defined]
        return error.value.message

    assert "/v1/videos" in refused(openai.BadRequestError, "endpoint", endpoint="/v1/responses")
    assert "24h" in refused(openai.BadRequestError, "completion_window", completion_window="48h")
    assert "vision" in refused(openai.BadRequestError, "input_file_id", input_file_id=shown)
    refused(openai.NotFoundError, "file_id", input_file_id="file-nothing")
    refused(openai.BadRequestError, "metadata", metadata={str(n): "x" for n in range(17)})
    refused(openai.BadRequestError, "metadata", metadata={"a": "x" * 513})
    refused(openai.BadRequestError, "output_expires_after.seconds", output_expires_after={"anchor": "created_at", "seconds": 1})
    refused(openai.BadRequestError, "colour", extra_body={"colour": "red"})
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_nothing")
    with pytest.raises(openai.NotFoundError):
        client.batches.cancel("batch_nothing")


def test_canceled_in_the_middle_what_is_done_stays(served: Served) -> None:
    client = served.client
    long = {"size": "640x360", "num_frames": 121, "num_inference_steps": 40}
    batch = begin(client, line(0), line(1), *[line(n, **long) for n in range(2, 40)])
    while (client.batches.retrieve(batch.id).request_counts or batch.request_counts).completed < 2:  # type: ignore[union-attr]
        time.sleep(0.1)
    waiting = [v for v in client.videos.list() if v.status == "queued"]
    assert len(waiting) <= MOST_WAITING, "a batch does not flood the queue"
    stopped = client.batches.cancel(batch.id)
    assert stopped.status in ("cancelling", "cancelled") and stopped.cancelling_at
    done = wait(client, batch.id)
    assert done.status == "cancelled" and done.cancelled_at and done.request_counts is not None
    output, errors = read(client, done.output_file_id), read(client, done.error_file_id)
    assert {"film-0", "film-1"} <= set(output) and len(output) + len(errors) == done.request_counts.total == 40
    assert done.request_counts.completed == len(output) and done.request_counts.failed == len(errors)
    assert {one["error"]["code"] for one in errors.values()} == {"batch_cancelled"}
    assert client.batches.cancel(batch.id).status == "cancelled"
    assert not [v for v in client.videos.list() if v.status in ("queued", "in_progress")]


def test_pages_of_batches(served: Served) -> None:
    client = served.client
    made = [begin(client, line(n)).id for n in range(5)]
    assert [b.id for b in client.batches.list(limit=2) if b.id in made] == made[::-1]
    page = client.batches.list(limit=2, after=made[3])
    assert [b.id for b in page.data] == [made[2], made[1]] and page.has_more
    assert {wait(client, id).status for id in made} == {"completed"}


def test_the_document_says_what_is_answered(served: Served) -> None:
    document: Any = served.client.get(f"http://127.0.0.1:{served.port}/openapi.json", cast_to=object)
    for path in ("/v1/files", "/v1/batches"):
        assert document["paths"][path]["post"]["requestBody"] and "413" in document["paths"][path]["post"]["responses"]
    assert "application/jsonl" in document["paths"]["/v1/files/{file_id}/content"]["get"]["responses"]["200"]["content"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    unstrung(folder, "tokens", "create", "first")
    server = Served(folder)
    yield server
    server.stop()


def known(served: Served, *words: str) -> openai.OpenAI:
    return served.client.with_options(api_key=unstrung(served.folder, "tokens", "create", *words))


def test_what_is_somebody_elses_has_never_been(guarded: Served) -> None:
    ann, bob, boss = (
        known(guarded, "ann"),
        known(guarded, "bob"),
        known(guarded, "boss", "--scope", "write", "--scope", "admin", "--scope", "read"),
    )
    batch = begin(ann, line(1))
    done = wait(ann, batch.id)
    output = done.output_file_id or ""
    mine = upload(bob, line(1))
    asks = [
        lambda id: bob.files.retrieve(id), lambda id: bob.files.content(id), lambda id: bob.files.delete(id),
        lambda id: bob.files.list(after=id),
        lambda id: bob.batches.create(input_file_id=id, endpoint="/v1/videos", completion_window="24h"),
    ]  # fmt: skip
    for id, never in ((batch.input_file_id, "file-0"), (output, "file-0")):
        for ask in asks:
            with pytest.raises(openai.NotFoundError) as nothing:
                ask(id)
            with pytest.raises(openai.NotFoundError) as never_was:
                ask(never)
            assert nothing.value.message.replace(id, never) == never_was.value.message, "as if it had never been"
    for ask in (bob.batches.retrieve, bob.batches.cancel, lambda id: bob.batches.list(after=id)):
        with pytest.raises(openai.NotFoundError) as nothing:
            ask(batch.id)
        with pytest.raises(openai.NotFoundError) as never_was:
            bob.batches.retrieve("batch_0")
        assert nothing.value.message.replace(batch.id, "batch_0") == never_was.value.message
    assert not bob.batches.list().data and [f.id for f in bob.files.list()] == [mine]
    video = read(ann, output)["film-1"]["response"]["body"]["id"]
    with pytest.raises(openai.NotFoundError):
        bob.videos.retrieve(video)
    assert ann.videos.retrieve(video).status == "completed"
    assert boss.batches.retrieve(batch.id).id == batch.id and boss.files.content(output).read()
    reader = known(guarded, "ann-reads", "--owner", "ann", "--scope", "read")
    assert reader.batches.retrieve(batch.id).id == batch.id
    for forbidden in (
        lambda: upload(reader, line(1)),
        lambda: reader.batches.cancel(batch.id),
        lambda: reader.files.delete(output),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            forbidden()


def test_a_batch_keeps_to_what_its_token_may(guarded: Served) -> None:
    dan = known(guarded, "dan", "--jobs", "2", "--largest", "64x64")
    batch = begin(dan, *[line(n) for n in range(6)], line(6, size="640x360"))
    most = 0
    while (now := dan.batches.retrieve(batch.id)).status not in OVER:
        most = max(most, sum(v.status in ("queued", "in_progress") for v in dan.videos.list()))
        time.sleep(0.02)
    assert now.status == "completed" and most <= 2
    errors = read(dan, now.error_file_id)
    assert len(read(dan, now.output_file_id)) == 6 and list(errors) == ["film-6"]
    assert errors["film-6"]["response"]["status_code"] == 429 and "4096" in str(errors["film-6"])


def test_pictures_of_lines_that_have_to_wait_are_not_kept(guarded: Served) -> None:
    eve = known(guarded, "eve", "--jobs", "1")
    url = "data:image/png;base64," + base64.b64encode(picture("PNG")).decode()
    lines = [line(n, input_reference={"image_url": url}) for n in range(4)]
    lines.append(line(4, input_reference={"image_url": url}, seconds="600", num_frames=None))
    unstrung(guarded.folder, "jobs", "pause")
    try:
        batch = begin(eve, *lines)
        while not eve.videos.list().data:
            time.sleep(0.05)
        for _ in range(4):  # steps, in each of which the next line is tried
            time.sleep(PACE)
            assert len(list((guarded.folder / "uploads").iterdir())) == 1
    finally:
        unstrung(guarded.folder, "jobs", "resume")
    done = wait(eve, batch.id)
    assert done.request_counts is not None and done.request_counts.completed == 4
    assert "60" in str(read(eve, done.error_file_id)["film-4"]) and len(list((guarded.folder / "uploads").iterdir())) == 4


def test_a_revoked_token_ends_its_batches(guarded: Served) -> None:
    gone, stays = known(guarded, "gus-1", "--owner", "gus"), known(guarded, "gus-2", "--owner", "gus")
    unstrung(guarded.folder, "jobs", "pause")
    try:
        batch = begin(gone, *[line(n) for n in range(12)])
        wait(stays, batch.id, "in_progress")
        unstrung(guarded.folder, "tokens", "revoke", "gus-1")
        failed = wait(stays, batch.id)
    finally:
        unstrung(guarded.folder, "jobs", "resume")
    assert failed.status == "failed" and failed.errors is not None and failed.errors.data is not None
    assert failed.errors.data[0].code == "token_revoked" and "gus-1" in (failed.errors.data[0].message or "")
    assert len(read(stays, failed.error_file_id)) == 12 and failed.output_file_id is None


def test_killed_again_and_again_every_line_has_one_video(tmp_path: Path) -> None:
    rng, count = random.Random(0), 30
    server = Served(tmp_path)
    batch = begin(server.client, *[line(n, size="160x96", num_frames=25) for n in range(count)])
    kills, done = int(os.environ.get("UNSTRUNG_KILLS", "6")), 0
    while done < kills and server.client.batches.retrieve(batch.id).status not in OVER:
        time.sleep(0.3 + rng.random() * 1.5)
        server.process.kill()  # and its worker ends by itself
        server.process.wait()
        done += 1
        server = Served(tmp_path)
    try:
        ended = wait(server.client, batch.id, seconds=300)
        assert ended.status == "completed" and done >= 3
        output, errors = read(server.client, ended.output_file_id), read(server.client, ended.error_file_id)
        assert len(output) == count and not errors
        videos = {v.id: v for v in server.client.videos.list()}
        assert len(videos) == count and {v.status for v in videos.values()} == {"completed"}, "none twice, none lost"
        assert {one["response"]["body"]["id"] for one in output.values()} == set(videos)
        assert {id: one["response"]["body"]["prompt"] for id, one in output.items()} == {
            f"film-{n}": f"fox {n}" for n in range(count)
        }
        assert len(list((tmp_path / "clips").glob("*.mp4"))) == count
        assert len(list((tmp_path / "files").iterdir())) <= 2 + done, "at most what a death left, which is swept later"
        assert len(list(server.client.files.list())) == 2
    finally:
        server.stop()


# by hand: the plain functions, on both stores, at any hour


@pytest.fixture
def desk(store_url: str, tmp_path: Path) -> Desk:
    store = Store(store_url)
    return Desk(store, tmp_path, Door(Tokens(store), guarded=False), Rules({"sora-2": "echo"}))


def add(desk: Desk, *lines: dict[str, Any], caller: Caller = HOST, now: float | None = None, **more: Any) -> Batch:
    file = files.keep(
        desk.store, desk.folder, io.BytesIO(jsonl(*lines)), owner=caller.owner, purpose="batch", filename="x", kind="x", now=now
    )
    token = None if caller.owner is None else caller.name
    return batches.create(
        desk.store, asdict(caller), owner=caller.owner, token=token, input_file_id=file.id, now=now, **more
    )  # fmt: skip


def states(desk: Desk) -> list[Status]:
    return [job.status for job in desk.store.page(limit=1000, newest_first=False)]


def answers(desk: Desk, id: str | None) -> list[dict[str, Any]]:
    return [json.loads(text) for text in files.path_of(desk.folder, id or "").read_bytes().splitlines()]


def test_files_are_there_until_their_time_is_over(desk: Desk) -> None:
    store, folder = desk.store, desk.folder

    def keep(seconds: int | None, owner: str | None = "ann") -> str:
        data = io.BytesIO(b"abc")
        return files.keep(store, folder, data, owner=owner, purpose="vision", filename="x", kind="image/png", seconds=seconds, now=1000.0).id  # fmt: skip

    short, ever = keep(3600), keep(None)
    assert files.get(store, short, "ann", now=4599.9).bytes == 3 and len(files.page(store, owner="ann", now=4599.9)) == 2
    with pytest.raises(NoSuchFile):
        files.get(store, short, now=4600.0)
    assert [file.id for file in files.page(store, now=4600.0)] == [ever]
    assert files.sweep(store, folder, now=4599.0) == 0 and files.path_of(folder, short).exists()
    assert files.sweep(store, folder, now=4600.0) == 1 and not files.path_of(folder, short).exists()
    ann, bob = Caller("a", "ann", "ann", ("read",), Allowance()), Caller("b", "bob", "bob", ("read",), Allowance())
    assert open_file(desk, ever, ann).read_bytes() == open_file(desk, ever, HOST).read_bytes() == b"abc"
    for id in (ever, "file-0", "../../etc/passwd", "file-" + "\0" * 32):
        with pytest.raises(NotFound):
            open_file(desk, id, bob)
    stray = folder / "files" / ".file-0.part"
    stray.write_bytes(b"half")
    assert files.sweep(store, folder) == 0, "it may be being written"
    os.utime(stray, (0, 0))
    os.utime(files.path_of(folder, ever), (0, 0))
    assert files.sweep(store, folder) == 1 and files.path_of(folder, ever).exists()
    files.path_of(folder, ever).unlink()
    with pytest.raises(NoSuchFile):
        open_file(desk, ever, ann)


def test_files_count_against_what_may_be_stored(desk: Desk) -> None:
    allowance = Allowance(storage_bytes=5)

    def keep(owner: str) -> None:
        data = io.BytesIO(b"abc")
        files.keep(desk.store, desk.folder, data, owner=owner, purpose="vision", filename="x", kind="x", allowance=allowance)

    keep("ann")
    with pytest.raises(OverLimit) as over:
        keep("ann")
    assert over.value.field == "storage" and "3 bytes" in over.value.message
    keep("bob")
    assert len(list((desk.folder / "files").iterdir())) == 2, "what was refused leaves nothing"
    with pytest.raises(OverLimit):
        desk.store.add(Job("a", Request("x", model="echo"), created_at=1.0, owner="ann"), Allowance(storage_bytes=3))


def test_a_batch_goes_its_way_and_feeds_a_few_at_a_time(desk: Desk) -> None:
    batch = add(desk, *[line(n) for n in range(20)])
    drive(desk, "d")
    assert batches.get(desk.store, batch.id).status is BatchStatus.IN_PROGRESS and not states(desk)
    for _ in range(3):
        drive(desk, "d")
        assert states(desk) == [Status.QUEUED] * MOST_WAITING
    worker = Worker(desk.store, desk.folder)
    for _ in range(3):
        worker.run(lambda: False, once=True)
        drive(desk, "d")
    now = batches.get(desk.store, batch.id)
    assert (now.status, now.total, now.completed, now.failed) == (BatchStatus.FINALIZING, 20, 20, 0)
    drive(desk, "d")
    done = batches.get(desk.store, batch.id)
    assert (done.status, done.completed, done.error_file_id) == (BatchStatus.COMPLETED, 20, None)
    assert [one["custom_id"] for one in answers(desk, done.output_file_id)] == [f"film-{n}" for n in range(20)]
    assert not batches.lease(desk.store, "e", now=time.time() + WINDOW), "what is over is nobody's to drive"


def test_after_a_day_a_batch_expires(desk: Desk) -> None:
    batch = add(desk, *[line(n) for n in range(20)], now=1000.0)
    for at in (1001.0, 1002.0):
        drive(desk, "d", now=at)
    Worker(desk.store, desk.folder).run(lambda: False, once=True)
    drive(desk, "d", now=1000.0 + WINDOW - 1)
    assert states(desk).count(Status.COMPLETED) == states(desk).count(Status.QUEUED) == MOST_WAITING
    for _ in range(2):
        drive(desk, "d", now=1000.0 + WINDOW)
    done = batches.get(desk.store, batch.id)
    assert (done.status, done.total, done.completed, done.failed) == (BatchStatus.EXPIRED, 20, 8, 12)
    assert done.times["expired_at"] == 1000.0 + WINDOW
    assert len(answers(desk, done.output_file_id)) == 8
    assert [one["error"]["code"] for one in answers(desk, done.error_file_id)] == ["batch_expired"] * 12
    assert states(desk).count(Status.CANCELED) == MOST_WAITING and len(states(desk)) == 2 * MOST_WAITING
    never = add(desk, line(1), now=1000.0)  # whose server was away all day
    for _ in range(2):
        drive(desk, "d", now=2000.0 + WINDOW)
    assert batches.get(desk.store, never.id).status is BatchStatus.EXPIRED


def test_what_becomes_of_lines_whose_videos_end_otherwise(desk: Desk) -> None:
    batch = add(desk, *[line(n) for n in range(3)], line(3, width=64, height=48, size=None))
    for _ in range(2):
        drive(desk, "d")
    made = [batches.job_id(batch, n) for n in range(1, 5)]
    desk.store.cancel(made[0])
    desk.remove(made[1], HOST)
    Worker(desk.store, desk.folder).run(lambda: False, once=True)
    for _ in range(2):
        drive(desk, "d")
    done = batches.get(desk.store, batch.id)
    assert (done.status, done.completed, done.failed) == (BatchStatus.COMPLETED, 2, 2)
    one, two = answers(desk, done.error_file_id)
    assert one["error"]["code"] == "canceled" and one["response"]["body"]["id"] == made[0]
    assert two["error"]["code"] == "video_deleted" and two["response"] is None
    assert [v["response"]["body"]["id"] for v in answers(desk, done.output_file_id)] == made[2:]


def test_two_who_drive_make_every_line_once(desk: Desk) -> None:
    batch = add(desk, *[line(n) for n in range(30)])
    assert [b.id for b in batches.lease(desk.store, "one", now=1000.0)] == [batch.id]
    assert not batches.lease(desk.store, "two", now=1000.0 + LEASE - 0.1)
    assert batches.lease(desk.store, "one", now=1000.0 + LEASE - 0.1), "who drives on keeps it"
    assert not batches.lease(desk.store, "two", now=1000.0 + LEASE + 1)
    batches.let_go(desk.store, "one")
    assert batches.lease(desk.store, "two", now=1000.0 + LEASE + 1)
    batches.let_go(desk.store, "two")
    stop = threading.Event()

    def hurry(name: str) -> None:
        n = 0
        while not stop.is_set():  # each thinks that the other died long ago
            n += 1
            drive(desk, name, now=time.time() + n % 2 * 10 * LEASE)

    drivers = [threading.Thread(target=hurry, args=(name,)) for name in ("one", "two", "three")]
    for driver in drivers:
        driver.start()
    worker = Worker(desk.store, desk.folder)
    end = time.monotonic() + 120
    while batches.get(desk.store, batch.id).status is not BatchStatus.COMPLETED and time.monotonic() < end:
        worker.run(lambda: False, once=True)
    stop.set()
    for driver in drivers:
        driver.join()
    done = batches.get(desk.store, batch.id)
    assert (done.status, done.completed, done.failed) == (BatchStatus.COMPLETED, 30, 0)
    assert states(desk) == [Status.COMPLETED] * 30
    assert len(answers(desk, done.output_file_id)) == 30
    assert len(files.page(desk.store)) == 2 == len(list((desk.folder / "files").iterdir()))


def test_a_line_is_taken_in_the_transaction_that_adds_its_job(desk: Desk) -> None:
    made, _ = Tokens(desk.store).create("ann")
    ann = Caller("ann", "ann", "ann", made.scopes, Allowance(concurrent_jobs=1))
    batch = add(desk, line(1), line(2), caller=ann)
    drive(desk, "d")
    batch = batches.get(desk.store, batch.id)
    first, second = batches.waiting(desk.store, batch, 10)

    def submit(one: Line, caller: Caller = ann) -> None:
        desk.submit(read_create(one.body, desk.rules.aliases), caller, also=lambda c: batches.take(c, batch, one.number))

    submit(first)
    with pytest.raises(NotYours):
        submit(first)
    with pytest.raises(OverLimit):
        submit(second)
    assert [one.number for one in batches.waiting(desk.store, batch, 10)] == [2], "what was too much waits as before"
    Tokens(desk.store).revoke("ann")
    with pytest.raises(NotYours):
        submit(second, HOST)
    assert len(states(desk)) == 1


def test_the_load_goes_on_where_it_was_cut_off(desk: Desk) -> None:
    batch = add(desk, *[line(n) for n in range(5)])
    two = [Line(n, f"film-{n - 1}", line(n - 1)["body"]) for n in (1, 2)]
    loaded = batches.load(desk.store, batch, two)
    assert loaded is not None and loaded.total == 2
    assert batches.load(desk.store, batch, two) is None, "somebody else has gone on with it"
    drive(desk, "d")
    found = batches.waiting(desk.store, batch, 10)
    assert [(one.number, one.custom_id, one.body["prompt"]) for one in found] == [
        (n + 1, f"film-{n}", f"fox {n}") for n in range(5)
    ]
    batches.cancel(desk.store, batch.id)
    assert batches.load(desk.store, loaded, two) is None
    for _ in range(2):
        drive(desk, "d")
    assert batches.get(desk.store, batch.id).failed == 5


def test_an_input_that_has_gone_and_one_with_too_many_lines(desk: Desk, tmp_path: Path) -> None:
    batch = add(desk, line(1))
    files.remove(desk.store, desk.folder, batch.input_file_id)
    drive(desk, "d")
    assert [error.code for error in batches.get(desk.store, batch.id).errors] == ["file_not_found"]
    (tmp_path / "four.jsonl").write_bytes(jsonl(*[line(n) for n in range(4)]))
    assert not check(tmp_path / "four.jsonl", 4)
    assert [error.code for error in check(tmp_path / "four.jsonl", 3)] == ["too_many_lines"]
