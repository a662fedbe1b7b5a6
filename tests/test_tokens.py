"""Who may ask: tokens from the command line, and what a served machine does with them. Every sentence of security has a test."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from served import Served
from unstrung.api.callers import WRONG_A_MINUTE, Rates
from unstrung.errors import InvalidRequest
from unstrung.job import Job
from unstrung.jobs.limits import Allowance, OverLimit
from unstrung.jobs.store import Store, StoredClip
from unstrung.jobs.tokens import Tokens
from unstrung.recipe import Recipe
from unstrung.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
SMALL: Any = {"prompt": "a fox", "seconds": "1", "size": "64x48"}


def unstrung(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "UNSTRUNG_DATA": str(folder)}
    return subprocess.run([sys.executable, "-m", "unstrung", *words], env=environment, capture_output=True, text=True)


def token(folder: Path, *words: str) -> str:
    done = unstrung(folder, "tokens", "create", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    token(folder, "first")
    server = Served(folder)
    yield server
    server.stop()


def known(served: Served, *words: str) -> openai.OpenAI:
    """A client with a new token."""
    return served.client.with_options(api_key=token(served.folder, *words))


def test_only_who_has_a_token_is_answered(served: Served) -> None:
    for wrong in ("none", "unstrung_" + "0" * 12 + "_" + "0" * 48):
        with pytest.raises(openai.AuthenticationError) as refused:
            served.client.with_options(api_key=wrong).videos.list()
        assert refused.value.code == "invalid_api_key" and refused.value.response.headers["www-authenticate"] == "Bearer"
    ann = known(served, "ann")
    assert ann.videos.create_and_poll(**SMALL).status == "completed"
    right = ann.api_key
    with pytest.raises(openai.AuthenticationError):
        ann.with_options(api_key=right[:-1] + ("0" if right[-1] != "0" else "1")).videos.list()


def test_tokens_are_kept_as_digests(served: Served) -> None:
    text = token(served.folder, "hidden")
    secret = text.rpartition("_")[2]
    for file in served.folder.glob("unstrung.db*"):
        assert secret.encode() not in file.read_bytes()
    with sqlite3.connect(served.folder / "unstrung.db") as connection:
        salt, digest = connection.execute("SELECT salt, digest FROM tokens WHERE name = 'hidden'").fetchone()
    import hashlib

    assert hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32).hex() == digest


def test_one_token_is_revoked_at_once_and_the_others_stay(served: Served) -> None:
    one, other = known(served, "cat-1", "--owner", "cat"), known(served, "cat-2", "--owner", "cat")
    video = one.videos.create(**SMALL)
    assert unstrung(served.folder, "tokens", "revoke", "cat-1").returncode == 0
    with pytest.raises(openai.AuthenticationError):
        one.videos.retrieve(video.id)
    assert other.videos.retrieve(video.id).id == video.id, "what was made stays its owner's"
    listed = json.loads(unstrung(served.folder, "tokens", "list", "--json").stdout)["tokens"]
    state = {t["name"]: t["revoked_at"] for t in listed}
    assert state["cat-1"] is not None and state["cat-2"] is None
    again = unstrung(served.folder, "tokens", "create", "cat-1")
    assert again.returncode == 2 and "another name" in again.stderr
    nobody = unstrung(served.folder, "tokens", "revoke", "nobody")
    assert nobody.returncode == 2 and "unstrung tokens list" in nobody.stderr


def test_what_goes_on_ends_with_its_token(tmp_path: Path) -> None:
    """An export of 128 MB, and the events of a video that nobody makes."""
    key, stays = token(tmp_path, "ann"), token(tmp_path, "bob")
    server = Served(tmp_path, "--workers", "0")
    try:
        store, film = Store(f"sqlite:///{tmp_path}/unstrung.db"), os.urandom(2**27)
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / "large.mp4").write_bytes(film)
        store.add(Job("video_large", Request("a fox", model="echo"), created_at=1.0, owner="ann"))
        job = store.claim("w")
        assert job is not None
        asked = {"prompt": "a fox"}
        recipe = Recipe(asked, asked, {"id": "echo"}, 1, {"sha256": "", "width": 2, "height": 2, "num_frames": 1, "fps": 1})
        clip = StoredClip(job.id, "ann", "large.mp4", len(film), hashlib.sha256(film).hexdigest(), recipe, 2.0)
        assert store.complete(job, clip)
        waits = server.client.with_options(api_key=key).videos.create(**SMALL)
        server.client.with_options(api_key=key).post(f"/videos/{waits.id}/publish", cast_to=object)

        def begin(path: str, key: str) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", f"/v1/{path}", headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read(16)
            return answer

        told = f"videos/{waits.id}/events"
        export, events, others = begin("export", key), begin(told, key), begin(told, stays)
        unstrung(tmp_path, "tokens", "revoke", "ann")
        time.sleep(1)
        taken = export.read()
        assert 0 < len(taken) < len(film), "what was on its way arrives, and then no more"
        server.client.with_options(api_key=stays).videos.retrieve(waits.id)
        store.cancel(waits.id)
        assert b"canceled" in others.read(), "who has a token still hears it all"
        before = events.read()
        assert b"queued" in before and b"canceled" not in before
    finally:
        server.stop()


def test_the_last_token_revoked_opens_no_door(tmp_path: Path) -> None:
    token(tmp_path, "only")
    server = Served(tmp_path)
    try:
        assert unstrung(tmp_path, "tokens", "revoke", "only").returncode == 0
        with pytest.raises(openai.AuthenticationError):
            server.client.videos.list()
    finally:
        server.stop()


def test_scopes_are_held(served: Served) -> None:
    ann = known(served, "scopes-rw", "--owner", "scopes")
    looks = known(served, "scopes-r", "--owner", "scopes", "--scope", "read")
    video = ann.videos.create_and_poll(**SMALL)
    assert looks.videos.retrieve(video.id).status == "completed"
    for forbidden in (lambda: looks.videos.create(**SMALL), lambda: looks.videos.delete(video.id)):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            forbidden()
        assert refused.value.code == "insufficient_scope" and "'write'" in refused.value.message
    admin = known(served, "boss", "--scope", "read", "--scope", "admin")
    assert admin.videos.retrieve(video.id).id == video.id
    unknown = unstrung(served.folder, "tokens", "create", "x", "--scope", "everything")
    assert unknown.returncode == 2 and not unknown.stdout and "read, write, admin" in unknown.stderr


def test_a_clip_is_its_makers_alone_until_it_is_published(served: Served) -> None:
    ann, bob = known(served, "ann-own"), known(served, "bob-own")
    video = ann.videos.create_and_poll(**SMALL)
    asks = (
        lambda: bob.videos.retrieve(video.id),
        lambda: bob.videos.download_content(video.id),
        lambda: bob.videos.download_content(video.id, variant="thumbnail"),
        lambda: bob.videos.delete(video.id),
        lambda: bob.get(f"/videos/{video.id}/recipe", cast_to=object),
        lambda: bob.get(f"/videos/{video.id}/events", cast_to=object),
        lambda: bob.post(f"/videos/{video.id}/cancel", cast_to=object),
        lambda: bob.post(f"/videos/{video.id}/retry", cast_to=object),
        lambda: bob.post(f"/videos/{video.id}/publish", cast_to=object),
        lambda: bob.videos.list(after=video.id),
    )
    for ask in asks:
        with pytest.raises(openai.NotFoundError) as nothing:
            ask()
        with pytest.raises(openai.NotFoundError) as never_was:
            bob.videos.retrieve("video_0")
        assert nothing.value.message.replace(video.id, "video_0") == never_was.value.message, "as if it had never been"
    assert not bob.videos.list().data and [v.id for v in ann.videos.list()] == [video.id]
    ann.post(f"/videos/{video.id}/publish", cast_to=object)
    assert bob.videos.retrieve(video.id).id == video.id and bob.videos.download_content(video.id).read()
    assert [v.id for v in bob.videos.list(extra_query={"public": "true"})] == [video.id] and not bob.videos.list().data
    for still in asks[3], asks[6], asks[8]:
        with pytest.raises(openai.NotFoundError):
            still()
    ann.post(f"/videos/{video.id}/unpublish", cast_to=object)
    with pytest.raises(openai.NotFoundError):
        bob.videos.retrieve(video.id)


def test_limits_are_held(served: Served) -> None:
    limits = "--jobs 2 --seconds 10 --largest 64x64 --storage 1".split()
    dan = known(served, "dan", *limits)

    def refused(**fields: Any) -> openai.RateLimitError:
        with pytest.raises(openai.RateLimitError) as error:
            dan.videos.create(**{**SMALL, **fields})
        assert error.value.code == "over_limit"
        return error.value

    assert "4096 pixels" in refused(size="96x64").message
    assert "10 s" in refused(seconds="12").message
    unstrung(served.folder, "jobs", "pause")
    try:
        first = dan.videos.create(**SMALL)
        dan.videos.create(**SMALL)
        assert refused().param == "concurrent_jobs"
        dan.post(f"/videos/{first.id}/cancel", cast_to=object)
        dan.videos.create(**SMALL)
        with pytest.raises(openai.RateLimitError):
            dan.post(f"/videos/{first.id}/retry", cast_to=object)
    finally:
        unstrung(served.folder, "jobs", "resume")


def test_who_asks_too_often_waits(served: Served) -> None:
    eve = known(served, "eve", "--rate", "5")
    for _ in range(5):
        eve.videos.list()
    with pytest.raises(openai.RateLimitError) as refused:
        eve.videos.list()
    assert refused.value.code == "rate_limited" and int(refused.value.response.headers["retry-after"]) >= 1
    known(served, "eve-2").videos.list()  # everybody else does not
    codes = set()
    for _ in range(WRONG_A_MINUTE + 5):
        with pytest.raises(openai.APIStatusError) as wrong:
            served.client.videos.list()
        codes.add(wrong.value.status_code)
    assert codes == {401, 429}


def test_other_machines_are_not_let_in_without_tokens(tmp_path: Path) -> None:
    refused = unstrung(tmp_path, "serve", "--host", "0.0.0.0", "--port", "1")
    assert refused.returncode == 2 and "unstrung tokens create" in refused.stderr
    token(tmp_path, "gone")
    unstrung(tmp_path, "tokens", "revoke", "gone")
    assert unstrung(tmp_path, "serve", "--host", "0.0.0.0", "--port", "1").returncode == 2
    odd = unstrung(tmp_path, "serve", "--host", "example.com")
    assert odd.returncode == 2 and "0.0.0.0" in odd.stderr


def test_amounts_are_counted_in_both_stores(store_url: str) -> None:
    store = Store(store_url)
    echo = Request("a fox", model="echo")
    ended = Job("a", echo, created_at=1.0, owner="ann")
    store.add(ended)
    mine = store.claim("w")
    assert mine is not None
    recipe = Recipe(
        {"prompt": "x"}, {"prompt": "x"}, {"id": "echo"}, 1, {"sha256": "", "width": 2, "height": 2, "num_frames": 1, "fps": 1}
    )
    store.complete(mine, StoredClip("a", "ann", "a.mp4", 500, "0", recipe, 2.0))
    more = Job("b", echo, created_at=3.0, owner="ann", seconds=5.0)
    for allowance, field in (
        (Allowance(storage_bytes=500), "storage"), (Allowance(seconds_a_day=4.9), "seconds"), (Allowance(concurrent_jobs=0), "concurrent_jobs"),
    ):  # fmt: skip
        with pytest.raises(OverLimit) as over:
            store.add(more, allowance)
        assert over.value.field == field
    store.add(more, Allowance(storage_bytes=501, seconds_a_day=5.0, concurrent_jobs=1))
    with pytest.raises(OverLimit):
        store.add(Job("c", echo, created_at=3.0, owner="ann"), Allowance(concurrent_jobs=1))
    store.add(Job("d", echo, created_at=3.0, owner="bob"), Allowance(concurrent_jobs=1))
    tokens = Tokens(store)
    assert not tokens.ever() and tokens.find("unstrung_0_0") is None
    made, text = tokens.create("ann", scopes=("read",), allowance=Allowance(concurrent_jobs=3))
    assert tokens.ever() and tokens.find(text) == made == Tokens(store).find(text)
    with pytest.raises(InvalidRequest, match="concurrent_jobs"):
        tokens.create("odd", allowance=Allowance(concurrent_jobs=0))
    with pytest.raises(InvalidRequest, match="letters"):
        tokens.create("../../x")


def test_a_pace_is_held() -> None:
    rates = Rates()
    assert [rates.take("a", 60) for _ in range(60)] == [0.0] * 60
    assert 0 < rates.take("a", 60) <= 1 and rates.take("b", 60) == 0
