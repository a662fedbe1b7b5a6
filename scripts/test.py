"""Check everything, set up on first use: lint, types, then all tests, three files at a time. Arguments go to pytest."""

import os
import subprocess
import sys

from setup_env import ROOT, environment

if __name__ == "__main__":
    programs = environment(("train", "dev"))
    # with two busy processes, spinning threads make tiny models ten times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # files as tests/conftest.py puts them: by itself, xdist would begin with those of most tests, and end with a long one alone;
    # three at a time, for one of three mostly waits, for a page, a lease or a process that has been killed
    tests = ["pytest", *(sys.argv[1:] or ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"])]
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], tests):
        print("$", *command, flush=True)
        if code := subprocess.call([str(programs / command[0]), *command[1:]], cwd=ROOT):
            sys.exit(code)
