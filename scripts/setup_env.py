"""Make the project's virtual environment and keep it up to date. Standard library only, any system."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = os.environ.get("UNSTRUNG_TORCH", "torch==2.13.0")


def environment(extras: tuple[str, ...] = ()) -> Path:
    """Return the folder of programs of an environment with unstrung and some of its extras, made on first use."""
    folder = ROOT / (".venv-" + "-".join(extras) if extras else ".venv")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    stamp = folder / "installed"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return programs
    print(f"setting up {folder.name} (once)", file=sys.stderr)
    if not stamp.exists():  # none yet, or one whose making was interrupted
        venv.create(folder, with_pip=True, clear=True)
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if "train" in extras:  # first and by itself, so that nothing else decides which build of torch comes
        _run([*pip, TORCH])
    _run([*pip, "--editable", f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)])
    stamp.write_text(wanted)
    return programs


def _run(command: list[str]) -> None:
    # pip's warnings go where its errors go, and are worth reading only when it fails
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
