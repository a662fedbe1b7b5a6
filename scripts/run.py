"""Run the `unstrung` command, set up on first use: python3 scripts/run.py "a red fox running through the snow"."""

import subprocess
import sys

from setup_env import environment

PAGE = ("studio", "space")  # verbs that need what draws the page

if __name__ == "__main__":
    try:
        programs = environment(("ui",) if sys.argv[1:2] and sys.argv[1] in PAGE else ())
        sys.exit(subprocess.call([str(programs / "unstrung"), *sys.argv[1:]]))
    except KeyboardInterrupt:
        sys.exit(130)
