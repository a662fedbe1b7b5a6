"""How long a film takes, from process start to finished file, and how much memory: `python bench/generate.py`.

Runs the command as its user would, several times, each in a process of its own, and takes medians. The last line of
stdout is one JSON document. The budget on two cores for 5 s at 640x360 is 45 s and 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROMPT = "a red fox running through the snow at night"


def run(words: list[str], folder: str) -> tuple[float, int, dict[str, Any]]:
    """Run unstrung; return seconds of wall clock, bytes of peak memory, and what it printed as JSON."""
    command = [sys.executable, "-m", "unstrung", *words]
    start = time.perf_counter()
    with (Path(folder) / "out.json").open("w+") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        out.seek(0)
        text = out.read()
    if status:
        sys.exit(f"{' '.join(command)} failed with status {status}")
    return seconds, usage.ru_maxrss * 1024, json.loads(text) if text.startswith("{") else {}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", default="5")
    parser.add_argument("--size", default="640x360")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        start = statistics.median(run(["--version"], folder)[0] for _ in range(args.runs))
        for n in range(args.runs):
            words = [PROMPT, "--seconds", args.seconds, "--size", args.size, "--seed", str(n), "--force", "--json"]
            wall, memory, printed = run(words, folder)
            clip = printed["clips"][0]
            stages = dict(clip["recipe"]["seconds"])
            # the command loads the model once for all its films; unfolding a latent takes nothing, enlarging does
            stages |= {"load": printed["seconds_to_load"], "upscale": stages.pop("decode"), "write": clip["seconds_to_write"]}
            rows.append({"total": wall, "memory": memory, **stages})
            print(f"run {n + 1}: {wall:.1f} s, {memory / 1e9:.2f} GB", flush=True)
    medians = {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
    stages = {"import": round(start, 3), **{k: v for k, v in medians.items() if k not in ("total", "memory")}}
    print(
        json.dumps(
            {
                "bench": "generate", "prompt": PROMPT, "seconds": args.seconds, "size": args.size, "runs": args.runs,
                "total_seconds": medians["total"], "peak_memory_bytes": int(medians["memory"]), "stages": stages,
                "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
