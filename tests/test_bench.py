"""The measuring programs run from end to end, and end with one line of JSON; how fast things are is for them to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"


def test_serve_under_a_few_clients() -> None:
    command = [sys.executable, str(BENCH / "serve.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    out = json.loads(done.stdout.splitlines()[-1])
    assert out["clients"]["errors"] == [] and out["clients"]["clients"] == 8
    assert out["clients"]["routes"]["delete"]["count"] == 8, "every client lived its video's whole life"
    assert out["fair"]["queued_before"] == 10
    assert out["fair"]["ended_between"] <= out["fair"]["running"], "one job waits for what runs, not for another's hundred"
    assert out["sqlite"]["jobs"] == 2000 and out["sqlite"]["ms"]["claim"]["count"] > 0


def test_the_page_and_those_who_watch_it() -> None:
    pytest.importorskip("gradio")
    command = [sys.executable, str(BENCH / "studio.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    out = json.loads(done.stdout.splitlines()[-1])
    watch = out["watch"]
    assert (watch["watchers"], watch["alone"]["jobs"], watch["watched"]["jobs"]) == (4, 1, 1)
    assert (
        watch["broken"] == {}
        and watch["asked"]["GET /v1/videos/{video_id}/events 200"] > 0
        and watch["asked"]["GET /studio 200"] > 0
    )
    if "alike" in watch:  # a browser is installed
        assert out["page"]["first_s"]["count"] == out["page"]["later_s"]["count"] == 1
        kinds = [{kind for kind in watch["alike"][who] if not kind.endswith("409")} for who in ("real", "imitated")]
        assert kinds[0] == kinds[1], "those who only ask ask what the page's script asks"


def test_what_the_adapter_costs() -> None:
    pytest.importorskip("diffusers")
    command = [sys.executable, str(BENCH / "hub.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])["models"]
    assert set(found) == {"cogvideox-2b", "mochi-1", "ltx-video", "wan2.1-1.3b"}
    assert all(row["bare"] > 0 and row["ours"] > 0 for row in found.values())
