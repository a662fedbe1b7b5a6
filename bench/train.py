"""How fast the trainer learns: samples a second for each shape of the recipe: `python bench/train.py`.

Takes real steps of the real recipe on batches that were drawn before, and times the drawing apart, so that it is seen
which of the two holds the other up. The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Measure and print."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from unstrung.models.native.config import FRAMES
    from unstrung.train.configs.nano import nano
    from unstrung.train.data import BatchMaker
    from unstrung.train.loop import Plan, Trainer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    config = nano()
    maker = BatchMaker(config)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Plan(hours=1, folder=Path(folder)), print)
        for bucket in dict.fromkeys(b for phase in config.phases for b, _ in phase.weights):
            begin = time.perf_counter()
            batch = maker.make(0, 0, bucket, config.drop_text)
            drawing = time.perf_counter() - begin
            times = []
            for _ in range(args.steps + 1):
                begin = time.perf_counter()
                trainer.take(batch)
                times.append(time.perf_counter() - begin)
            step = statistics.median(times[1:])  # the first step compiles
            rows.append(
                {
                    "frames": FRAMES * bucket.frames, "width": bucket.width, "height": bucket.height, "batch": bucket.batch,
                    "samples_per_second": round(bucket.batch / step, 2), "drawn_per_second": round(bucket.batch / drawing, 2),
                    "frames_drawn_per_second": round(FRAMES * bucket.frames * bucket.batch / drawing),  # and read
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {trainer.device.type}"
    print(json.dumps({"bench": "train", "recipe": config.name, "shapes": rows, "machine": machine}))


if __name__ == "__main__":
    main()
