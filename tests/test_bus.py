"""Listening to a video over HTTP: many at once, cut off and come again, the server killed in the middle, the video removed."""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from served import Served
from unstrung.jobs.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
LONG: Any = {"prompt": "a fox", "size": "640x360", "seconds": "10", "extra_body": {"num_inference_steps": 40}}


class Listener:
    """A client of the stream: what it has heard, and how often the line was only kept open."""

    def __init__(self, served: Served, id: str, heard: int = 0, query: str = "") -> None:
        self.heard: list[tuple[int, str, dict[str, Any]]] = []
        self.kept_open = 0
        self.line = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        self.line.request("GET", f"/v1/videos/{id}/events{query}", headers={"Last-Event-ID": str(heard)})
        self.answer = self.line.getresponse()
        assert self.answer.status == 200 and self.answer.headers["content-type"].startswith("text/event-stream")

    def listen(self, events: int | None = None) -> list[int]:
        """Hear so many events, or all until the stream ends or breaks; return their numbers."""
        fields: dict[str, str] = {}
        try:
            while events is None or len(self.heard) < events:
                line = self.answer.readline().decode().rstrip("\n")
                if not line and self.answer.isclosed():
                    break
                if line.startswith(":"):
                    self.kept_open += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    self.heard.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
                    fields = {}
        except (OSError, http.client.HTTPException):
            pass  # cut off
        return [number for number, _, _ in self.heard]


def test_previews_come_with_their_pictures_where_somebody_asks_for_them(served: Served) -> None:
    video = served.client.videos.create(**LONG)
    seeing, plain = Listener(served, video.id, query="?pictures=true"), Listener(served, video.id)
    seeing.listen()
    plain.listen()
    assert [event[:2] for event in seeing.heard] == [event[:2] for event in plain.heard]
    pictures = [data["picture"] for _, kind, data in seeing.heard if kind == "preview" and "picture" in data]
    assert pictures and not any("picture" in data for _, _, data in plain.heard)
    for picture in pictures:
        kind, _, data = picture.partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).format == "PNG"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("heard"))
    yield server
    server.stop()


def pause(served: Served, word: str) -> None:
    subprocess.run([sys.executable, "-m", "unstrung", "jobs", word], env=served.environment, check=True)


def test_all_who_listen_hear_the_same_and_nothing_is_missing(served: Served) -> None:
    pause(served, "pause")
    id = served.client.videos.create(**LONG).id
    listeners = [Listener(served, id) for _ in range(40)]
    threads = [threading.Thread(target=listener.listen) for listener in listeners]
    for thread in threads:
        thread.start()
    pause(served, "resume")
    while served.client.videos.retrieve(id).progress < 20:
        time.sleep(0.05)
    for _ in range(10):  # and some who come late
        listeners.append(Listener(served, id))
        threads.append(threading.Thread(target=listeners[-1].listen))
        threads[-1].start()
    for thread in threads:
        thread.join()
    whole = listeners[0].heard
    assert [number for number, _, _ in whole] == list(range(1, len(whole) + 1)) and len(whole) > 40
    assert whole[-1][2]["status"] == "completed"
    assert all(listener.heard == whole for listener in listeners)
    store = Store(f"sqlite:///{served.folder}/unstrung.db")
    assert [event.number for event in store.events(id)] == [number for number, _, _ in whole]


def test_who_is_cut_off_comes_again_and_misses_nothing(served: Served) -> None:
    id = served.client.videos.create(**LONG).id
    heard: list[int] = []
    for events in (1, 4, 9, None):
        listener = Listener(served, id, heard[-1] if heard else 0)
        heard += listener.listen(events)
        listener.line.close()
    assert heard == list(range(1, len(heard) + 1)) and len(heard) > 40
    assert Listener(served, id, heard[-1]).listen() == [], "who has heard all hears nothing twice"
    assert Listener(served, id, 10_000).listen() == heard, "numbers that this store never gave: all that there is"


def test_a_server_that_is_killed_is_found_again(tmp_path: Path) -> None:
    server = Served(tmp_path)
    id = server.client.videos.create(**LONG).id
    listener = Listener(server, id)
    heard = listener.listen(8)
    server.process.kill()
    server.process.wait()
    heard = listener.listen()
    again = Served(tmp_path)
    try:
        listener = Listener(again, id, heard[-1])
        heard += listener.listen()
        assert heard == list(range(1, len(heard) + 1))
        assert listener.heard[-1][2]["status"] == "completed"
        states = [
            event.data["status"] for event in Store(f"sqlite:///{tmp_path}/unstrung.db").events(id) if event.kind == "state"
        ]
        assert states[-1] == "completed" and states.count("completed") == 1
    finally:
        again.stop()


def test_a_video_that_is_removed_ends_the_stream(served: Served) -> None:
    pause(served, "pause")
    try:
        id = served.client.videos.create(**LONG).id
        listeners = [Listener(served, id) for _ in range(3)]
        assert all(listener.listen(1) == [1] for listener in listeners)
        served.client.videos.delete(id)
        for listener in listeners:
            assert listener.listen() in ([1], [1, 2]), "its cancelling may be heard, then there is nothing any more"
    finally:
        pause(served, "resume")


def test_a_silent_line_is_kept_open_and_a_server_that_stops_does_not_wait_for_it(tmp_path: Path) -> None:
    server = Served(tmp_path)
    pause(server, "pause")
    listener = Listener(server, server.client.videos.create(**LONG).id)
    listening = threading.Thread(target=listener.listen)
    listening.start()
    while not listener.kept_open:
        assert listening.is_alive()
        time.sleep(0.1)
    server.stop()
    listening.join()
    assert [number for number, _, _ in listener.heard] == [1]
