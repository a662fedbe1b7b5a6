"""Words are run: the README's commands, from a fresh clone with nothing installed; links lead somewhere."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from served import Served
from unstrung.media.codec import read_clip

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git holds, and nothing of this checkout's environments."""
    folder = tmp_path_factory.mktemp("clone")
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in names.decode().rstrip("\0").split("\0"):
        target = folder / name
        if (ROOT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def first(clone: Path) -> subprocess.CompletedProcess[str]:
    """What the README's first command said; it leaves its environment in the clone."""
    command = re.search(r'python3 (scripts/run\.py) "([^"]+)"', README)
    assert command
    return subprocess.run([sys.executable, command[1], command[2]], cwd=clone, capture_output=True, text=True)


def test_the_first_command_makes_a_film_from_nothing(clone: Path, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stderr
    assert "nano knows: red, fox, running, snow, night" in first.stderr
    film = read_clip(clone / "a-red-fox-running-through-the-snow-at-night.mp4")
    assert (film.num_frames, film.width, film.height, film.fps) == (120, 640, 360, 24)

    environment = clone / ".venv"
    size = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 600e6, f"the default install takes {size / 1e6:.0f} MB"
    installed = {path.name.split("-")[0].lower() for path in environment.rglob("*.dist-info")}
    assert not {name for name in installed if name.startswith(("torch", "nvidia", "triton"))}


def test_the_readmes_commands_run(clone: Path, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stderr
    programs = clone / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    block = re.search(r"```sh\n(.*?)```", README, re.S)
    assert block
    for line in block[1].strip().splitlines():
        # the words as they stand, made shorter where they would draw for minutes
        quick = line + " --steps 2 --force" if line.startswith('unstrung "') else line
        done = subprocess.run(
            quick,
            shell=True,
            cwd=clone,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        )
        assert done.returncode == 0, (line, done.stderr)
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code
    done = subprocess.run([programs / "python", "-c", code[1]], cwd=clone, capture_output=True, text=True)
    assert done.stdout == "(48, 360, 640, 3) 1\n", done.stderr


def test_the_readmes_server_answers_openais_client(clone: Path, first: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    assert first.returncode == 0, first.stderr
    programs = clone / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    code = re.findall(r"```python\n(.*?)```", README, re.S)[1]
    words = re.search(r"`(pip install '\.\[serve\]')`, then `unstrung (serve)`", README)
    assert words
    path = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words[1], shell=True, cwd=clone, capture_output=True, text=True, env=path)
    assert done.returncode == 0, done.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**path, "UNSTRUNG_DATA": str(tmp_path / "data"), "OMP_WAIT_POLICY": "passive"}
    server = subprocess.Popen([programs / "unstrung", words[2], "--port", str(port)], env=environment)
    try:
        waited = f"import time, socket\nwhile socket.socket().connect_ex(('127.0.0.1', {port})): time.sleep(0.05)\n"
        program = waited + code.replace("8000", str(port))
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "completed\n", done.stderr
        film = read_clip(tmp_path / "penguin.mp4")
        assert (film.width, film.height, film.num_frames) == (1280, 720, 96)
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_the_api_pages_program_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    server = Served(tmp_path / "data")
    try:
        program = "".join(re.findall(r"```python\n(.*?)```", page, re.S)).replace("8000", str(server.port))
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.split("\n")[:-1] == [
            "completed 2 640x360", "completed 2", "completed 2", "completed 4", "completed",
        ], done.stderr  # fmt: skip
        assert {path.suffix for path in tmp_path.glob("penguin.*")} == {".mp4", ".webp", ".jpg"}
    finally:
        server.stop()


def test_the_program_for_batches_runs(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "batches.md").read_text(), re.S)
    assert code
    server = Served(tmp_path / "data")
    try:
        program = code[1].replace("8000", str(server.port))
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "".join(f"film-{n} completed\n" for n in range(3)), done.stderr
        assert read_clip(tmp_path / "film-2.mp4").num_frames == 24
    finally:
        server.stop()


def test_the_commands_for_operators_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operate.md").read_text()
    program = tmp_path / "bin" / "unstrung"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unstrung "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ, "UNSTRUNG_DATA": str(tmp_path / "data"), "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    for block in re.findall(r"```sh\n(.*?)```", page, re.S):
        for line in block.strip().splitlines():
            done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "everything.tar").exists() and (tmp_path / "ann.tar").exists()


def test_every_figure_is_explained() -> None:
    page = (ROOT / "docs" / "operate.md").read_text()
    code = (ROOT / "src" / "unstrung" / "api" / "metrics.py").read_text()
    said = {name.removesuffix("_total") for name in re.findall(r"^\| `(unstrung_\w+)`", page, re.M)}
    assert said == {name.removesuffix("_total") for name in re.findall(r'"(unstrung_\w+)"', code)}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_pages_name_only_what_is_there() -> None:
    """A path in backticks is a file of this repository, unless it says where something will be."""
    for page in (ROOT / "AGENTS.md", ROOT / "docs" / "training.md"):
        for name in re.findall(r"`((?:src|docs|scripts|bench|tests|models|train|corpus|diffusion)/[\w./]+)`", page.read_text()):
            assert (ROOT / name).exists() or (ROOT / "src" / "unstrung" / name).exists(), f"{page.name} names {name}"
