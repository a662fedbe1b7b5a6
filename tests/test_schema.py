"""The OpenAPI document, held against the server by schemathesis: no 5xx, no status and no answer that it does not tell of."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from served import Served
from test_operate import fetch, figures
from test_tokens import token
from unstrung.media.codec import read_clip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"
)


def serving(folder: Path, *options: str) -> Served:
    """A server that has all that there is a route for."""
    letter = folder / "letter.md"
    letter.parent.mkdir(parents=True, exist_ok=True)
    letter.write_text("# An open letter\n")
    return Served(folder, "--letter", str(letter), "--letter-pages", *options)


def things(folder: Path, key: str = "none") -> dict[str, str]:
    """Make one of each thing that routes ask for by its id, and return the ids by the routes' names for them."""
    server = serving(folder)
    client = server.client.with_options(api_key=key)
    small = {"size": "64x48", "fps": 8}
    video = client.videos.create_and_poll(prompt="a fox", seconds="1", extra_body=small, poll_interval_ms=100)  # type: ignore[arg-type]
    client.videos.download_content(video.id).write_to_file(folder / "fox.mp4")
    assert read_clip(folder / "fox.mp4").num_frames == 8
    with (folder / "fox.mp4").open("rb") as film:
        character = client.videos.create_character(name="Fox", video=film)
    line = {"custom_id": "1", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a fox", "size": "64x48", "seconds": "1"}}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")  # type: ignore[arg-type]
    hook = client.post("/webhooks", body={"url": "https://example.com/hear"}, cast_to=dict)
    said = client.post(f"/videos/{video.id}/feedback", body={"text": "a report"}, cast_to=dict)
    begun = client.post("/letter/signings", body={"name": "Ann", "kind": "ssh"}, cast_to=dict)
    server.stop()
    return {
        "video_id": video.id, "character_id": character.id or "", "file_id": file.id, "batch_id": batch.id, "webhook_id": hook["id"],
        "feedback_id": said["id"], "signing_id": begun["id"],
    }  # fmt: skip


def shown(client: openai.OpenAI, ids: dict[str, str]) -> dict[str, object]:
    """What the server says of those of the things that can be deleted; nothing of one that is not there."""
    kinds = {"video_id": "videos", "character_id": "videos/characters", "file_id": "files", "webhook_id": "webhooks"}
    said: dict[str, object] = {}
    for name, kind in kinds.items():
        try:
            said[name] = client.get(f"/{kind}/{ids[name]}", cast_to=dict)
        except openai.NotFoundError:
            continue
    return said


def hold(server: Served, folder: Path, ids: dict[str, str], *options: str, key: str | None = None) -> None:
    """Hold the document against the server, with all that may be asked there."""
    lines = [f"{name} = {json.dumps(id)}" for name, id in ids.items()]
    (folder / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines, ""]))
    command = [
        Path(sys.executable).with_name("st"), "--config-file", folder / "schemathesis.toml", "run",
        f"http://127.0.0.1:{server.port}/openapi.json", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
        "--seed", "1", "--no-color", "--request-timeout", "30", "--suppress-health-check", "all", *options,
    ]  # fmt: skip
    if key is not None:
        command += ["--header", f"Authorization: Bearer {key}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "nresolvable" not in done.stdout, done.stdout[-6000:]
    assert server.client.get("/health", cast_to=dict)["status"] == "ok"


@pytest.mark.parametrize("known", [False, True], ids=["any ids", "ids that are there"])
def test_the_document_tells_all(tmp_path: Path, known: bool) -> None:
    ids = things(tmp_path / "data") if known else {}
    # nobody makes what is asked for here: films of a minute, in every size that there is
    server = serving(tmp_path / "data", "--workers", "0")
    try:
        if not known:
            return hold(server, tmp_path, ids, "--max-examples", "10")
        # deleting comes last, by itself, or the others would find nothing
        hold(server, tmp_path, ids, "--max-examples", "10", "--exclude-method", "DELETE")
        assert len(shown(server.client, ids)) == 4
        hold(server, tmp_path, ids, "--max-examples", "10", "--include-method", "DELETE")
        assert not shown(server.client, ids), "all of it was deleted, and the answers were as they are told"
    finally:
        server.stop()


def test_half_a_character_is_refused_in_words_that_can_be_sent(tmp_path: Path) -> None:
    """JSON may hold half of a surrogate pair, escaped, in a field's name as in its value; UTF-8, in which errors are told, can't."""
    server = serving(tmp_path / "data", "--workers", "0")
    at = f"http://127.0.0.1:{server.port}"
    bodies = [b'{"\\ud800": 1}', b'{"prompt": "a", "\\udfff\\ud800": 1}', b'{"prompt": "\\ud800", "text": "\\ud800"}']
    told: dict[str, list[bytes]] = {}
    try:
        document: Any = server.client.get(f"{at}/openapi.json", cast_to=object)
        for path in (path for path, operations in document["paths"].items() if "post" in operations):
            for body in bodies:
                asked = urllib.request.Request(at + path.format_map(Named()), body, {"Content-Type": "application/json"})
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(asked)
                assert refused.value.status < 500, path
                told.setdefault(path, []).append(refused.value.read())
    finally:
        server.stop()
    assert len(told) > 12 and all(json.loads(answer)["error"]["message"] for answers in told.values() for answer in answers)
    for path in ("/v1/videos", "/v1/videos/{video_id}/feedback"):
        assert rb"\\ud800" in told[path][0]


class Named(dict[str, str]):
    """An id for whatever a path names."""

    def __missing__(self, name: str) -> str:
        return f"{name.removesuffix('_id')}_{'0' * 32}"


class Guarded:
    """A server that asks for tokens, where Ann has one thing of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder, data = folder, folder / "data"
        self.ann, self.boss = token(data, "ann"), token(data, "boss", "--scope", "admin")
        self.ids = things(data, self.ann)
        self.server = serving(data, "--workers", "0")

    def answers(self) -> Counter[str]:
        """How often each status was answered."""
        text = fetch(self.server, "/metrics", self.boss)[1]
        counted = ((key, int(value)) for key, value in figures(text).items() if key[0] == "unstrung_http_requests_total")
        return sum((Counter({key[-1]: value}) for key, value in counted), Counter())

    def hold(self, key: str) -> set[str]:
        """Hold the document against the server with some token; return the statuses that were answered."""
        before = self.answers()
        hold(self.server, self.folder, self.ids, "--max-examples", "3", key=key)
        return set(self.answers() - before)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    yield made
    made.server.stop()


@pytest.mark.parametrize(
    ("who", "options", "met"),
    [
        ("bob", [], {"200", "400", "403", "404"}),  # figures are for admins alone
        ("looks", ["--owner", "ann", "--scope", "read"], {"200", "400", "403"}),
        ("hurries", ["--rate", "20"], {"429"}),
        ("", [], {"401", "429"}),
    ],
    ids=["somebody else", "who may only look", "who asks too often", "nobody"],
)  # fmt: skip
def test_it_tells_what_others_are_answered(guarded: Guarded, who: str, options: list[str], met: set[str]) -> None:
    ann = guarded.server.client.with_options(api_key=guarded.ann)
    before = shown(ann, guarded.ids)
    assert len(before) == 4
    answered = guarded.hold(token(guarded.folder / "data", who, *options) if who else "none")
    assert met <= answered and not [status for status in answered if status >= "500"]
    assert shown(ann, guarded.ids) == before, "what is Ann's is as it was"
