"""A model behind somebody else's Videos API: against our own server, and against others that know less and behave worse."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest
from PIL import Image

from served import UNSTRUNG, Served, Shared, run
from unstrung import Condition, Request, generate
from unstrung.engine import open_model
from unstrung.errors import Canceled, MissingWeights, UnstrungError
from unstrung.events import Event, Note, Preview, Progress
from unstrung.media.clip import Clip
from unstrung.media.codec import read_clip, write_clip
from unstrung.models.remote.place import find_place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL: dict[str, Any] = {"model": "remote", "width": 64, "height": 48, "seconds": 1.0}
FOREIGN_KEY = "sk-0123456789abcdef"


def near(first: np.ndarray, second: np.ndarray) -> float:
    """The mean difference of pixels, from 0 to 255."""
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path_factory.mktemp("data")))
    for name in [name for name in os.environ if name.startswith("UNSTRUNG_REMOTE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    server = Shared(tmp_path_factory.mktemp("remote") / "host")
    yield server
    server.stop()


@pytest.fixture
def there(host: Shared, monkeypatch: pytest.MonkeyPatch) -> Shared:
    for name, value in host.there.items():
        monkeypatch.setenv(name, value)
    return host


def test_a_sentence_becomes_a_film_there_and_comes_here(host: Shared, tmp_path: Path) -> None:
    words = ["a red fox", "--model", "remote", "--size", "96x64", "--seconds", "1", "--seed", "7", "--steps", "3"]
    done = run("generate", *words, "--json", cwd=tmp_path, **host.there)
    assert done.returncode == 0, done.stderr
    recipe = json.loads(done.stdout)["clips"][0]["recipe"]
    assert recipe["device"]["name"] == "remote" and recipe["device"]["host"] == f"127.0.0.1:{host.port}"
    assert recipe["model"] == {"id": "remote", "revision": "echo 2", "sha256": None, "license": "Apache-2.0", "credits": None}
    id = host.wait("completed")
    asked = (host.client.videos.retrieve(id).model_extra or {})["unstrung"]["request"]
    assert (asked["seed"], asked["num_inference_steps"], asked["num_frames"], asked["fps"]) == (7, 3, 24, 24)
    film = host.film(id, tmp_path)
    assert film.sha256() == recipe["output"]["sha256"], "frame by frame what the host's file has"
    direct = generate(Request("a red fox", model="echo", width=96, height=64, seconds=1.0, seed=7, num_inference_steps=3))[0]
    made_there: Any = host.client.get(f"/videos/{id}/recipe", cast_to=object)
    assert made_there["output"]["sha256"] == direct.sha256(), "which is what the same seed gives without a host"
    assert near(direct.frames, film.frames) < 6, "but for its file's losses"
    shown = run("show", "a-red-fox.mp4", cwd=tmp_path)
    assert "remote (revision echo 2, Apache-2.0)" in shown.stdout and "3 steps of the model's own sampler" in shown.stdout
    again = run("remake", "a-red-fox.mp4", cwd=tmp_path, **host.there)
    assert again.stdout == "identical: every frame is the same\n", again.stderr
    for text in (
        done.stdout,
        done.stderr,
        shown.stdout,
        again.stderr,
        (tmp_path / "a-red-fox.mp4").read_bytes().decode("latin1"),
    ):
        assert host.key not in text


def test_what_is_not_chosen_the_host_chooses(there: Shared) -> None:
    clip, recipe = generate(Request("a fox", num_frames=10, model="remote", width=64, height=48))
    asked = (there.client.videos.retrieve(there.wait("completed")).model_extra or {})["unstrung"]["request"]
    assert not {"num_inference_steps", "guidance_scale", "negative_prompt"} & {*asked}
    assert clip.num_frames == 10 and "num_inference_steps" not in recipe.resolved and recipe.seed == asked["seed"]


def test_what_happens_there_is_heard_here(there: Shared) -> None:
    heard: list[Event] = []
    # a picture of every frame, for that takes longest
    request = Request("rings", model="remote", width=640, height=360, seconds=8.0, num_inference_steps=192)
    longer = {"size": "640x360", "seconds": "3", "num_inference_steps": 72}  # the second one waits when ours is asked for
    there.client.videos.create(prompt="first", extra_body=longer)
    before = there.client.videos.create(prompt="second", extra_body=longer)
    _, recipe = generate(request, heard.append)
    stages = list(dict.fromkeys(e.stage for e in heard if isinstance(e, Progress)))
    assert stages == ["load", "sample", "decode", "finish"] == [s for s in recipe.seconds if s != "resolve"]
    for stage in stages:
        steps = [e for e in heard if isinstance(e, Progress) and e.stage == stage]
        assert steps[0].done == 0 and steps[-1].done == steps[-1].total
    assert len({e.done for e in heard if isinstance(e, Progress) and e.stage == "sample"}) > 3
    looks = [e for e in heard if isinstance(e, Preview)]
    assert looks and looks[0].frames.dtype == np.uint8 and looks[0].frames.shape[0] == 1
    places = [e for e in heard if isinstance(e, Note) and e.code == "position"]
    assert "before this film on 127.0.0.1" in places[0].text
    assert there.client.videos.poll(before.id).status == "completed"


def test_a_picture_begins_the_film(there: Shared, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "red.png")
    first = Condition(str(tmp_path / "red.png"))
    clip, recipe = generate(Request("a fox", conditions=(first,), seed=3, **SMALL))
    assert (
        near(clip.frames[0], np.broadcast_to(np.array((200, 30, 30)), (48, 64, 3))) < 12 < near(clip.frames[0], clip.frames[-1])
    )
    asked = (there.client.videos.retrieve(there.wait("completed")).model_extra or {})["unstrung"]["request"]
    assert asked["conditions"][0]["kind"] == "image" and asked["seed"] == 3 and len(recipe.parents) == 1
    first_alone = "one picture, as the first frame"
    for conditions, words in (
        ((first, first), first_alone),
        ((Condition(first.source, strength=0.5),), first_alone),
        ((Condition(first.source, frame_index=-1),), "does no first-last-frame"),
    ):
        with pytest.raises(UnstrungError, match=words) as refused:
            generate(Request("a fox", conditions=conditions, **SMALL))
        assert refused.value.code == "not_supported"


LONGER: dict[str, Any] = {"model": "remote", "width": 960, "height": 544, "seconds": 60.0, "num_inference_steps": 480}
LONG = ["--size", "960x540", "--seconds", "60", "--steps", "1000"]


def test_ctrl_c_stops_it_there(host: Shared, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*UNSTRUNG, "generate", "a long fox", "--model", "remote", *LONG], cwd=tmp_path, env={**os.environ, **host.there},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    id = host.wait("in_progress")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert host.wait("canceled") == id and not list(tmp_path.iterdir())


def test_whoever_cancels_here_cancels_there(there: Shared) -> None:
    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "sample" and event.done > 5:
            raise Canceled

    with pytest.raises(Canceled):
        generate(Request("a long fox", **LONGER), emit)
    there.wait("canceled")


def test_a_host_that_cancels_says_so(there: Shared) -> None:
    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "sample" and event.done > 5 and not canceled:
            canceled.append(there.wait("in_progress"))
            there.client.post(f"/videos/{canceled[0]}/cancel", cast_to=object)

    canceled: list[str] = []
    with pytest.raises(UnstrungError, match=r"127.0.0.1:\d+ says: Somebody who may do so canceled") as stopped:
        generate(Request("a long fox", **LONGER), emit)
    assert stopped.value.code == "canceled" and not isinstance(stopped.value, Canceled)


def test_a_host_that_is_killed_and_comes_back_goes_on(tmp_path: Path) -> None:
    host = Shared(tmp_path / "host")
    words = ["a fox", "--model", "remote", "--size", "320x180", "--seconds", "12", "--steps", "288", "--seed", "4", "--json"]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [*UNSTRUNG, "generate", *words], cwd=tmp_path, env={**os.environ, **host.there}, stdout=out, stderr=err
        )
    id = host.wait("in_progress")
    host.process.kill()
    host.process.wait()
    for _ in range(600):
        if "does not answer" in (said := (tmp_path / "err").read_text()):
            break
        time.sleep(0.05)
    assert f"127.0.0.1:{host.port} does not answer (connection refused): it is asked again." in said
    again = Shared(tmp_path / "host", port=host.port, key=host.key)
    try:
        assert process.wait(240) == 0, (tmp_path / "err").read_text()
        made = json.loads((tmp_path / "out").read_text())["clips"][0]["recipe"]
        assert [video.id for video in again.client.videos.list()] == [id], "nothing is made twice"
        assert again.film(id, tmp_path).sha256() == made["output"]["sha256"]
        assert host.key not in (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    finally:
        again.stop()


def test_a_server_can_have_its_films_made_by_another(host: Shared, tmp_path: Path) -> None:
    """A queue in front of a queue: what a small server is asked for, a large one makes."""
    folder = tmp_path / "front"
    folder.mkdir()
    os.environ.update(host.there)
    try:
        front = Served(folder, "--alias", "sora-2-pro=remote")
    finally:
        for name in host.there:
            del os.environ[name]
    try:
        picture = io.BytesIO()
        Image.new("RGB", (64, 48), (200, 30, 30)).save(picture, "PNG")
        video = front.client.videos.create_and_poll(
            prompt="a fox", model="sora-2-pro", size="64x48", seconds="1", input_reference=("red.png", picture.getvalue()),  # type: ignore[arg-type]
            extra_body={"seed": 5}, poll_interval_ms=200,
        )  # fmt: skip
        assert video.status == "completed" and video.model == "remote", video.error
        recipe: Any = front.client.get(f"/videos/{video.id}/recipe", cast_to=object)
        assert recipe["seed"] == 5 and recipe["model"]["revision"] == "echo 2" and host.key not in json.dumps(recipe)
        assert host.film(host.wait("completed"), tmp_path).sha256() == recipe["output"]["sha256"]
        refused = front.client.videos.create(prompt="x", model="sora-2-pro", size="16x1928", seconds="1")  # type: ignore[arg-type]
        failed = front.client.videos.poll(refused.id, poll_interval_ms=200)
        assert failed.error and "127.0.0.1" in failed.error.message and "from 16 to 1920 pixels" in failed.error.message
        waits = front.client.videos.create(prompt="x", model="sora-2-pro", size="960x540", seconds="60")  # type: ignore[arg-type]
        id = host.wait("in_progress")
        front.client.post(f"/videos/{waits.id}/cancel", cast_to=object)
        assert host.wait("canceled") == id
    finally:
        front.stop()


def test_where_no_host_is_named_a_server_says_so_and_names_others(tmp_path: Path) -> None:
    front = Served(tmp_path)
    try:
        with pytest.raises(openai.InternalServerError, match="set UNSTRUNG_REMOTE_URL") as missing:
            front.client.videos.create(prompt="x", model="remote")
        assert missing.value.status_code == 503
        red = io.BytesIO()
        Image.new("RGB", (64, 48)).save(red, "PNG")
        with pytest.raises(openai.BadRequestError) as refused:
            front.client.videos.create(prompt="x", model="nano", input_reference=red.getvalue())
        assert refused.value.message.endswith("These do: echo.")
    finally:
        front.stop()


BAD_PLACES = [
    ({}, "set UNSTRUNG_REMOTE_URL"),
    ({"URL": "films.example.org"}, "must be like https://films.example.org/v1"),
    ({"URL": "ftp://films.example.org"}, "must be like https"),
    ({"URL": "https://ann:hunter22@films.example.org/v1"}, "no name or password"),
    ({"URL": "https://films.example.org/v1?key=hunter22"}, "must be like https"),
    ({"URL": "https://films.example.org:port/v1"}, "must be like https"),
    ({"URL": "https://fílms.example.org/v1"}, "write it in ASCII"),
    ({"URL": "http://films.example.org/v1"}, "use https, or set UNSTRUNG_REMOTE_INSECURE=1"),
    ({"URL": "https://films.example.org/v1", "KEY": "hunter22\r\nX-Other: 1"}, "copy it again"),
    ({"URL": "https://films.example.org/v1", "PATIENCE": "soon"}, "PATIENCE is 'soon'"),
]


@pytest.mark.parametrize(("said", "says"), BAD_PLACES, ids=[says for _, says in BAD_PLACES])
def test_what_is_no_place_is_refused_before_anything_is_sent(said: dict[str, str], says: str) -> None:
    with pytest.raises(MissingWeights) as refused:
        find_place("remote", {f"UNSTRUNG_REMOTE_{name}": value for name, value in said.items()})
    assert says in refused.value.message and "hunter22" not in refused.value.message


def test_places_that_will_do() -> None:
    for url in ("https://films.example.org/v1/", "http://localhost:8000/v1", "http://127.0.0.1:8000", "http://[::1]:8000/v1"):
        place = find_place("remote", {"UNSTRUNG_REMOTE_URL": url, "UNSTRUNG_REMOTE_KEY": "hunter22\n"})
        assert place.url == url.rstrip("/") and place.key == "hunter22" and place.model == "sora-2"
        assert "hunter22" not in repr(place)
    assert find_place("remote", {"UNSTRUNG_REMOTE_URL": "http://films.example.org", "UNSTRUNG_REMOTE_INSECURE": "1"}).url


WRONG = [
    ({"UNSTRUNG_REMOTE_KEY": "not-the-right-key"}, "(UNSTRUNG_REMOTE_KEY is not the right one.)"),
    ({"UNSTRUNG_REMOTE_KEY": ""}, "(UNSTRUNG_REMOTE_KEY is not set.)"),
    ({"UNSTRUNG_REMOTE_URL": "http://127.0.0.1:PORT/v2"}, "ends in /v1 as a rule"),
    ({"UNSTRUNG_REMOTE_MODEL": "ecko"}, "There is no model 'ecko'"),
    (
        {"UNSTRUNG_REMOTE_URL": "http://127.0.0.1:9/v1"},
        "has not answered for 5 s (connection refused): check UNSTRUNG_REMOTE_URL",
    ),
    ({"UNSTRUNG_REMOTE_URL": "https://127.0.0.1:PORT/v1", "UNSTRUNG_REMOTE_PATIENCE": "0"}, "has not answered for 0 s"),
    ({"UNSTRUNG_REMOTE_URL": "https://host.invalid/v1", "UNSTRUNG_REMOTE_PATIENCE": "1"}, "host.invalid has not answered"),
]


@pytest.mark.parametrize(("said", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_wrong_key_or_address_is_one_clear_line(host: Shared, tmp_path: Path, said: dict[str, str], says: str) -> None:
    env = {**host.there, **{name: value.replace("PORT", str(host.port)) for name, value in said.items()}}
    done = run("a fox", "--model", "remote", "--seconds", "1", cwd=tmp_path, **env)
    assert done.returncode == 2 and done.stdout == "" and not list(tmp_path.iterdir())
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("unstrung: ") and says in last, done.stderr
    assert "Traceback" not in done.stderr and host.key not in done.stderr and "not-the-right-key" not in done.stderr


def test_there_is_no_device_to_choose(there: Shared) -> None:
    with pytest.raises(UnstrungError, match="leave --device out"):
        open_model("remote", "cuda")


class Foreign(ThreadingHTTPServer):
    """Somebody else's server: it knows only the official fields, in the official way, unless a test has it behave worse."""

    daemon_threads = True

    def __init__(self, film: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.film, self.forms_only, self.known = film, False, ["model", "prompt", "seconds", "size"]
        self.asked: list[dict[str, Any]] = []  # what made videos
        self.kept: dict[str, str] = {}  # ids by idempotency key
        self.seen: list[tuple[str, str]] = []
        self.sent: list[str] = []  # all that came, heads and bodies
        self.polls = 1  # how often a video is looked at before it is done
        self.hooks: dict[str, Callable[[Answers], bool]] = {}  # by method and path; says whether it has answered
        self.ends: dict[str, Any] = {"status": "completed"}
        self.place = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of connections that a test breaks."""


class Answers(BaseHTTPRequestHandler):
    server: Foreign

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body, server = self.rfile.read(length), self.server
        self.route = f"{self.command} {re.sub(r'/v_[0-9]+', '/ID', self.path)}"
        server.seen.append((self.route, self.headers.get("Authorization", "")))
        server.sent.append(f"{self.requestline}\n{self.headers}{self.body.decode('latin1')}")
        hook = server.hooks.get(self.route)
        if hook is not None and hook(self):
            return
        if self.route == "POST /v1/videos":
            return self.create()
        if self.route == "GET /v1/videos/ID":
            server.polls -= 1
            done = server.polls < 0
            return self.json(
                200, {"id": "v_1", "model": "theirs-1", "progress": 40, **(server.ends if done else {"status": "queued"})}
            )
        if self.route == "GET /v1/videos/ID/content":
            return self.bytes(200, server.film, "video/mp4")
        if self.route == "DELETE /v1/videos/ID":
            return self.json(200, {"id": "v_1", "deleted": True})
        self.json(404, {"detail": "Not Found"})

    def create(self) -> None:
        server, kind = self.server, self.headers["Content-Type"]
        if kind == "application/json":
            if server.forms_only:
                return self.json(422, {"detail": [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required"}]})
            fields = json.loads(self.body)
        else:
            mark = kind.partition("boundary=")[2].encode()
            parts = [part.partition(b"\r\n\r\n") for part in self.body.split(b"--" + mark)[1:-1]]
            found = [(re.search(rb'name="(\w+)"', head), value[:-2]) for head, _, value in parts]
            fields = {name[1].decode(): value.decode("latin1") for name, value in found if name}
        for name in fields:
            if name not in [*server.known, "input_reference"]:
                words = f"Unknown parameter: '{name}'."
                return self.json(400, {"error": {"message": words, "param": name, "code": "unknown_parameter"}})
        key = self.headers["Idempotency-Key"]
        if key not in server.kept:
            server.asked.append(fields)
            server.kept[key] = f"v_{len(server.asked)}"
        self.json(200, {"id": server.kept[key], "status": "queued", "model": "theirs-1", "progress": 0})

    def json(self, status: int, document: Any) -> None:
        self.bytes(status, json.dumps(document).encode(), "application/json", {"openai-poll-after-ms": "1"})

    def bytes(self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self) -> bool:
        self.close_connection = True
        self.connection.close()
        return True


def film_of(folder: Path, width: int = 64, height: int = 48, frames: int = 24, fps: int = 24) -> bytes:
    shades = np.linspace(20, 230, frames).astype(np.uint8)
    path = folder / f"{width}x{height}-{frames}-{fps}.mp4"
    write_clip(Clip(np.broadcast_to(shades[:, None, None, None], (frames, height, width, 3)).copy(), fps), path, force=True)
    return path.read_bytes()


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Foreign]:
    server = Foreign(film_of(tmp_path))
    monkeypatch.setenv("UNSTRUNG_REMOTE_URL", server.place)
    monkeypatch.setenv("UNSTRUNG_REMOTE_KEY", FOREIGN_KEY)
    yield server
    server.shutdown()
    server.server_close()


def made(request: Request, notes: list[Note] | None = None) -> tuple[Clip, Any]:
    heard: list[Event] = []
    clip, recipe = generate(request, heard.append)
    if notes is not None:
        notes += [event for event in heard if isinstance(event, Note)]
    assert FOREIGN_KEY not in recipe.to_json() + repr(heard)
    return clip, recipe


def refused(request: Request) -> UnstrungError:
    with pytest.raises(UnstrungError) as caught:
        generate(request)
    assert FOREIGN_KEY not in repr(caught.value) + caught.value.message
    return caught.value


def test_a_server_that_knows_little_is_asked_for_little(foreign: Foreign) -> None:
    notes: list[Note] = []
    clip, recipe = made(Request("a fox", seed=7, negative_prompt="rain", **SMALL), notes)
    assert foreign.asked == [{"model": "sora-2", "prompt": "a fox", "seconds": "1", "size": "64x48"}]
    assert [note.code for note in notes] == ["not_heeded"]
    assert notes[0].data == {"fields": ["seed", "negative_prompt", "fps", "num_frames"]} and "same seed" in notes[0].text
    assert (
        clip.frames.shape == (24, 48, 64, 3)
        and recipe.model["revision"] == "theirs-1"
        and recipe.model["license"] == "its host's"
    )
    assert {key for _, key in foreign.seen} == {f"Bearer {FOREIGN_KEY}"}


def test_what_a_server_knows_it_is_told(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSTRUNG_REMOTE_MODEL", "theirs")
    foreign.known += ["seed", "guidance_scale"]
    foreign.forms_only = True
    notes: list[Note] = []
    clip, _ = made(Request("ein Fuchs ❄", model="remote", width=64, height=48, num_frames=20, seed=7, guidance_scale=2.0), notes)
    prompt = "ein Fuchs ❄".encode().decode("latin1")
    assert foreign.asked == [
        {"model": "theirs", "prompt": prompt, "seconds": "1", "size": "64x48", "seed": "7", "guidance_scale": "2.0"}
    ]
    assert notes[0].data == {"fields": ["fps", "num_frames"]} and "seed" not in notes[0].text
    assert clip.num_frames == 20 and notes[1].code == "fitted", "the API has whole seconds alone, and the rest is cut"


def test_a_picture_is_sent_as_png(foreign: Foreign, tmp_path: Path) -> None:
    Image.new("RGB", (128, 96), (200, 30, 30)).save(tmp_path / "red.jpg")
    made(Request("a fox", conditions=(Condition(str(tmp_path / "red.jpg")),), **SMALL))
    picture = Image.open(io.BytesIO(foreign.asked[0]["input_reference"].encode("latin1")))
    assert picture.format == "PNG" and picture.size == (64, 48), "the size that is asked for, as the API wants it"


@pytest.mark.parametrize(
    ("shape", "last"),
    [((128, 72, 24, 24), 230), ((64, 48, 16, 16), 230), ((64, 48, 48, 24), 122), ((64, 48, 23, 24), 230)],
    ids=["larger", "slower", "longer", "a frame short"],
)
def test_what_comes_otherwise_is_fitted_and_said(foreign: Foreign, tmp_path: Path, shape: tuple[int, ...], last: int) -> None:
    foreign.film = film_of(tmp_path, *shape)
    notes: list[Note] = []
    clip, _ = made(Request("a fox", **SMALL), notes)
    assert clip.frames.shape == (24, 48, 64, 3) and clip.fps == 24
    assert abs(int(clip.frames[-1].mean()) - last) < 4
    assert notes[-1].code == "fitted" and f"made {shape[0]}x{shape[1]}, {shape[2]} frames" in notes[-1].text
    assert ("held for 1 more" in notes[-1].text) == (shape[2] == 23)


def test_a_film_that_lacks_much_is_refused(foreign: Foreign, tmp_path: Path) -> None:
    foreign.film = film_of(tmp_path, frames=12)
    error = refused(Request("a fox", **SMALL))
    assert error.code == "remote_short" and "made 0.5 s, and 1 s were asked for" in error.message


def test_answers_that_are_lost_make_nothing_twice(foreign: Foreign) -> None:
    """The server does what it is asked, and the connection breaks before it has said so."""
    broken: list[str] = []

    def lose(answers: Answers) -> bool:
        if len(broken) < 2 and "seed" not in answers.body.decode():
            broken.append(answers.headers["Idempotency-Key"])
            answers.wfile = io.BytesIO()  # type: ignore[assignment]
            answers.create()
            return answers.hang_up()
        return False

    foreign.hooks["POST /v1/videos"] = lose
    notes: list[Note] = []
    made(Request("a fox", **SMALL), notes)
    assert len(foreign.asked) == 1 and len(broken) == 2 and broken[0] == broken[1]
    assert "silent" in [note.code for note in notes]


def test_what_breaks_off_is_fetched_again(foreign: Foreign) -> None:
    broken: list[str] = []

    def break_off(answers: Answers) -> bool:
        broken.append(answers.route)
        if broken.count(answers.route) > 2:
            return False
        if broken.count(answers.route) == 2:
            answers.bytes(502, b"<html>Bad Gateway</html>", "text/html", {"Retry-After": "0"})
            return True
        answers.send_response(200)
        answers.send_header("Content-Length", "100000")
        answers.end_headers()
        answers.wfile.write(b"half")
        return answers.hang_up()

    foreign.hooks |= {"GET /v1/videos/ID": break_off, "GET /v1/videos/ID/content": break_off}
    made(Request("a fox", **SMALL))
    assert len(broken) > 5 and len(foreign.asked) == 1


def test_patience_ends(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSTRUNG_REMOTE_PATIENCE", "1.5")
    foreign.hooks["GET /v1/videos/ID"] = Answers.hang_up
    since = time.monotonic()
    error = refused(Request("a fox", **SMALL))
    assert (
        error.code == "remote_silent"
        and "has not answered for 1.5 s" in error.message
        and "UNSTRUNG_REMOTE_PATIENCE" in error.message
        and time.monotonic() - since < 20
    )
    assert [route for route, _ in foreign.seen][-2:] == ["POST /v1/videos/ID/cancel", "DELETE /v1/videos/ID"], (
        "nobody waits for it"
    )


def test_a_first_question_that_breaks_a_server_is_not_asked_again(foreign: Foreign) -> None:
    def fall(answers: Answers) -> bool:
        answers.json(500, {"error": {"message": "CUDA out of memory"}})
        return True

    foreign.hooks["POST /v1/videos"] = fall
    assert "says: CUDA out of memory" in refused(Request("a fox", **SMALL)).message and len(foreign.seen) == 1


def test_what_a_host_says_of_failure_is_said_here_without_the_key(foreign: Foreign) -> None:
    words = f"\x1b[2Jno bears\nhere, {FOREIGN_KEY}"
    foreign.ends = {"status": "failed", "error": {"code": "moderation_blocked", "message": words}}
    error = refused(Request("a bear", **SMALL))
    place = foreign.place.split("/")[2]
    assert (error.code, error.message) == ("moderation_blocked", f"{place} says: [2Jno bears here, ***")
    assert not [route for route, _ in foreign.seen if "cancel" in route or "DELETE" in route], "it has ended"

    def refuse(answers: Answers) -> bool:
        message = f"Incorrect API key provided: {answers.headers['Authorization']}"
        answers.json(401, {"error": {"message": message, "code": "invalid_api_key", "param": None}})
        return True

    foreign.hooks["POST /v1/videos"] = refuse
    assert refused(Request("a bear", **SMALL)).code == "invalid_api_key"


def test_a_model_name_can_not_carry_the_key_into_a_recipe(foreign: Foreign) -> None:
    foreign.ends = {"status": "completed", "model": f"theirs\x07 {FOREIGN_KEY}"}
    assert made(Request("a fox", **SMALL))[1].model["revision"] == "theirs ***"


def poured_by(answers: Answers, status: int, headers: dict[str, str], poured: list[int]) -> bool:
    """Send a gigabyte after a head, and count what is taken."""
    answers.send_response(status)
    for name, value in headers.items():
        answers.send_header(name, value)
    answers.end_headers()
    for _ in range(1000):
        answers.wfile.write(bytes(2**20))
        poured.append(2**20)
    return True


@pytest.mark.parametrize("says_length", [True, False])
def test_a_body_without_end_is_not_read_to_it(foreign: Foreign, says_length: bool) -> None:
    def pour(answers: Answers) -> bool:
        return poured_by(answers, 200, {"Content-Length": str(10**12)} if says_length else {}, poured)

    poured: list[int] = []
    foreign.hooks["GET /v1/videos/ID/content"] = pour
    error = refused(Request("a fox", **SMALL))
    assert error.code == "too_large" and sum(poured) < 100 * 2**20
    foreign.hooks["POST /v1/videos"] = pour
    assert refused(Request("a fox", **SMALL)).code == "too_large"


@pytest.mark.parametrize("status", [302, 400])
def test_an_answer_that_is_no_film_is_not_read_to_its_end_either(foreign: Foreign, status: int) -> None:
    def pour(answers: Answers) -> bool:
        return poured_by(answers, status, {"Location": "/v1/films/1"}, poured)

    poured: list[int] = []
    foreign.hooks["GET /v1/videos/ID/content"] = pour
    foreign.hooks["GET /v1/films/1"] = lambda a: a.bytes(200, foreign.film, "video/mp4") is None
    if status == 302:
        assert made(Request("a fox", **SMALL))[0].num_frames == 24
    else:
        assert refused(Request("a fox", **SMALL)).code == "http_400"
    assert sum(poured) < 20 * 2**20


def test_a_film_that_is_packed_is_not_unpacked(foreign: Foreign) -> None:
    """A few bytes of gzip may become any number."""
    packed = gzip.compress(foreign.film)
    foreign.hooks["GET /v1/videos/ID/content"] = lambda a: a.bytes(200, packed, "video/mp4", {"Content-Encoding": "gzip"}) is None
    assert refused(Request("a fox", **SMALL)).code == "remote_film"
    assert "accept-encoding: identity" in foreign.sent[0]


OTHERS = {
    "OPENAI_API_KEY": "sk-leak", "OPENAI_ADMIN_KEY": "sk-leak", "OPENAI_BASE_URL": "http://127.0.0.1:9/leak", "OPENAI_ORG_ID": "leak",
    "OPENAI_PROJECT_ID": "leak", "OPENAI_WEBHOOK_SECRET": "leak", "OPENAI_LOG": "debug",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-leak\nX-Leak: leak\nIdempotency-Key: leak\nHost: leak\nuser-agent: leak",
}  # fmt: skip


@pytest.mark.parametrize("key", [FOREIGN_KEY, ""])
def test_what_the_client_would_take_from_the_environment_goes_nowhere(foreign: Foreign, tmp_path: Path, key: str) -> None:
    """Neither another service's key nor the client's farewell to its own reaches anybody."""
    loud = {"PYTHONWARNINGS": "always::DeprecationWarning", "UNSTRUNG_REMOTE_KEY": key}
    words = ["a fox", "--model", "remote", "--size", "64x48", "--seconds", "1", "--seed", "5"]
    done = run("generate", *words, cwd=tmp_path, **OTHERS, **loud)
    assert done.returncode == 0, done.stderr
    assert len(foreign.sent) > 3 and "leak" not in "".join(foreign.sent) and "Linux" not in "".join(foreign.sent)
    assert {name for _, name in foreign.seen} == {f"Bearer {key}" if key else ""}
    assert "user-agent: unstrung/" in foreign.sent[0] and f"Host: {foreign.place.split('/')[2]}" in foreign.sent[0]
    for secret in ("Sora", "leak", FOREIGN_KEY):
        assert secret not in done.stdout + done.stderr


def test_this_machine_is_asked_directly_and_others_as_the_environment_says(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    made(Request("a fox", **SMALL))
    monkeypatch.setenv("http_proxy", foreign.place)
    monkeypatch.setenv("UNSTRUNG_REMOTE_URL", "http://films.example.org/v1")
    monkeypatch.setenv("UNSTRUNG_REMOTE_INSECURE", "1")
    assert refused(Request("a fox", **SMALL)).code == "http_404"
    assert foreign.seen[-1][0] == "POST http://films.example.org/v1/videos"
    monkeypatch.setenv("http_proxy", "socks5://ann:hunter22@127.0.0.1:9")
    error = refused(Request("a fox", **SMALL))
    assert error.code == "remote_environment" and "ALL_PROXY" in error.message and "hunter22" not in error.message


def test_without_the_client_that_is_said(foreign: Foreign) -> None:
    code = "import sys; sys.modules['openai'] = None; from unstrung.cli import main; main()"
    command = [sys.executable, "-c", code, "a fox", "--model", "remote"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and foreign.seen == []
    words = "remote needs openai, which the default install leaves out: pip install '.[remote]'"
    assert done.stderr == f"unstrung: {words}\n"


@pytest.mark.parametrize("id", ["..", "v 1", ""])
def test_an_id_that_would_lead_elsewhere_is_none(foreign: Foreign, id: str) -> None:
    foreign.hooks["POST /v1/videos"] = lambda a: a.json(200, {"id": id, "status": "queued"}) is None
    assert refused(Request("a fox", **SMALL)).code == "remote_garbled" and len(foreign.seen) == 1


def test_a_film_that_would_fill_the_memory_is_not_decoded(foreign: Foreign, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "long.mp4"), "w") as file:  # a few kilobytes, which become more than a gigabyte
        stream = file.add_stream("libx264", 24, {"preset": "ultrafast"})
        stream.width, stream.height = 1920, 1080
        frame = av.VideoFrame.from_ndarray(np.zeros((1620, 1920), np.uint8), "yuv420p")
        for n in range(200):
            frame.pts = n
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    foreign.film = (tmp_path / "long.mp4").read_bytes()
    error = refused(Request("a fox", **SMALL))
    assert error.code == "remote_film" and "too much" in error.message and str(tmp_path) not in error.message


def test_what_is_no_film_is_said_to_be_none(foreign: Foreign) -> None:
    foreign.film = b"<html>come back tomorrow</html>"
    assert "is none that can be used: it is no video" in refused(Request("a fox", **SMALL)).message
    foreign.hooks["GET /v1/videos/ID"] = lambda answers: answers.bytes(200, b"<html></html>", "text/html") is None
    assert refused(Request("a fox", **SMALL)).code == "remote_garbled"


@pytest.mark.parametrize("route", ["POST /v1/videos", "GET /v1/videos/ID", "GET /v1/videos/ID/content"])
def test_a_redirect_elsewhere_leads_nowhere(foreign: Foreign, tmp_path: Path, route: str) -> None:
    other = Foreign(film_of(tmp_path))
    elsewhere = other.place.replace("127.0.0.1", "localhost")
    foreign.hooks[route] = lambda answers: answers.bytes(307, b"", "text/html", {"Location": f"{elsewhere}/videos"}) is None
    try:
        error = refused(Request("a fox", **SMALL))
        assert error.code == "remote_moved" and "sends on to http://localhost" in error.message
        assert other.seen == [], "not even without the key"
    finally:
        other.shutdown()
        other.server_close()


def test_a_redirect_within_the_host_is_followed(foreign: Foreign) -> None:
    foreign.hooks["GET /v1/videos/ID/content"] = lambda a: a.bytes(302, b"", "text/html", {"Location": "/v1/films/1"}) is None
    foreign.hooks["GET /v1/films/1"] = lambda a: a.bytes(200, foreign.film, "video/mp4") is None
    assert made(Request("a fox", **SMALL))[0].num_frames == 24


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not installed")
def test_a_host_that_nobody_vouches_for_gets_no_key(foreign: Foreign, tmp_path: Path) -> None:
    command = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key -out sure"
    )
    subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "sure", tmp_path / "key")
    foreign.socket = context.wrap_socket(foreign.socket, server_side=True)
    secure = {"UNSTRUNG_REMOTE_URL": foreign.place.replace("http:", "https:"), "UNSTRUNG_REMOTE_KEY": FOREIGN_KEY}
    words = ["a fox", "--model", "remote", "--seconds", "1", "--size", "64x48"]
    done = run("generate", *words, cwd=tmp_path, **secure)
    assert done.returncode == 2 and "can't be trusted: self-signed certificate." in done.stderr and foreign.seen == []
    done = run("generate", *words, cwd=tmp_path, **secure, SSL_CERT_FILE=str(tmp_path / "sure"))
    assert done.returncode == 0 and read_clip(tmp_path / "a-fox.mp4").num_frames == 24, done.stderr


def test_a_foreign_server_is_told_that_nobody_waits(foreign: Foreign) -> None:
    def emit(event: Event) -> None:
        if len(foreign.seen) > 8:
            raise Canceled

    foreign.polls = 10_000
    with pytest.raises(Canceled):
        generate(Request("a fox", **SMALL), emit)
    assert [route for route, _ in foreign.seen][-2:] == ["POST /v1/videos/ID/cancel", "DELETE /v1/videos/ID"]


def memos() -> list[Path]:
    """What is remembered of films that are asked for."""
    return list((Path(os.environ["UNSTRUNG_DATA"]) / "errands").glob("*"))


def begin(folder: Path, *more: str, model: str = "remote") -> subprocess.Popen[str]:
    """Ask for a small film with a seed, in a process that can be killed."""
    words = ["a fox", "--model", model, "--size", "64x48", "--seconds", "1", "--seed", "5", "--force", *more]
    command = [*UNSTRUNG, "generate", *words]
    return subprocess.Popen(command, cwd=folder, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(so: Callable[[], Any], seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.05)):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError("it has not come to that")


def polled(foreign: Foreign) -> bool:
    return [route for route, _ in foreign.seen][-1:] == ["GET /v1/videos/ID"]


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert FOREIGN_KEY not in out + err
    return err


@pytest.mark.parametrize("how", ["the worker", "the server", "all at once"])
def test_a_film_is_made_once_though_its_worker_dies(tmp_path: Path, how: str) -> None:
    """A queue in front of a queue, whose worker is killed, or which is started anew, while the film is made behind it."""
    host, folder = Shared(tmp_path / "host"), tmp_path / "front"
    folder.mkdir()
    os.environ.update(host.there)
    log = tmp_path / "log"
    try:
        front = Served(folder, log=log)
    finally:
        for name in host.there:
            del os.environ[name]
    try:
        video = front.client.videos.create(
            prompt="a fox", model="remote", size="640x360", seconds="4",  # type: ignore[arg-type]
            extra_body={"seed": 5, "num_inference_steps": 96},
        )  # fmt: skip
        id = host.wait("in_progress")
        until(lambda: front.client.videos.retrieve(video.id).progress > 8)
        (memo,) = (folder / "errands").iterdir()
        assert memo.read_text().split()[1] == id and memo.stat().st_mode & 0o777 == 0o600
        worker = subprocess.run(["pgrep", "-P", str(front.process.pid), "-f", "unstrung worker"], capture_output=True, text=True)
        if how == "the server":  # as its host does it: what was begun is given back
            front.stop()
        else:
            os.kill(int(worker.stdout.split()[0]), signal.SIGKILL)
            if how == "all at once":
                front.process.kill()
                front.process.wait()
        if how != "the worker":
            assert host.status(id) in ("in_progress", "completed"), "nobody has told it to stop"
            front.start()
        until(lambda: front.client.videos.retrieve(video.id).status == "completed", 120)
        assert [made.id for made in host.client.videos.list()] == [id], "the host has made one"
        recipe: Any = front.client.get(f"/videos/{video.id}/recipe", cast_to=object)
        assert recipe["output"]["sha256"] == host.film(id, tmp_path).sha256()
        assert memo.read_text() not in json.dumps(recipe) and host.key not in json.dumps(recipe) + log.read_text()
    finally:
        front.stop()
        host.stop()
    assert not list((folder / "errands").iterdir()), "it is remembered until somebody has it"


def test_whoever_asks_again_after_a_death_gets_the_first_film(foreign: Foreign, tmp_path: Path) -> None:
    """A host that knows no names of questions is asked for the video by its id."""
    foreign.polls = 10_000
    first = begin(tmp_path)
    until(lambda: polled(foreign))
    first.kill()
    first.communicate()
    (memo,) = memos()
    assert memo.read_text().split()[1] == "v_1" and "fox" not in memo.read_text() + memo.name
    foreign.polls, foreign.kept = 2, {}
    assert "was asked for this film before, as v_1: it goes on with that." in finish(begin(tmp_path))
    assert len(foreign.asked) == 1 and memos() == []
    finish(begin(tmp_path))
    assert len(foreign.asked) == 2, "who asks for the same again when it is there gets another"


@pytest.mark.parametrize("end", ["gone", "failed"])
def test_what_the_host_has_lost_is_asked_for_anew(foreign: Foreign, tmp_path: Path, end: str) -> None:
    foreign.polls = 10_000
    first = begin(tmp_path)
    until(lambda: polled(foreign))
    first.kill()
    first.communicate()
    once: list[str] = []

    def lost(answers: Answers) -> bool:
        if once:
            return False
        once.append(answers.path)
        if end == "gone":
            answers.json(404, {"detail": "Not Found"})
        else:
            answers.json(200, {"id": "v_1", "status": "failed", "progress": 40})
        return True

    foreign.hooks["GET /v1/videos/ID"] = lost
    foreign.polls = 2
    finish(begin(tmp_path))
    assert len(foreign.asked) == 2 and len(foreign.kept) == 2, "in a question of another name"
    assert memos() == []


def test_who_dies_before_the_answer_asks_in_the_same_name(foreign: Foreign, tmp_path: Path) -> None:
    foreign.known += ["seed", "fps", "num_frames", "negative_prompt"]
    held = threading.Event()

    def hold(answers: Answers) -> bool:
        if held.is_set():
            return False
        held.set()
        answers.wfile = io.BytesIO()  # type: ignore[assignment]
        answers.create()
        time.sleep(5)
        return answers.hang_up()

    foreign.hooks["POST /v1/videos"] = hold
    first = begin(tmp_path)
    assert held.wait(60)
    first.kill()
    first.communicate()
    finish(begin(tmp_path))
    assert len(foreign.asked) == 1 and memos() == []


def test_two_who_ask_for_the_same_at_once_have_one_each(foreign: Foreign, tmp_path: Path) -> None:
    foreign.polls = 10_000
    both = []
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        both.append(begin(tmp_path / str(n)))
        until(lambda: len(foreign.asked) == len(both) and polled(foreign))
    assert len(memos()) == 2
    foreign.polls = 0
    for process in both:
        assert "before" not in finish(process)
    assert memos() == []


def test_where_nothing_can_be_remembered_that_is_said(foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path / "file"))
    notes: list[Note] = []
    made(Request("a fox", **SMALL), notes)
    assert notes[0].code == "not_remembered" and "errands can't be written (not a directory)" in notes[0].text


def test_memos_that_are_broken_or_old_harm_nothing(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request("a fox", seed=5, **SMALL)
    foreign.hooks["GET /v1/videos/ID"] = Answers.hang_up
    monkeypatch.setenv("UNSTRUNG_REMOTE_PATIENCE", "0")
    foreign.hooks["POST /v1/videos/ID/cancel"] = Answers.hang_up
    refused(request)
    (memo,) = memos()  # the host could not be told to stop
    old = memo.with_name("0" * 32 + "-0")
    old.write_text("half a li")
    os.utime(old, (1, 1))
    memo.write_text("half a li")
    foreign.hooks.clear()
    made(request)
    assert len(foreign.asked) == 2 and memos() == []
