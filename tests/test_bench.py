"""The measuring programs run from end to end, and end with one line of JSON; how fast things are is for them to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
