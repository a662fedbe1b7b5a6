"""What whoever runs a host sees: figures without names, and logs that keep secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from served import Served
from test_archive import ask, unstrung
from unstrung.api.metrics import Metrics
from unstrung.api.watch import Seen, Watch
from unstrung.cli.logs import Lines, LogFormat
from unstrung.errors import UnstrungError, places
from unstrung.job import JobError
from unstrung.jobs.store import Store
from unstrung.jobs.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # OpenAI's client says that its service has gone
SMALL: Any = {"seconds": "1", "size": "64x48"}
MARK = "marzipan"


def fetch(server: Served, path: str, key: str = "", method: str = "GET", body: bytes | None = None) -> tuple[int, str, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def figures(text: str) -> dict[tuple[str, ...], float]:
    """A figure by its name and its labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_of_a_served_host(tmp_path: Path) -> None:
    server = Served(tmp_path)
    try:
        video = server.client.videos.create_and_poll(prompt=MARK, **SMALL)
        fetch(server, f"/{MARK}/{MARK}")
        fetch(server, f"/v1/videos/{MARK}")
        fetch(server, "/v1/health", method="PROPFIND")
        status, text, headers = fetch(server, "/metrics")
        assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = figures(text)
        assert found["unstrung_http_requests_total", "POST", "/v1/videos", "200"] == 1
        assert found["unstrung_http_requests_total", "GET", "/v1/videos/{video_id}", "404"] == 1
        assert found["unstrung_http_requests_total", "GET", "unmatched", "404"] == 1
        assert found["unstrung_http_requests_total", "other", "/v1/health", "405"] == 1
        assert found["unstrung_http_request_seconds_count", "POST", "/v1/videos"] == 1
        assert found["unstrung_jobs", "queued"] == found["unstrung_jobs", "in_progress"] == 0
        assert found["unstrung_jobs_ended_total", "completed"] == 1 and found["unstrung_jobs_ended_total", "failed"] == 0
        assert found["unstrung_video_seconds_total", "echo"] == 1 and found["unstrung_render_seconds_total", "echo"] > 0
        ratio = found["unstrung_render_seconds_per_video_second", "echo"]
        assert ratio == pytest.approx(found["unstrung_render_seconds_total", "echo"])
        assert found["unstrung_workers_started",] == 1 and found["unstrung_workers_busy",] == 0
        films = list((tmp_path / "clips").iterdir())
        assert len(films) == 1 and films[0].name.startswith(f"{video.id}-1.")
        assert found["unstrung_clips_bytes",] == sum(film.stat().st_size for film in films)
        assert found["unstrung_database_bytes",] > 0 and found["unstrung_disk_free_bytes",] > 0
        assert found["unstrung_queue_paused",] == found["unstrung_queue_wait_seconds",] == 0
        assert any(key[0] == "unstrung_build_info" for key in found)
        assert MARK not in text and video.id not in text
    finally:
        server.stop()


def test_figures_are_for_admins_alone(tmp_path: Path) -> None:
    ann = unstrung(tmp_path, "tokens", "create", "ann").strip()
    boss = unstrung(tmp_path, "tokens", "create", "boss", "--scope", "admin").strip()
    server = Served(tmp_path)
    try:
        assert [fetch(server, "/metrics", key)[0] for key in ("none", ann, boss)] == [401, 403, 200]
        assert "ann" not in {word for key in figures(fetch(server, "/metrics", boss)[1]) for word in key}
    finally:
        server.stop()


def test_figures_follow_both_stores(store_url: str, tmp_path: Path) -> None:
    store = Store(store_url)
    ask(store, "video_before")
    Worker(store, tmp_path).run(lambda: False, once=True)
    metrics = Metrics(store, tmp_path, lambda: 3)

    def now() -> dict[tuple[str, ...], float]:
        time.sleep(1.1)  # the figures are at most a second old
        return figures(metrics.text().decode())

    assert now()["unstrung_jobs_ended_total", "completed"] == 0, "what was before is not counted"
    for n in range(3):
        ask(store, f"video_{n}", estimate=10.0)
    mine = store.claim("w")
    assert mine is not None
    store.pause(True)
    seen = now()
    assert (seen["unstrung_jobs", "queued"], seen["unstrung_jobs", "in_progress"], seen["unstrung_workers_busy",]) == (2, 1, 1)
    assert (
        seen["unstrung_queue_paused",] == 1
        and seen["unstrung_queue_wait_seconds",] > 0
        and seen["unstrung_workers_started",] == 3
    )
    store.pause(False)
    store.fail(mine, JobError("x", "y"))
    assert now()["unstrung_jobs_ended_total", "failed"] == 1
    store.retry(mine.id)
    Worker(store, tmp_path).run(lambda: False, once=True)
    for _ in range(2):
        seen = now()
        ended = [seen["unstrung_jobs_ended_total", status] for status in ("completed", "failed", "canceled")]
        assert ended == [3, 1, 0], "each end is counted, and once"
    assert seen["unstrung_database_bytes",] > 0
    metrics.hear(Seen("req_1", "GET", "/v1/videos", 200, 0.2, 5, "ann"))
    assert "ann" not in metrics.text().decode() and "req_1" not in metrics.text().decode()


def provoke(server: Served, key: str) -> None:
    """Make everything go wrong that can, each time with the secret word in it."""
    client = server.client.with_options(api_key=key)
    assert client.videos.create_and_poll(prompt=f"a {MARK} pig", **SMALL).status == "completed"
    for body in (
        {"prompt": "x", MARK: MARK}, {"prompt": "x", "size": MARK}, {"prompt": "x", "seed": MARK}, {"prompt": "x", "model": MARK},
        {"prompt": {MARK: MARK}}, {"prompt": f"\ud800{MARK}"},
    ):  # fmt: skip
        assert fetch(server, "/v1/videos", key, "POST", json.dumps(body).encode())[0] in (400, 404)
    assert fetch(server, "/v1/videos", key, "POST", f"{{{MARK}".encode())[0] == 400
    assert fetch(server, f"/v1/videos?limit={MARK}&after={MARK}", key)[0] == 400
    assert fetch(server, f"/{MARK}/x?key={MARK}", key)[0] == 404
    assert fetch(server, f"/v1/videos/{MARK}/content?variant={MARK}", key)[0] == 400
    assert fetch(server, "/v1/videos", f"{MARK}-{key}")[0] == 401
    with pytest.raises(openai.APIStatusError):
        client.videos.list(extra_headers={"Origin": f"http://{MARK}.example"})
    # what nobody foresees: a table is gone, and what was to be written into it held the words
    with closing(sqlite3.connect(server.folder / "unstrung.db")) as connection:
        connection.execute("DROP TABLE clips")
    video = client.videos.create_and_poll(prompt=f"another {MARK} pig", **SMALL)
    assert video.error is not None and video.error.code == "internal_error" and MARK not in video.error.message
    with pytest.raises(openai.InternalServerError) as broken:
        client.videos.download_content(video.id)
    assert broken.value.request_id and broken.value.response.headers["x-content-type-options"] == "nosniff"


def test_whoever_leaves_before_the_answer_breaks_nothing() -> None:
    async def left(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise OSError

    seen: list[Seen] = []
    for app in (left, broken):
        with suppress(OSError):
            asyncio.run(Watch(app, [seen.append])({"type": "http", "method": "GET"}, None, None))  # type: ignore[arg-type]
    assert [one.status for one in seen] == [499, 500]


@pytest.mark.parametrize("options", [[], ["--log-format", "text"], ["--quiet"]], ids=["json", "text", "quiet"])
def test_the_log_keeps_secrets(tmp_path: Path, options: list[str]) -> None:
    key = unstrung(tmp_path, "tokens", "create", "ann").strip()
    server = Served(tmp_path, *options, log=tmp_path / "log")
    try:
        provoke(server, key)
    finally:
        server.stop()
    text = (tmp_path / "log").read_text()
    assert MARK not in text and key not in text and key.split("_")[2] not in text and str(tmp_path) not in text
    assert (
        "Traceback" not in text
        and text.count("broke") == 2
        and "OperationalError at " in text
        and "unstrung.jobs.worker:" in text
    )
    if options == ["--quiet"]:
        assert '"request"' not in text and '"claimed"' not in text and '"failed"' in text
    if options[:1] == ["--log-format"]:
        assert "request" in text and "route=/v1/videos/{video_id}" in text and "{" not in text.splitlines()[0]
    if not options:
        lines = [json.loads(line) for line in text.splitlines()]
        assert {"listening", "request", "claimed", "completed", "failed", "broke", "ended"} == {line["event"] for line in lines}
        asked = [line for line in lines if line["event"] == "request"]
        routes = {"/v1/videos", "/v1/videos/{video_id}", "/v1/videos/{video_id}/content", "unmatched"}
        assert {line["caller"] for line in asked} == {"ann", None} and {line["route"] for line in asked} == routes
        assert all(line["ms"] > 0 and line["bytes"] > 0 and line["id"].startswith("req_") for line in asked)
        failed = next(line for line in lines if line["event"] == "failed")
        assert failed["code"] == "internal_error" and failed["seconds"] > 0 and "message" not in failed


def test_prompts_are_logged_where_the_host_says_so(tmp_path: Path) -> None:
    key = unstrung(tmp_path, "tokens", "create", "ann").strip()
    server = Served(tmp_path, "--log-prompts", log=tmp_path / "log")
    try:
        client = server.client.with_options(api_key=key)
        answer = client.videos.with_raw_response.create(prompt=f"a {MARK} pig", **SMALL)
        id = json.loads(answer.text)["id"]
        client.videos.poll(id)
    finally:
        server.stop()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    claimed = next(line for line in lines if line["event"] == "claimed")
    assert claimed["prompt"] == f"a {MARK} pig" and claimed["job"] == id and claimed["attempt"] == 1
    assert next(line for line in lines if line.get("method") == "POST")["id"] == answer.headers["x-request-id"]
    assert key not in str(lines)


def test_what_libraries_say_is_not_repeated() -> None:
    try:
        try:
            raise KeyError(MARK)
        except KeyError as inner:
            raise ValueError(MARK) from inner
    except ValueError as error:
        said = places(error)
        shown = logging.LogRecord("asyncio", logging.ERROR, "/x/y.py", 7, f"future: {MARK}", None, (ValueError, error, None))
    assert said.startswith("ValueError at test_operate:") and "; came of KeyError at test_operate:" in said and MARK not in said
    for format in LogFormat:
        line = Lines(format).format(shown)
        assert MARK not in line and "\n" not in line and "asyncio" in line and "y:7" in line
    odd = logging.LogRecord("unstrung.x", logging.INFO, "x.py", 1, "event", None, None)
    odd.fields = {"word": 'two words\nand "a line"'}
    assert Lines(LogFormat.TEXT).format(odd).endswith(r'event word="two words\nand \"a line\""')


def test_a_crash_is_told_without_its_words(tmp_path: Path) -> None:
    code = f"from unstrung.cli.logs import set_up\nset_up(None, False)\nraise ValueError('{MARK}')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and json.loads(done.stderr)["error"].startswith("ValueError at __main__:3")
    with pytest.raises(UnstrungError) as refused:
        Store(f"postgresql://ann:{MARK}@127.0.0.1:1/x")
    assert MARK not in refused.value.message and "ann:***@" in refused.value.message
