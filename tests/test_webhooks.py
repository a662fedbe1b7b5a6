"""Webhooks: a real receiver, a real server that is also killed, and OpenAI's own client to say whether a signature is right."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import InvalidWebhookSignatureError
from sqlalchemy.exc import IntegrityError

from served import Served
from test_store import clip, job
from test_tokens import known, token, unstrung
from unstrung.api.sender import LOOK, OF_AN_OWNER, Sender, sign
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Job, JobError, Status
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.store import MAX_ATTEMPTS, Store
from unstrung.jobs.webhooks import MOST, ROTATION, Webhooks
from unstrung.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL: Any = {"prompt": "a fox", "seconds": "1", "size": "64x48"}
QUICKLY = ("--allow-private-webhooks", "--webhook-retry", "0.1", "--webhook-retry", "0.2", "--webhook-retry", "0.2")
PAGE = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text()


class Receiver:
    """A program that is told: what it has heard, and what it answers, given the n-th time that it is told something."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 200) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answer = answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.answer(len(receiver.heard)))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Be silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def wait(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until so much was heard; return the events."""
        end = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(self.heard) >= count, f"{len(self.heard)} of {count} came"
        return self.events()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in list(self.heard)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hooked")
    token(folder, "first")
    server = Served(folder, *QUICKLY)
    yield server
    server.stop()


def add(client: openai.OpenAI, url: str, **more: Any) -> Any:
    return client.post("/webhooks", cast_to=object, body={"url": url, **more})


def look(client: openai.OpenAI, id: str) -> Any:
    return client.get(f"/webhooks/{id}", cast_to=object)


def until(client: openai.OpenAI, id: str, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until a webhook's last delivery is as wished."""
    for _ in range(3000):
        last: dict[str, Any] = look(client, id)["deliveries"][0]
        if found(last):
            return last
        time.sleep(0.02)
    raise AssertionError(last)


def test_openais_client_unwraps_what_comes(served: Served, receiver: Receiver) -> None:
    ann = known(served, "unwraps")
    hook = add(ann, receiver.url)
    video = ann.videos.create_and_poll(**SMALL)
    receiver.wait(1)
    headers, body = receiver.heard[0]
    assert headers["content-type"] == "application/json"
    event = ann.webhooks.unwrap(body, headers, secret=hook["secret"])
    assert event.type == "video.completed" and event.data.id == video.id  # type: ignore[comparison-overlap, union-attr]
    assert event.id == headers["webhook-id"] and event.object == "event" and abs(event.created_at - time.time()) < 300
    assert json.loads(body)["data"] == {"id": video.id}, "and nothing of the prompt"
    last = until(ann, hook["id"], lambda d: d["delivered_at"] is not None)
    assert (last["id"], last["attempts"], last["status"], last["next_at"]) == (event.id, 1, 200, None)

    wrong = body.replace(b"completed", b"completes")
    other = "whsec_" + "A" * 43 + "="
    for payload, with_headers, secret in (
        (wrong, headers, hook["secret"]), (body, {**headers, "webhook-id": "evt_0"}, hook["secret"]), (body, headers, other),
    ):  # fmt: skip
        with pytest.raises(InvalidWebhookSignatureError):
            ann.webhooks.unwrap(payload, with_headers, secret=secret)
    old = int(time.time()) - 400  # rightly signed, and replayed later
    replayed = {
        **headers,
        "webhook-timestamp": str(old),
        "webhook-signature": sign([hook["secret"]], event.id, old, body.decode()),
    }
    ann.webhooks.verify_signature(body, replayed, secret=hook["secret"], tolerance=1000)
    with pytest.raises(InvalidWebhookSignatureError, match="too old"):
        ann.webhooks.unwrap(body, replayed, secret=hook["secret"])


def test_a_receiver_that_fails_is_told_again_under_the_same_id(served: Served, receiver: Receiver) -> None:
    receiver.answer = lambda n: 500 if n <= 2 else 204
    ann = known(served, "again")
    hook = add(ann, receiver.url)
    ann.videos.create(**SMALL)
    receiver.wait(3)
    last = until(ann, hook["id"], lambda d: d["delivered_at"] is not None)
    assert (last["attempts"], last["status"], last["error"]) == (3, 204, None)
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == len({body for _, body in receiver.heard}) == 1
    for headers, body in receiver.heard:
        ann.webhooks.unwrap(body, headers, secret=hook["secret"])
    assert len(receiver.heard) == 3


def test_what_is_never_received_is_given_up_and_says_so(served: Served, receiver: Receiver) -> None:
    ann = known(served, "never")
    receiver.answer = lambda _: 302
    hook = add(ann, receiver.url)
    ann.post(f"/webhooks/{hook['id']}/test", cast_to=object)
    last = until(ann, hook["id"], lambda d: d["next_at"] is None)
    assert last["delivered_at"] is None and "redirect" in last["error"] and "Given up after 4 attempts" in last["error"]
    assert [event["type"] for event in receiver.events()] == ["webhook.test"] * 4
    assert look(ann, hook["id"])["active"], "it will hear of what comes"


def test_a_receiver_that_is_gone_hears_nothing_more(served: Served, receiver: Receiver) -> None:
    ann = known(served, "gone")
    receiver.answer = lambda _: 410
    hook = add(ann, receiver.url)
    ann.videos.create_and_poll(**SMALL)
    last = until(ann, hook["id"], lambda d: d["next_at"] is None)
    assert last["status"] == 410
    while look(ann, hook["id"])["active"]:
        time.sleep(0.02)
    ann.videos.create_and_poll(**SMALL)
    with pytest.raises(openai.ConflictError):
        ann.post(f"/webhooks/{hook['id']}/test", cast_to=object)
    assert len(look(ann, hook["id"])["deliveries"]) == len(receiver.heard) == 1


def test_canceled_and_failed_are_failed(served: Served, receiver: Receiver) -> None:
    ann = known(served, "fails")
    hook = add(ann, receiver.url, events=["video.failed"])
    ann.videos.create_and_poll(**SMALL)
    long = ann.videos.create(prompt="x", size="1280x720", seconds="60", extra_body={"num_inference_steps": 500})
    ann.post(f"/videos/{long.id}/cancel", cast_to=object)
    store = Store(f"sqlite:///{served.folder}/unstrung.db")
    store.add(Job("video_bad", Request("a fox", model="echo", width=10_000, height=48), created_at=time.time(), owner="fails"))
    found = {event["data"]["id"]: event for event in receiver.wait(2)}
    assert {event["type"] for event in found.values()} == {"video.failed"} and set(found) == {long.id, "video_bad"}
    assert found[long.id]["data"]["error"] == {"code": "canceled"} and found["video_bad"]["data"]["error"]["code"]
    assert hook["events"] == ["video.failed"]


def test_a_webhook_is_its_owners_alone(served: Served, receiver: Receiver) -> None:
    ann, bob = known(served, "ann-hook"), known(served, "bob-hook")
    others = Receiver()
    hook = add(ann, receiver.url)
    add(bob, others.url)
    asks: list[Callable[[str], Any]] = [
        lambda id: bob.get(f"/webhooks/{id}", cast_to=object),
        lambda id: bob.delete(f"/webhooks/{id}", cast_to=object),
        lambda id: bob.post(f"/webhooks/{id}/test", cast_to=object),
        lambda id: bob.post(f"/webhooks/{id}/rotate", cast_to=object),
    ]
    for ask in asks:
        said = []
        for id in (hook["id"], "webhook_0"):
            with pytest.raises(openai.NotFoundError) as nothing:
                ask(id)
            said.append(nothing.value.message.replace(id, ""))
        assert said[0] == said[1], "as if it had never been"
    listed: Any = bob.get("/webhooks", cast_to=object)
    assert [h["url"] for h in listed["data"]] == [others.url]
    mine = ann.videos.create_and_poll(**SMALL)
    theirs = bob.videos.create_and_poll(**SMALL)
    assert [e["data"]["id"] for e in receiver.wait(1)] == [mine.id]
    assert [e["data"]["id"] for e in others.wait(1)] == [theirs.id], "nothing of ann's, which came before"
    others.close()
    looks = known(served, "looks", "--owner", "ann-hook", "--scope", "read")
    assert look(looks, hook["id"])["url"] == receiver.url
    for forbidden in (lambda: add(looks, receiver.url), lambda: looks.post(f"/webhooks/{hook['id']}/rotate", cast_to=object)):
        with pytest.raises(openai.PermissionDeniedError):
            forbidden()
    gone: Any = ann.delete(f"/webhooks/{hook['id']}", cast_to=object)
    assert gone == {"id": hook["id"], "object": "webhook.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        look(ann, hook["id"])


def test_a_secret_is_shown_twice_and_changed_without_a_gap(served: Served, receiver: Receiver) -> None:
    ann = known(served, "rotates")
    hook = add(ann, receiver.url)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", hook["secret"])
    for shown in (look(ann, hook["id"]), ann.get("/webhooks", cast_to=object)):
        assert "whsec_" not in json.dumps(shown)
    changed: Any = ann.post(f"/webhooks/{hook['id']}/rotate", cast_to=object)
    assert changed["secret"] != hook["secret"] and changed["id"] == hook["id"]
    ann.post(f"/webhooks/{hook['id']}/test", cast_to=object)
    receiver.wait(1)
    headers, body = receiver.heard[0]
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (hook["secret"], changed["secret"]):
        assert ann.webhooks.unwrap(body, headers, secret=secret).type == "webhook.test"  # type: ignore[comparison-overlap]
    kept = Webhooks(Store(f"sqlite:///{served.folder}/unstrung.db")).get(hook["id"])
    now = time.time()
    assert kept.signing(now) == [changed["secret"], hook["secret"]] and kept.signing(now + ROTATION) == [changed["secret"]]


def test_who_answers_slowly_holds_up_nobody(served: Served, receiver: Receiver) -> None:
    ann, bob = known(served, "slow"), known(served, "quick")
    go_on = threading.Event()
    slow = [Receiver(lambda _: 200 if go_on.wait(60) else 500) for _ in range(3)]
    hooks = [add(ann, each.url) for each in slow]
    add(bob, receiver.url)
    for hook in hooks:
        ann.post(f"/webhooks/{hook['id']}/test", cast_to=object)
    with pytest.raises(openai.ConflictError):  # one test at a time
        ann.post(f"/webhooks/{hooks[0]['id']}/test", cast_to=object)
    while sum(len(each.heard) for each in slow) < 2:
        time.sleep(0.02)
    for _ in range(3):
        bob.videos.create(**SMALL)
    receiver.wait(3)
    go_on.set()
    for each in slow:
        each.wait(1)
        each.close()


def test_bad_requests_say_why(served: Served) -> None:
    ann = known(served, "bad-hooks")

    def refused(param: str, **fields: Any) -> str:
        with pytest.raises(openai.BadRequestError) as error:
            ann.post("/webhooks", cast_to=object, body=fields)
        assert error.value.param == param
        return error.value.message

    here = "https://films.example/hook"
    assert "url" in refused("url") and "http://" in refused("url", url="ftp://x.example/")
    assert "password" in refused("url", url="https://a:b@films.example/")
    assert "video.failed" in refused("events", url=here, events=["video.started"])
    assert "list" in refused("events", url=here, events="video.failed") and "empty" in refused("events", url=here, events=[])
    assert "known are" in refused("secret", url=here, secret="mine")
    for _ in range(MOST):
        add(ann, here)
    with pytest.raises(openai.RateLimitError) as over:
        add(ann, here)
    assert over.value.code == "over_limit" and str(MOST) in over.value.message
    add(known(served, "bad-hooks-2"), here)
    document: Any = ann.with_options(base_url=f"http://127.0.0.1:{served.port}").get("/openapi.json", cast_to=object)
    assert set(document["webhooks"]) == {"video.completed", "video.failed"}
    assert {"/v1/webhooks", "/v1/webhooks/{webhook_id}/rotate"} <= set(document["paths"])


def test_this_hosts_network_is_closed_unless_its_host_opens_it(tmp_path: Path, receiver: Receiver) -> None:
    server = Served(tmp_path)
    try:
        for url in (
            receiver.url,
            receiver.url.replace("127.0.0.1", "0x7f.1"),
            "http://169.254.169.254/",
            "http://[::ffff:10.0.0.1]/",
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                add(server.client, url)
            assert refused.value.code == "private_address"
        named = add(
            server.client, receiver.url.replace("127.0.0.1", "localhost")
        )  # what a name stands for is seen when it is asked
        host = json.loads(unstrung(tmp_path, "webhooks", "add", receiver.url, "--json").stdout)
        video = server.client.videos.create_and_poll(**SMALL)
        for id in (named["id"], host["id"]):
            last = until(server.client, id, lambda d: d["error"] is not None)
            assert "public network" in last["error"] and last["video_id"] == video.id and last["next_at"] > time.time() - 60
        assert not receiver.heard
    finally:
        server.stop()


def test_webhooks_from_the_command_line(tmp_path: Path) -> None:
    done = unstrung(tmp_path, "webhooks", "add", "https://films.example/hook", "--owner", "ann", "--event", "video.failed")
    assert done.returncode == 0 and re.fullmatch(r"whsec_\S{44}\n", done.stdout) and "'ann'" in done.stderr
    listed = unstrung(tmp_path, "webhooks", "list").stdout
    assert "owner ann  video.failed  https://films.example/hook  active" in listed and "whsec_" not in listed
    (found,) = json.loads(unstrung(tmp_path, "webhooks", "list", "--json").stdout)["webhooks"]
    assert found["owner"] == "ann" and not {"secret", "old_secret"} & set(found)
    assert unstrung(tmp_path, "webhooks", "remove", found["id"]).returncode == 0
    again = unstrung(tmp_path, "webhooks", "remove", found["id"])
    assert again.returncode == 2 and "unstrung webhooks list" in again.stderr
    bad = unstrung(tmp_path, "webhooks", "add", "films.example")
    assert bad.returncode == 2 and "http://" in bad.stderr


def test_killed_between_a_videos_end_and_its_delivery_it_arrives_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    server = Served(tmp_path, *QUICKLY, "--workers", "0")
    hook = add(server.client, receiver.url)
    first = server.client.videos.create(**SMALL)
    hung = threading.Event()
    receiver.answer = lambda n: 200 if n > 1 or hung.wait(120) else 500
    unstrung(tmp_path, "worker", "--once")
    receiver.wait(1)
    server.process.kill()  # while it waits for the answer
    server.process.wait()
    store = Store(f"sqlite:///{tmp_path}/unstrung.db")
    assert Webhooks(store).deliveries(hook["id"])[0].delivered_at is None
    second = store.submit(Request("x", width=64, height=48, num_frames=9), Request("x", model="echo", seed=1, width=64, height=48, num_frames=9, fps=24, seconds=0.375, num_inference_steps=2))  # fmt: skip
    unstrung(tmp_path, "worker", "--once")  # nobody serves
    again = Served(tmp_path, *QUICKLY, "--workers", "0")
    try:
        receiver.wait(3)
        until(again.client, hook["id"], lambda d: d["delivered_at"] is not None)
        ids = {(event["data"]["id"], event["id"], event["type"]) for event in receiver.events()}
        assert sorted(video for video, _, _ in ids) == sorted([first.id, second.id]) and {k for _, _, k in ids} == {
            "video.completed"
        }
        assert {headers["webhook-id"] for headers, _ in receiver.heard} == {id for _, id, _ in ids}
    finally:
        hung.set()
        again.stop()


@pytest.mark.parametrize("rounds", [int(os.environ.get("UNSTRUNG_KILLS", "5"))])
def test_killed_at_any_instruction_every_end_is_told_under_one_id(
    store_url: str, tmp_path: Path, receiver: Receiver, rounds: int
) -> None:
    store = Store(store_url)
    Webhooks(store).add(receiver.url)
    asked = {"width": 320, "height": 192, "num_frames": 25, "fps": 24}
    whole = Request("x", model="echo", seed=1, seconds=25 / 24, num_inference_steps=4, **asked)  # type: ignore[arg-type]
    ids = [store.submit(Request("x", **asked), whole).id for _ in range(8)]  # type: ignore[arg-type]
    rng = random.Random(1)
    options = (*QUICKLY, "--store", store_url)
    server = Served(tmp_path, *options)
    for _ in range(rounds):
        time.sleep(rng.random() * 1.5)
        server.process.kill()
        server.process.wait()
        for failed in store.page(status=Status.FAILED):
            assert failed.error is not None and failed.error.code == "worker_lost"
        server = Served(tmp_path, *options)
    try:
        end = time.monotonic() + 180
        while time.monotonic() < end and {e["data"]["id"] for e in receiver.events()} != set(ids):
            time.sleep(0.05)
    finally:
        server.stop()
    told = {(event["data"]["id"], event["id"]) for event in receiver.events()}
    assert sorted(id for id, _ in told) == sorted(ids)


def end(store: Store, id: str, owner: str | None = None) -> None:
    store.add(job(id, owner))
    mine = store.claim("w")
    assert mine is not None and mine.id == id and store.complete(mine, clip(mine))


def test_an_end_and_what_is_to_be_told_of_it_are_one(store_url: str) -> None:
    store = Store(store_url)
    hooks = Webhooks(store)
    ann, bob, nobody = (hooks.add("http://a.example/", owner) for owner in ("ann", "bob", None))
    store.add(job("a", "ann"))
    mine = store.claim("w")
    assert mine is not None and not hooks.deliveries(ann.id)
    end(store, "other", "bob")
    with pytest.raises(IntegrityError):  # a clip of that name is there: the transaction is undone
        store.complete(mine, clip(store.get("other")))
    assert store.get("a").status is Status.IN_PROGRESS and not hooks.deliveries(ann.id)
    assert store.complete(mine, clip(mine)) and not store.complete(mine, clip(mine))
    assert [d.job_id for d in hooks.deliveries(ann.id)] == ["a"]
    store.add(job("b"))
    store.cancel("b")
    store.retry("b")
    for _ in range(MAX_ATTEMPTS):
        assert store.claim("w") is not None and store.release(worker="w") == 1
    told = [json.loads(d.body) for d in hooks.deliveries(nobody.id)]
    assert sorted(e["data"]["error"]["code"] for e in told) == ["canceled", "worker_lost"] and len({e["id"] for e in told}) == 2
    store.add(job("c", "bob"))
    mine = store.claim("w")
    assert mine is not None and store.fail(mine, JobError("odd", "secret prompt")) and store.give_back(mine) is False
    assert "secret" not in hooks.deliveries(bob.id)[0].body and [d.job_id for d in hooks.deliveries(bob.id)] == ["c", "other"]
    with pytest.raises(UnstrungError):
        hooks.get(ann.id, "bob")
    with pytest.raises(InvalidRequest):
        hooks.add("http://a.example/", "ann", ["video.*"])
    hooks.remove(bob.id, "bob")
    assert not hooks.deliveries(bob.id) and [h.id for h in hooks.list("ann")] == [ann.id] and len(hooks.list()) == 2


def test_an_attempt_is_one_senders_until_it_is_due_again(store_url: str) -> None:
    store, hooks = Store(store_url), Webhooks(Store(store_url))
    one, two = hooks.add("http://a.example/"), hooks.add("http://b.example/")
    for id in ("a", "b", "c"):
        end(store, id)
    now = time.time()
    assert [(d.job_id, hook.id) for d, hook in hooks.due(now, [two.id])] == [("a", one.id)], "one of each, the first"
    assert len(hooks.due(now)) == 2 and not hooks.due(now, [one.id, two.id]) and not hooks.due(now - 60)
    due = hooks.due(now, [two.id])[0][0]
    taken = hooks.take(due, now + 30)
    assert taken is not None and taken.attempts == 1 and hooks.take(due, now + 30) is None
    assert hooks.due(now, [two.id])[0][0].job_id == "b" and hooks.due(now + 31, [two.id])[0][0].job_id == "b"
    hooks.missed(taken, 500, "no", now - 100)
    again = hooks.take(hooks.due(now, [two.id])[0][0], now + 30)
    assert again is not None and (again.event_id, again.attempts, again.status) == (due.event_id, 2, 500)
    hooks.missed(taken, None, "too late", None)
    assert hooks.deliveries(one.id)[-1].error == "no", "who was too slow says no more of it"
    hooks.delivered(again, 200)
    hooks.deactivate(two.id, "gone")
    assert not [d for d, hook in hooks.due(now + 3600) if hook.id == two.id]
    assert hooks.forget(now - 60) == 0 and hooks.forget(now + 60) == 4 and len(hooks.deliveries(one.id)) == 2
    for _ in range(MOST - 2):
        hooks.add("http://a.example/")
    with pytest.raises(OverLimit):
        hooks.add("http://a.example/")


def test_two_senders_send_each_event_once(store_url: str, receiver: Receiver) -> None:
    store = Store(store_url)
    for _ in range(3):
        Webhooks(store).add(receiver.url)
    for n in range(15):
        end(store, f"j{n}")
    said: list[str] = []
    senders = [Sender(Store(store_url), said.append, allow_private=True) for _ in range(3)]
    for sender in senders:
        sender.start()
    receiver.wait(45)
    for sender in senders:
        sender.stop()
    heard = [(event["data"]["id"], event["id"]) for event in receiver.events()]
    assert len(heard) == 45 and len(set(heard)) == 15 and not said, said


def test_of_one_owner_two_are_told_at_a_time(store_url: str) -> None:
    store, go_on = Store(store_url), threading.Event()
    slow = [Receiver(lambda _: 200 if go_on.wait(60) else 500) for _ in range(4)]
    for each in slow:
        Webhooks(store).add(each.url, "ann")
    end(store, "a", "ann")
    sender = Sender(store, lambda _: None, allow_private=True)
    sender.start()
    while sum(len(each.heard) for each in slow) < OF_AN_OWNER:
        time.sleep(0.02)
    time.sleep(4 * LOOK)
    assert sum(len(each.heard) for each in slow) == OF_AN_OWNER
    go_on.set()
    for each in slow:
        each.wait(1)
        each.close()
    sender.stop()


def test_the_pages_receiver_and_its_verification_by_hand(tmp_path: Path) -> None:
    program, by_hand = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Served(tmp_path, *QUICKLY)
    hook = add(server.client, f"http://127.0.0.1:{port}/")
    environment = {**os.environ, "WEBHOOK_SECRET": hook["secret"]}
    command = [sys.executable, "-c", program.replace("9000", str(port))]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    other = Receiver()
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None
            time.sleep(0.05)
        second = add(server.client, other.url)
        video = server.client.videos.create_and_poll(**SMALL)
        assert process.stdout is not None and process.stdout.readline() == f"video.completed {video.id}\n"
        other.wait(1)
        headers, body = other.heard[0]
        names: dict[str, Any] = {}
        exec(by_hand, names)
        assert names["verify"](second["secret"], headers, body)
        assert not names["verify"](second["secret"], headers, body + b" ") and not names["verify"](hook["secret"], headers, body)
        assert not names["verify"](second["secret"], {**headers, "webhook-timestamp": "1"}, body)
    finally:
        process.kill()
        process.wait()
        other.close()
        server.stop()
