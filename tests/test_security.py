"""What a stranger can't do to a host, each as they would try it: files, paths, pages of elsewhere, and what is somebody else's."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import openai
import pytest

from served import Served
from test_given import by, near, picture
from test_tokens import known, token, unstrung
from test_webhooks import Receiver, add
from unstrung.api.guard import HEADERS
from unstrung.errors import UnstrungError
from unstrung.media import vet
from unstrung.media.codec import read_clip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL: Any = {"prompt": "a fox", "seconds": "1", "size": "64x48", "extra_body": {"fps": 8}}
LINUX = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system does not say what its processes hold")

# Python imports this before anything else, in the server and in every process that it starts: each writes down what it does
HEAR = """
import json, os, sys

log = os.open({log!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
kinds = ("open", "os.", "shutil.", "socket.connect", "socket.send", "socket.get")

def hear(event, args):
    if event.startswith(kinds):
        words = [arg if isinstance(arg, (int, list, tuple)) else os.fsdecode(arg) if isinstance(arg, bytes) else str(arg) for arg in args]
        os.write(log, json.dumps([os.getpid(), event, *words], default=str).encode() + b"\\n")

sys.addaudithook(hear)
"""


class Watched(Served):
    """A server that lies in `root`/data, and writes down what its processes open and whom they speak to."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root, self.log = root, root / "heard"
        (root / "hook").mkdir()
        (root / "hook" / "sitecustomize.py").write_text(HEAR.format(log=str(self.log)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(root / "hook"), prepend=os.pathsep)
            super().__init__(root / "data", *options)

    def heard(self, *kinds: str) -> list[tuple[int, list[Any]]]:
        """The events of these kinds, each as the process that it happened in and what it was about."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(pid, about) for pid, kind, *about in lines if kind.startswith(kinds)]

    def touched(self, name: str) -> list[str]:
        """The files and folders of this name that a process has opened, made, moved, listed or removed."""
        heard = [str(about) for _, about in self.heard("open", "os.", "shutil.")]
        assert len(heard) > 100
        return [about for about in heard if name in about]

    def around(self) -> dict[Path, bytes]:
        """What lies beside the server's folder."""
        there = (path for path in self.root.rglob("*") if path.is_file() and self.folder not in path.parents)
        return {path: path.read_bytes() for path in there if path != self.log}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    server = Watched(tmp_path_factory.mktemp("watched"), "--allow-private-webhooks")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def clip(watched: Watched) -> bytes:
    """A film, as a file."""
    return watched.client.videos.download_content(watched.client.videos.create_and_poll(**SMALL).id).read()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    token(folder, "first")
    server = Served(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ann(guarded: Served) -> openai.OpenAI:
    return known(guarded, "ann")


@pytest.fixture(scope="module")
def bob(guarded: Served) -> openai.OpenAI:
    return known(guarded, "bob")


def ask(
    server: Served, method: str, path: str, body: bytes | None = None, key: str | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request as it is written, as a client that keeps to no rules could."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {"Authorization": f"Bearer {key}"} if key else {}
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def bomb() -> bytes:
    """Forty kilobytes of WebM that don't say how long they are: 900 frames of 1280x720, which are 2.5 GB."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska", options={"live": "1"}) as file:
        stream = file.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((1080, 1280), np.uint8), "yuv420p")
        for frame.pts in range(900):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


# what is sent


@LINUX
def test_what_is_sent_is_read_by_a_process_of_its_own(watched: Watched, clip: bytes) -> None:
    videos, before = watched.client.videos, len(watched.heard("open"))
    pictured = videos.create(**SMALL, input_reference=("start.png", picture((200, 30, 30)), "image/png"))
    edited = videos.edit(prompt="a blue fox", video=clip)
    assert [videos.poll(video.id).status for video in (pictured, edited)] == ["completed", "completed"]
    opened = [
        (pid, Path(about[0]).name, str(about[1])[0]) for pid, about in watched.heard("open")[before:] if "/sent." in str(about[0])
    ]
    server = watched.process.pid
    assert {mode for pid, _, mode in opened if pid == server} == {"w"}, "the server writes it, and never opens it again"
    readers = {name: pid for pid, name, mode in opened if mode == "r"}
    assert set(readers) == {"sent.png", "sent.mp4"} and len({server, *readers.values()}) == 3, "one for each file"
    assert not any(Path(f"/proc/{pid}").exists() for pid in readers.values())
    loaded = Path(f"/proc/{server}/maps").read_text()
    assert "python" in loaded and not re.search(r"libavcodec|libavformat|/PIL/", loaded), "there is no decoder in the server"


def test_a_bomb_takes_nothing_with_it(watched: Watched) -> None:
    data = bomb()
    assert len(data) < 100_000
    with pytest.raises(openai.BadRequestError) as refused:
        watched.client.videos.edit(prompt="x", video=("fox.webm", data))
    assert refused.value.code == "unreadable_media" and refused.value.param == "video"
    assert "memory" in refused.value.message and str(watched.folder) not in refused.value.message
    assert watched.process.poll() is None and watched.client.videos.create_and_poll(**SMALL).status == "completed"
    assert not list((watched.folder / "uploads").glob(".vet*"))


def test_what_takes_too_long_to_read_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "sent.png", tmp_path / "kept.png"
    source.write_bytes(picture((1, 2, 3)))
    assert vet.vet(source, target).kind == "image"
    target.unlink()
    monkeypatch.setattr(vet, "SECONDS", 0.01)
    with pytest.raises(UnstrungError) as stopped:
        vet.vet(source, target)
    assert stopped.value.code == "too_long" and stopped.value.field == "file" and not target.exists()


# paths


@pytest.mark.parametrize("folder", ["../../marzipan", "/marzipan", "..\\..\\marzipan"])
def test_what_a_client_calls_a_file_is_text_and_nothing_else(watched: Watched, clip: bytes, folder: str) -> None:
    videos, before = watched.client.videos, watched.around()
    name = f"{watched.root}{folder}/evil" if folder.startswith("/") else f"{folder}/evil"
    made = [
        videos.create(**SMALL, input_reference=(f"{name}.png", picture((1, 2, 3)), "image/png")),
        videos.edit(prompt="x", video=(f"{name}.mp4", clip)),
        videos.create(**SMALL, extra_headers={"Idempotency-Key": name}),
    ]
    character = videos.create_character(name=name, video=(f"{name}.mp4", clip))
    file = watched.client.files.create(file=(f"{name}.png", picture((1, 2, 3))), purpose="vision")
    ids = [*(video.id for video in made), file.id, str(character.id)]
    assert all(re.fullmatch(r"(video_|file-|char_)[0-9a-f]{32}", id) for id in ids)
    assert {videos.poll(video.id).status for video in made} == {"completed"}
    assert watched.around() == before and not watched.touched("marzipan") and not watched.touched("evil.")


@pytest.mark.parametrize("way", ["../../beyond/one", "/beyond/one", "video_/../../../beyond/one", "file-/../../beyond/one"])
def test_no_way_leads_out_of_the_folder(watched: Watched, clip: bytes, way: str) -> None:
    (watched.root / "beyond").mkdir(exist_ok=True)
    (watched.root / "beyond" / "one.png").write_bytes(picture((1, 2, 3)))
    (watched.root / "beyond" / "one.mp4").write_bytes(clip)
    before = watched.around()
    there = f"{watched.root}{way}" if way.startswith("/") else way
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/videos", {"model": f"{there}.mp4"}), ("/videos", {"lora": f"{there}.png"}), ("/videos", {"lora": [{"name": there}]}),
        ("/videos", {"input_reference": {"file_id": f"{there}.png"}}), ("/videos", {"input_reference": f"{there}.png"}),
        ("/videos", {"input_reference": {"image_url": f"file://{there}.png"}}), ("/videos", {"characters": [{"id": there}]}),
        ("/videos", {"conditions": [{"source": f"{there}.png"}]}), ("/videos/edits", {"video": f"{there}.mp4"}),
        ("/videos/edits", {"video": {"id": there}}), ("/videos/extensions", {"video": {"id": f"{there}.mp4"}, "seconds": 1}),
        ("/batches", {"input_file_id": there, "endpoint": "/v1/videos", "completion_window": "24h"}),
    ]  # fmt: skip
    for path, fields in bodies:
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            watched.client.post(path, cast_to=object, body={"prompt": "x", **fields})
    for kind in ("videos", "videos/characters", "files", "batches", "webhooks"):
        for id in (there, quote(there, safe=""), quote(there, safe="").replace(".", "%2E")):
            for end in ("", "/content", "/recipe", "/events", "/content?variant=preview"):
                assert ask(watched, "GET", f"/v1/{kind}/{id}.mp4{end}")[0] in (400, 404)
            assert ask(watched, "DELETE", f"/v1/{kind}/{id}.mp4")[0] in (400, 404)
        assert ask(watched, "GET", f"/v1/{kind}?after={quote(there, safe='')}")[0] in (200, 400, 404)
    assert watched.around() == before and not watched.touched("beyond")


# the network


@LINUX
def test_by_default_the_server_listens_to_this_machine_alone(watched: Watched) -> None:
    assert listens(watched) == {"127.0.0.1"}


def test_during_a_whole_videos_life_nobody_is_spoken_to_but_whom_its_maker_named(watched: Watched) -> None:
    with closing(Receiver()) as receiver:
        hook = add(watched.client, receiver.url)
        done = watched.client.videos.create_and_poll(**SMALL, input_reference=("start.png", picture((1, 2, 3)), "image/png"))
        nano = {"num_inference_steps": 2, "fps": 8}
        own = watched.client.videos.create_and_poll(model="nano", prompt="a fox", seconds="1", size="64x64", extra_body=nano)
        assert watched.client.videos.download_content(done.id).read()
        receiver.wait(2)
        watched.client.delete(f"/webhooks/{hook['id']}", cast_to=object)
        for video in (done, own):
            assert video.status == "completed", video.error
            watched.client.videos.delete(video.id)
    spoken = watched.heard("socket.connect", "socket.send")
    assert {(pid, *about[1]) for pid, about in spoken} == {(watched.process.pid, "127.0.0.1", receiver.server.server_port)}
    names = {about[0] for _, about in watched.heard("socket.getaddrinfo", "socket.gethostby")}
    assert names <= {"127.0.0.1", "None"}, "nor is anybody's address asked for"
    assert len({pid for pid, _ in watched.heard("open")}) > 2, "the server and the worker were heard, and who reads files"


def test_pages_of_elsewhere_get_no_leave_to_ask(watched: Watched, guarded: Served, ann: openai.OpenAI) -> None:
    wants = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization, content-type"}
    wants |= {"Access_Control_Request_Private_Network": "true"}
    for server, key in ((watched, None), (guarded, ann.api_key)):
        for origin in ("https://example.org", "null", f"http://localhost:{server.port}", f"http://127.0.0.1:{server.port + 1}"):
            for path in ("/v1/videos", "/v1/health", "/v1/nothing"):
                status, headers, _ = ask(server, "OPTIONS", path, Origin=origin, **wants)
                asked, also, _ = ask(server, "GET", path, key=key, Origin=origin)
                assert status == asked == 403, "a browser would not hand over the answer, and here there is none"
                assert not [name for name in (*headers, *also) if name.lower().startswith("access-control")]
        status, headers, _ = ask(server, "GET", "/v1/videos", key=key, Origin=f"http://127.0.0.1:{server.port}")
        assert status == 200 and "access-control-allow-origin" not in headers, "its own pages need no leave"


def test_every_answer_tells_browsers_to_keep_their_hands_off(guarded: Served, ann: openai.OpenAI) -> None:
    key = ann.api_key
    reader, slow = (known(guarded, f"headers-{kind}", *words).api_key for kind, words in
                    (("reads", ("--owner", "ann", "--scope", "read")), ("slow", ("--rate", "1"))))  # fmt: skip
    done, gone = ann.videos.create_and_poll(**SMALL), ann.videos.create_and_poll(**SMALL)
    next((guarded.folder / "clips").glob(f"{gone.id}*")).unlink()  # which nobody foresees
    content, wrong = f"/v1/videos/{done.id}/content", f"unstrung_{'0' * 12}_{'0' * 48}"
    multipart = {"Content_Type": "multipart/form-data; boundary=x", "Content_Length": str(10**9)}
    answers = [
        (200, ask(guarded, "GET", "/v1/health")), (200, ask(guarded, "GET", "/openapi.json")),
        (200, ask(guarded, "GET", "/v1/videos", key=key)), (200, ask(guarded, "GET", content, key=key)),
        (200, ask(guarded, "GET", f"{content}?variant=thumbnail", key=key)), (200, ask(guarded, "GET", "/v1/export", key=key)),
        (200, ask(guarded, "GET", f"/v1/videos/{done.id}/events", key=key)),
        (206, ask(guarded, "GET", content, key=key, Range="bytes=1-3")),
        (400, ask(guarded, "POST", "/v1/videos", b"{}", key, Content_Type="application/json")),
        (401, ask(guarded, "GET", "/v1/videos")), (401, ask(guarded, "GET", content, key=wrong)),
        (403, ask(guarded, "POST", "/v1/videos", b"{}", reader, Content_Type="application/json")),
        (403, ask(guarded, "GET", "/v1/videos", key=key, Origin="https://example.org")),
        (404, ask(guarded, "GET", "/nowhere")), (404, ask(guarded, "GET", "/v1/videos/video_0", key=key)),
        (405, ask(guarded, "PUT", "/v1/videos", key=key)), (409, ask(guarded, "POST", f"/v1/videos/{done.id}/cancel", key=key)),
        (413, ask(guarded, "POST", "/v1/files", None, key, **multipart)),
        (415, ask(guarded, "POST", "/v1/videos", b"x", key, Content_Type="text/plain")),
        (416, ask(guarded, "GET", content, key=key, Range="bytes=999999999-")),
        (421, ask(guarded, "GET", "/v1/videos", key=key, Host="example.org")),
        (200, ask(guarded, "GET", "/v1/videos", key=slow)), (429, ask(guarded, "GET", "/v1/videos", key=slow)),
        (500, ask(guarded, "GET", f"/v1/videos/{gone.id}/content", key=key)),
    ]  # fmt: skip
    assert len(HEADERS) == 6 and HEADERS["x-content-type-options"] == "nosniff" and HEADERS["cache-control"] == "no-store"
    for expected, answer in answers:
        status, headers, body = answer
        assert status == expected, body
        assert {name: headers.get_all(name) for name in HEADERS} == {name: [value] for name, value in HEADERS.items()}, status
        assert (headers["x-request-id"] or "").startswith("req_") and headers["server"] is None
    assert int(answers[-2][1][1]["retry-after"] or 0) >= 1


@LINUX
def test_with_a_token_others_may_be_listened_to(tmp_path: Path) -> None:
    key = token(tmp_path, "ann")
    server = Served(tmp_path, "--host", "0.0.0.0", "--workers", "0")
    try:
        assert listens(server) == {"0.0.0.0"}
        assert ask(server, "GET", "/v1/videos", Host="films.example")[0] == 401
        assert ask(server, "GET", "/v1/videos", key=key, Host="films.example")[0] == 200
        assert unstrung(tmp_path, "tokens", "revoke", "ann").returncode == 0
        assert ask(server, "GET", "/v1/videos", key=key)[0] == ask(server, "GET", "/v1/videos")[0] == 401
    finally:
        server.stop()


@LINUX
def test_a_web_server_passes_questions_on_by_its_name(tmp_path: Path) -> None:
    """As nginx does that keeps the Host: the server listens to this machine alone, but whoever asks is elsewhere."""
    for name, words in (("films.example", "tokens create"), ("https://films.example/", "no scheme")):
        refused = unstrung(tmp_path, "serve", "--name", name, "--port", "1")
        assert refused.returncode == 2 and words in refused.stderr
    key = token(tmp_path, "ann")
    server = Served(tmp_path, "--name", "Films.example", "--workers", "0")
    try:
        assert listens(server) == {"127.0.0.1"}
        answers = {
            host: ask(server, "GET", "/v1/videos", key=key, Host=host, Origin=f"https://{host}")[0]
            for host in ("films.example", "FILMS.example:443", "localhost", "films.example.net", "example", "")
        }
        assert list(answers.values()) == [200, 200, 200, 421, 421, 421]
        assert ask(server, "GET", "/v1/videos", Host="films.example")[0] == 401
        unstrung(tmp_path, "tokens", "revoke", "ann")
        assert ask(server, "GET", "/v1/videos", Host="localhost")[0] == 401, "nobody is known by sitting at this machine"
    finally:
        server.stop()


def test_the_first_token_closes_an_open_server_at_once(tmp_path: Path) -> None:
    server = Served(tmp_path)
    try:
        before = server.client.videos.create_and_poll(**SMALL)
        ann = known(server, "ann")
        for asked in (server.client.videos.list, lambda: server.client.videos.retrieve(before.id)):
            with pytest.raises(openai.AuthenticationError):
                asked()
        assert not ann.videos.list().data, "what was made before is not the first comer's"
        with pytest.raises(openai.NotFoundError):
            ann.videos.download_content(before.id)
        boss = known(server, "boss", "--scope", "read", "--scope", "admin")
        assert [video.id for video in boss.videos.list()] == [before.id]
    finally:
        server.stop()


FAR = "93.184.215.14"  # an address of the public network, in a network of its own that no cable leads into
ASK_FAR = f"""
import json, sys, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import openai
from served import Served

there = ThreadingHTTPServer(("{FAR}", 8080), partial(SimpleHTTPRequestHandler, directory=sys.argv[1]))
threading.Thread(target=there.serve_forever, daemon=True).start()
server, found = Served(Path(sys.argv[2]), "--fetch-images"), []
try:
    for name in ("red.png", "folder", "page.png", "none.png"):  # for a folder, this server sends one on to another address
        reference = {{"input_reference": {{"image_url": "http://{FAR}:8080/" + name}}}}
        try:
            fields = {{"seconds": "1", "size": "64x48", "extra_body": reference}}
            done = server.client.videos.create_and_poll(prompt="a red room", **fields)
            found.append([done.status, done.id])
        except openai.BadRequestError as refused:
            found.append([refused.code, refused.param])
finally:
    server.stop()
print(json.dumps(found))
"""


def test_where_the_host_allows_it_pictures_of_the_public_network_are_fetched(tmp_path: Path) -> None:
    inside = ["unshare", "-rn", "sh", "-c", f'ip link set lo up && ip addr add {FAR} dev lo && exec "$@"', "sh"]
    try:
        able = subprocess.run([*inside, "true"], capture_output=True).returncode == 0
    except OSError:
        able = False
    if not able:
        pytest.skip("this machine gives no network of one's own, and has no public address")
    (tmp_path / "there" / "folder").mkdir(parents=True)
    (tmp_path / "there" / "red.png").write_bytes(picture((200, 30, 30)))
    (tmp_path / "there" / "page.png").write_bytes(b"<script>alert(1)</script>")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*inside, sys.executable, "-W", "ignore", "-c", ASK_FAR, tmp_path / "there", tmp_path / "data"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fetched, *refused = json.loads(done.stdout)
    assert fetched[0] == "completed"
    assert refused == [["redirect", "image_url"], ["unsupported_media", "input_reference"], ["fetch_failed", "image_url"]]
    made = read_clip(next((tmp_path / "data" / "clips").glob(f"{fetched[1]}*")))
    assert near(made.frames[0], np.full_like(made.frames[0], (200, 30, 30))) < 8


def listens(server: Served) -> set[str]:
    """The addresses at which a server's process listens, as the system says, and none at another port than its own."""
    links = [str(path.readlink()) for path in Path(f"/proc/{server.process.pid}/fd").iterdir() if path.is_symlink()]
    held, found = {link[8:-1] for link in links if link.startswith("socket:[")}, set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]] if Path(table).exists() else []
        for row in rows:
            if row[3] == "0A" and row[9] in held:  # it listens, and is this process's
                address, port = row[1].split(":")
                assert int(port, 16) == server.port
                packed = b"".join(bytes.fromhex(address[n : n + 8])[::-1] for n in range(0, len(address), 8))
                found.add(socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed))
    return found


# limits


def test_storage_is_held(guarded: Served, clip: bytes) -> None:
    dan = known(guarded, "dan", "--storage", "1")
    head = picture((1, 2, 3))

    def keep(size: int) -> str:
        return dan.files.create(file=("a.png", head + bytes(size - len(head))), purpose="vision").id

    keep(600_000)
    second = keep(400_000)
    for more in (
        lambda: keep(1000), lambda: dan.videos.create(**SMALL),
        lambda: dan.videos.create(**SMALL, input_reference=("x.png", head, "image/png")),
        lambda: dan.videos.create_character(name="Rusty", video=("x.mp4", clip)),
    ):  # fmt: skip
        with pytest.raises(openai.RateLimitError) as refused:
            more()
        assert refused.value.code == "over_limit" and refused.value.param == "storage" and "1000000" in refused.value.message
    dan.files.delete(second)
    assert dan.videos.create_and_poll(**SMALL).status == "completed"


# a clip belongs to its maker


def test_nothing_of_somebody_elses_can_be_used_or_seen(ann: openai.OpenAI, bob: openai.OpenAI) -> None:
    video = ann.videos.create_and_poll(**SMALL)
    film = ann.videos.download_content(video.id).read()
    character = ann.videos.create_character(name="Rusty", video=("x.mp4", film))
    file = ann.files.create(file=("x.png", picture((1, 2, 3))), purpose="vision")

    def create(**fields: Any) -> Any:
        return bob.videos.create(prompt="Rusty runs", seconds="1", size="64x48", extra_body=fields)

    asks: list[tuple[str, str, Any]] = [
        *[(video.id, "video_0", lambda id, what=what: bob.videos.download_content(id, variant=what))
          for what in ("video", "thumbnail", "spritesheet", "preview")],
        (video.id, "video_0", lambda id: bob.videos.remix(id, prompt="x")),
        (video.id, "video_0", lambda id: bob.videos.edit(prompt="x", **by(video={"id": id}))),
        (video.id, "video_0", lambda id: bob.videos.edit(prompt="x", **by(video=id))),
        (video.id, "video_0", lambda id: bob.videos.extend(prompt="x", seconds="1", **by(video={"id": id}))),
        (video.id, "video_0", lambda id: bob.post(f"/videos/{id}/unpublish", cast_to=object)),
        (video.id, "video_0", lambda id: bob.videos.list(after=id)),
        (video.id, "video_0", lambda id: bob.videos.list(after=id, extra_query={"public": "true"})),
        (character.id, "char_0", lambda id: bob.videos.get_character(id)),
        (character.id, "char_0", lambda id: bob.delete(f"/videos/characters/{id}", cast_to=object)),
        (character.id, "char_0", lambda id: create(characters=[{"id": id}])),
        (file.id, "file-0", lambda id: create(input_reference={"file_id": id})),
    ]  # fmt: skip
    for id, never, use in asks:
        with pytest.raises(openai.NotFoundError) as nothing:
            use(id)
        with pytest.raises(openai.NotFoundError) as never_was:
            use(never)
        assert nothing.value.message.replace(id, never) == never_was.value.message, "as if it had never been"
        assert nothing.value.param == never_was.value.param and nothing.value.code == never_was.value.code
    listed: Any = bob.get("/videos/characters", cast_to=object)
    seen = [found["id"] for found in listed["data"]] + [found.id for found in (*bob.videos.list(), *bob.files.list())]
    assert not {video.id, character.id, file.id} & set(seen)
    still = ann.videos.retrieve(video.id)
    assert still.status == "completed" and still.model_extra is not None and not still.model_extra["unstrung"]["public"]
    assert ann.videos.get_character(character.id).name == "Rusty" and ann.videos.download_content(video.id).read() == film


def test_what_is_asked_for_as_public_is_seen_by_others_until_it_is_taken_back(ann: openai.OpenAI, bob: openai.OpenAI) -> None:
    private = ann.videos.create_and_poll(**SMALL)
    public = ann.videos.create_and_poll(**{**SMALL, "extra_body": {"fps": 8, "public": True}})

    def seen() -> list[str]:
        return [video.id for video in bob.videos.list(extra_query={"public": "true"})]

    assert seen() == [public.id] and private.id not in seen()
    for variant in ("video", "thumbnail", "spritesheet", "preview"):
        mine = ann.videos.download_content(public.id, variant=variant).read()  # type: ignore[arg-type]
        assert bob.videos.download_content(public.id, variant=variant).read() == mine != b""  # type: ignore[arg-type]
    assert bob.videos.remix(public.id, prompt="a blue fox").remixed_from_video_id == public.id
    ann.post(f"/videos/{public.id}/unpublish", cast_to=object)
    assert not seen()
    for variant in ("video", "thumbnail", "spritesheet", "preview"):
        with pytest.raises(openai.NotFoundError):
            bob.videos.download_content(public.id, variant=variant)  # type: ignore[arg-type]
    assert ann.videos.retrieve(public.id).status == "completed"


def test_ids_can_not_be_guessed(watched: Watched, clip: bytes) -> None:
    videos, files = watched.client.videos, watched.client.files
    made = [videos.create(**{**SMALL, "extra_body": {"fps": 8, "n": 16}}) for _ in range(4)]
    ids = [id for video in made for id in (video.model_extra or {})["unstrung"]["variants"]]
    ids += [videos.create(**SMALL, extra_headers={"Idempotency-Key": str(n)}).id for n in range(8)]
    ids += [files.create(file=("x.png", picture((1, 2, 3))), purpose="vision").id for _ in range(4)]
    ids += [videos.create_character(name="Rusty", video=("x.mp4", clip)).id for _ in range(2)]
    matches = [re.fullmatch(r"(?:video_|file-|char_)([0-9a-f]{32})", id) for id in ids]
    drawn = [int(match[1], 16) for match in matches if match]
    assert len(drawn) == len(ids) == 78
    assert min((one ^ other).bit_count() for one, other in combinations(drawn, 2)) > 20, "no two are near each other"
    often = [sum(number >> bit & 1 for number in drawn) for bit in range(128)]
    assert sum(10 < count < 68 for count in often) >= 120, "every bit is as often set as not"


def test_a_key_of_ones_own_is_nobody_elses(ann: openai.OpenAI, bob: openai.OpenAI) -> None:
    key = {"Idempotency-Key": "mine"}
    first, other = ann.videos.create(**SMALL, extra_headers=key), bob.videos.create(**SMALL, extra_headers=key)
    assert first.id != other.id and ann.videos.create(**SMALL, extra_headers=key).id == first.id
    with pytest.raises(openai.NotFoundError):
        bob.videos.retrieve(first.id)


def test_who_knows_a_name_and_a_key_still_can_not_tell_the_id(ann: openai.OpenAI, tmp_path: Path) -> None:
    elsewhere = Served(tmp_path, "--workers", "0")
    try:
        key = {"Idempotency-Key": "known"}
        same = known(elsewhere, "ann").videos.create(**SMALL, extra_headers=key)
        assert same.id != ann.videos.create(**SMALL, extra_headers=key).id
    finally:
        elsewhere.stop()
