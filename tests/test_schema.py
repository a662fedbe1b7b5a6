"""The OpenAPI document, held against the server by schemathesis: no 5xx, no status and no answer that it does not tell of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from served import Served
from unstrung.media.codec import read_clip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"
)


def things(folder: Path) -> dict[str, str]:
    """Make one of each thing that routes ask for by its id, and return the ids by the routes' names for them."""
    server = Served(folder)
    client = server.client
    video = client.videos.create_and_poll(prompt="a fox", seconds="1", size="64x48", extra_body={"fps": 8})
    client.videos.download_content(video.id).write_to_file(folder / "fox.mp4")
    assert read_clip(folder / "fox.mp4").num_frames == 8
    with (folder / "fox.mp4").open("rb") as film:
        character = client.videos.create_character(name="Fox", video=film)
    line = {"custom_id": "1", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a fox", "size": "64x48", "seconds": "1"}}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")  # type: ignore[arg-type]
    hook = client.post("/webhooks", body={"url": "https://example.com/hear"}, cast_to=dict)
    server.stop()
    return {
        "video_id": video.id, "character_id": character.id or "", "file_id": file.id, "batch_id": batch.id, "webhook_id": hook["id"],
    }  # fmt: skip


@pytest.mark.parametrize("known", [False, True], ids=["any ids", "ids that are there"])
def test_the_document_tells_all(tmp_path: Path, known: bool) -> None:
    ids = things(tmp_path / "data") if known else {}
    lines = [f"{name} = {json.dumps(id)}" for name, id in ids.items()]
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines, ""]))
    # nobody makes what is asked for here: films of a minute, in every size that there is
    server = Served(tmp_path / "data", "--workers", "0")
    try:
        command = [
            Path(sys.executable).with_name("st"), "--config-file", tmp_path / "schemathesis.toml", "run",
            f"http://127.0.0.1:{server.port}/openapi.json", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
            "--max-examples", "10", "--seed", "1", "--no-color", "--request-timeout", "30", "--suppress-health-check", "all",
        ]  # fmt: skip
        if known:
            # deleting comes last, by itself, or the others would find nothing
            command += ["--exclude-method", "DELETE"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "nresolvable" not in done.stdout, done.stdout[-6000:]
        assert server.client.get("/health", cast_to=dict)["status"] == "ok"
    finally:
        server.stop()
