"""Reports of videos: attached to a recipe, their reporter's own, and a ledger that only grows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from served import Served
from test_tokens import SMALL, known, token, unstrung
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.job import Job
from unstrung.jobs.feedback import MOST_OPEN, FeedbackState, NoSuchFeedback, answer, get, lines, page, report
from unstrung.jobs.limits import OverLimit
from unstrung.jobs.store import Store, StoredClip
from unstrung.recipe import Recipe
from unstrung.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("reported")
    token(folder, "first")
    server = Served(folder)
    yield server
    server.stop()


def say(client: openai.OpenAI, video: str, **fields: Any) -> dict[str, Any]:
    return client.post(f"/videos/{video}/feedback", cast_to=dict, body=fields)  # type: ignore[return-value]


def test_a_report_from_its_writing_to_its_pay(served: Served, tmp_path: Path) -> None:
    ann, bob, boss = known(served, "ann"), known(served, "bob"), known(served, "boss", "--scope", "read", "--scope", "admin")
    video = ann.videos.create_and_poll(**SMALL, poll_interval_ms=100)
    ann.post(f"/videos/{video.id}/publish", cast_to=object)
    said = say(bob, video.id, text="Its left paw has six toes.", credit="Bob of Bergen")
    assert (said["state"], said["amount"], said["currency"], said["note"]) == ("received", "0.00", None, None)
    assert said["recipe"] == ann.get(f"/videos/{video.id}/recipe", cast_to=object)

    for whose, seen in ((ann, []), (bob, [said["id"]]), (boss, [said["id"]])):
        assert [one["id"] for one in whose.get("/feedback", cast_to=dict)["data"]] == seen
    with pytest.raises(openai.NotFoundError):
        ann.get(f"/feedback/{said['id']}", cast_to=object)

    assert "Bob of Bergen" in unstrung(served.folder, "feedback", "list", "--state", "received").stdout
    shown = json.loads(unstrung(served.folder, "feedback", "show", said["id"], "--json").stdout)
    assert shown["owner"] == "bob" and shown["recipe"] == said["recipe"]
    early = unstrung(served.folder, "feedback", "paid", said["id"])
    assert early.returncode == 2 and "is received" in early.stderr
    accept = ["feedback", "accept", said["id"], "--currency", "EUR", "--amount"]
    assert "accepted 25.50 EUR" in unstrung(served.folder, *accept, "25.5", "--note", "well seen").stdout
    less = unstrung(served.folder, *accept, "10")
    assert less.returncode == 2 and "25.50 EUR was agreed to" in less.stderr
    assert unstrung(served.folder, "feedback", "decline", said["id"]).returncode == 2
    assert unstrung(served.folder, *accept, "30").returncode == 0
    assert unstrung(served.folder, "feedback", "paid", said["id"]).returncode == 0

    ann.videos.delete(video.id)
    now: Any = bob.get(f"/feedback/{said['id']}", cast_to=object)
    assert (now["state"], now["amount"], now["currency"]) == ("paid", "30.00", "EUR")
    assert now["recipe"] == said["recipe"], "the report is whole although the video has gone"
    file = tmp_path / "ledger.csv"
    assert unstrung(served.folder, "feedback", "ledger", "-o", str(file)).returncode == 0
    assert "--force" in unstrung(served.folder, "feedback", "ledger", "-o", str(file)).stderr
    mine = [row for row in csv.DictReader(io.StringIO(file.read_text())) if row["feedback_id"] == said["id"]]
    assert [(row["number"], row["state"], row["amount"], row["note"]) for row in mine] == [
        ("0", "received", "0.00", ""), ("1", "accepted", "25.50", "well seen"), ("2", "accepted", "30.00", ""), ("3", "paid", "30.00", ""),
    ]  # fmt: skip
    assert {(row["owner"], row["credit"], row["video_id"]) for row in mine} == {("bob", "Bob of Bergen", video.id)}
    assert unstrung(served.folder, "feedback", "ledger").stdout.splitlines() == file.read_text().splitlines()


def test_what_can_not_be_reported(served: Served) -> None:
    cat, dan = known(served, "cat"), known(served, "dan")
    video = cat.videos.create_and_poll(**SMALL, poll_interval_ms=100)
    with pytest.raises(openai.NotFoundError):
        say(dan, video.id, text="It is not mine to see.")
    wrong: list[dict[str, Any]] = [
        {}, {"text": " "}, {"text": 5}, {"text": "x" * 8001}, {"text": "a\0b"}, {"text": "x", "credit": ""}, {"text": "x", "state": "paid"},
    ]  # fmt: skip
    for fields in wrong:
        with pytest.raises(openai.BadRequestError) as refused:
            say(cat, video.id, **fields)
        assert refused.value.param in ("text", "credit", "state")
    with pytest.raises(openai.PermissionDeniedError):
        say(known(served, "looks", "--owner", "cat", "--scope", "read"), video.id, text="x")
    unstrung(served.folder, "jobs", "pause")
    try:
        waits = cat.videos.create(**SMALL)
        with pytest.raises(openai.ConflictError, match="not finished"):
            say(cat, waits.id, text="too early")
    finally:
        unstrung(served.folder, "jobs", "resume")
    assert cat.get("/feedback", cast_to=dict)["data"] == []
    odd = unstrung(served.folder, "feedback", "list", "--state", "lost")
    assert odd.returncode == 2 and "received, accepted" in odd.stderr


def filled(store: Store) -> str:
    store.add(Job("video_a", Request("a fox", model="echo"), created_at=1.0, owner="ann"))
    job = store.claim("w")
    assert job is not None
    asked = {"prompt": "a fox"}
    recipe = Recipe(asked, asked, {"id": "echo"}, 1, {"sha256": "", "width": 2, "height": 2, "num_frames": 1, "fps": 1})
    assert store.complete(job, StoredClip(job.id, "ann", "a.mp4", 1, "", recipe, 2.0))
    return job.id


def test_pages_and_limits_of_both_stores(store_url: str) -> None:
    store = Store(store_url)
    video = filled(store)
    made = [report(store, video, f"report {n}", owner="ann", sees="ann").id for n in range(5)]
    first = page(store, owner="ann", limit=2)
    rest = page(store, owner="ann", after=first[-1].id)
    assert [one.id for one in (*first, *rest)] == made[::-1] and page(store, owner="bob") == []
    answer(store, made[0], FeedbackState.DECLINED, note="seen before")
    assert [one.id for one in page(store, state=FeedbackState.DECLINED)] == made[:1]
    assert answer(store, made[0], FeedbackState.ACCEPTED).currency is None, "it may be accepted for nothing, and later"
    with pytest.raises(NoSuchFeedback):
        get(store, made[0], "bob")
    for _ in range(MOST_OPEN - 4):
        report(store, video, "=HYPERLINK(1)", owner="ann", sees="ann")
    with pytest.raises(OverLimit):
        report(store, video, "one too many", owner="ann", sees="ann")
    report(store, video, "somebody else's", owner="boss", sees=None)
    assert "'=HYPERLINK(1)" in "".join(lines(store)), "no spreadsheet takes a report for a formula"


@pytest.mark.parametrize(
    ("amount", "currency"), [("-1", "EUR"), ("1.005", "EUR"), ("1e3", "EUR"), ("25", None), ("25", "euro"), ("", "EUR")]
)
def test_amounts_that_are_none(store_url: str, amount: str, currency: str | None) -> None:
    store = Store(store_url)
    made = report(store, filled(store), "a report", owner="ann", sees="ann")
    with pytest.raises(InvalidRequest):
        answer(store, made.id, FeedbackState.ACCEPTED, amount=amount, currency=currency)
    with pytest.raises(InvalidRequest):
        answer(store, made.id, FeedbackState.DECLINED, amount="1", currency="EUR")
    assert get(store, made.id) == made


def test_two_who_answer_at_once_write_one_line(store_url: str) -> None:
    store = Store(store_url)
    made = report(store, filled(store), "a report", owner="ann", sees="ann")

    def reply(state: FeedbackState) -> str | None:
        try:
            return answer(store, made.id, state).state
        except UnstrungError as error:
            assert error.code == "bad_status"
            return None

    with ThreadPoolExecutor(2) as hosts:
        told = [said for said in hosts.map(reply, [FeedbackState.DECLINED, FeedbackState.DECLINED]) if said]
    assert told == ["declined"] and get(store, made.id).number == 1
