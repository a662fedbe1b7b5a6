"""Run the `unstrung` command, set up on first use: python3 scripts/run.py "a red fox running through the snow"."""

import subprocess
import sys

from setup_env import environment

if __name__ == "__main__":
    try:
        sys.exit(subprocess.call([str(environment() / "unstrung"), *sys.argv[1:]]))
    except KeyboardInterrupt:
        sys.exit(130)
