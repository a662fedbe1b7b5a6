"""The command line as its user meets it: a process, its files, its words and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unstrung.media.codec import read_clip, read_recipe

UNSTRUNG = [sys.executable, "-c", "from unstrung.cli import main; main()"]
QUICK = ["--model", "echo", "--size", "64x48", "--seconds", "1", "--steps", "2"]


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*UNSTRUNG, *words], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env})


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_sentence_becomes_a_file_named_after_it(tmp_path: Path) -> None:
    done = run("A red fox, running!", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == {"a-red-fox-running.mp4"}
    assert done.stdout.startswith("a-red-fox-running.mp4  (1 s, 64x48, seed ")
    clip = read_clip(tmp_path / "a-red-fox-running.mp4")
    assert clip.frames.shape == (24, 48, 64, 3)


def test_the_default_verb_takes_options_on_either_side(tmp_path: Path) -> None:
    assert run(*QUICK, "a fox", cwd=tmp_path).returncode == 0
    assert run("generate", "a dog", *QUICK, cwd=tmp_path).returncode == 0
    assert run("show", *QUICK, cwd=tmp_path).returncode == 2, "a verb stays a verb"
    assert run("generate", "show", *QUICK, cwd=tmp_path).returncode == 0, "and can be a prompt"
    assert files(tmp_path) == {"a-fox.mp4", "a-dog.mp4", "show.mp4"}


def test_variants_have_their_own_files_and_seeds(tmp_path: Path) -> None:
    done = run("a fox", *QUICK, "--variants", "3", "--seed", "5", "--preview", "--json", "-o", "out/", cwd=tmp_path)
    assert done.returncode == 2 and "no folder" in done.stderr
    (tmp_path / "out").mkdir()
    done = run("a fox", *QUICK, "--variants", "3", "--seed", "5", "--preview", "--json", "-o", "out/", cwd=tmp_path)
    made = json.loads(done.stdout)
    assert [clip["recipe"]["seed"] for clip in made["clips"]] == [5, 6, 7]
    assert made["notes"][0]["code"] == "understood"
    assert made["seconds_to_load"] >= 0
    assert files(tmp_path / "out") == {f"a-fox-{n}.{kind}" for n in (1, 2, 3) for kind in ("mp4", "png")}
    sheet = Image.open(tmp_path / "out" / "a-fox-1.png")
    assert sheet.width > 64 and np.asarray(sheet).std() > 5
    shown = [json.loads(run("show", clip["file"], "--json", cwd=tmp_path).stdout) for clip in made["clips"]]
    assert shown == [clip["recipe"] for clip in made["clips"]]
    assert len({recipe["output"]["sha256"] for recipe in shown}) == 3


def test_show_and_remake(tmp_path: Path) -> None:
    run("a fox", *QUICK, "--seed", "5", cwd=tmp_path)
    shown = run("show", "a-fox.mp4", cwd=tmp_path)
    assert shown.returncode == 0
    for line in ("prompt  a fox", "seed  5", "24 frames at 24 fps, 64x48", "2 steps of euler"):
        assert line in shown.stdout
    again = run("remake", "a-fox.mp4", "-o", "again.mp4", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "identical: every frame is the same\n")
    assert np.array_equal(read_clip(tmp_path / "again.mp4").frames, read_clip(tmp_path / "a-fox.mp4").frames)
    assert read_recipe(tmp_path / "again.mp4").seed == 5
    assert json.loads(run("remake", "a-fox.mp4", "--json", cwd=tmp_path).stdout)["identical"] is True


def test_no_recipe_leaves_nothing_of_the_prompt_in_the_file(tmp_path: Path) -> None:
    run("a very secret fox", *QUICK, "--no-recipe", "-o", "x.mp4", cwd=tmp_path)
    assert b"secret" not in (tmp_path / "x.mp4").read_bytes()
    done = run("show", "x.mp4", cwd=tmp_path)
    assert done.returncode == 2 and "--no-recipe" in done.stderr


BAD = [
    (["  "], "The prompt is empty"),
    (["a fox", "--model", "ecko"], "did you mean echo"),
    (["a fox", *QUICK, "--model", "nano", "--size", "32x32"], "from 64 to 1920 pixels"),
    (["a fox", *QUICK, "--size", "64x47"], "height is 47; video needs even sizes: try 48"),
    (["a fox", *QUICK, "--size", "big"], "--size is 'big'; it must be like 640x360"),
    (["a fox", *QUICK, "--aspect", "1:1"], "--size says both sides already"),
    (["a fox", "--aspect", "2:1"], "'16:9', '9:16', '1:1'"),
    (["a fox", "--seconds", "61"], "seconds is 61 s; it must be from 1 to 60 s"),
    (["a fox", "--seconds", "soon"], "valid number"),
    (["a fox", *QUICK, "--fps", "0"], "fps is 0; it must be from 1 to 60"),
    (["a fox", *QUICK, "--variants", "0"], "--variants"),
    (["a fox", *QUICK, "-o", "nowhere/x.mp4"], "nowhere"),
    (["a fox", *QUICK, "-o", "x.avi"], ".mp4"),
    (["a fox", *QUICK, "-o", "there.mp4"], "--force"),
    (["a fox", *QUICK, "--nonsense"], "No such option: --nonsense"),
    (["a", "red", "fox"], "put the whole sentence in quotes"),
    (["a fox " * 60, "--seconds", "1"], "reads the first"),
    (["fox," * 60, "--seconds", "1"], "has 1 word; nano can't read even the first, of 240 letters"),
    (["a fox \udcff", "--seconds", "1"], "prompt holds a byte that is no text, after 'a fox '"),
    (["a fox", *QUICK, "--device", "cuda"], "echo runs on: cpu"),
    (["show", "absent.mp4"], "absent.mp4"),
    (["show", "notes.txt"], "notes.txt"),
    (["remake", "broken.mp4"], "broken.mp4"),
    (["models", "show", "nanoo"], "did you mean nano"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[ascii(" ".join(words))[:50] for words, _ in BAD])
def test_bad_input_gets_one_clear_line_and_loses_nothing(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "there.mp4").write_bytes(b"my only copy")
    (tmp_path / "notes.txt").write_text("just notes")
    run("a fox", *QUICK, "-o", "broken.mp4", cwd=tmp_path)
    whole = (tmp_path / "broken.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(whole[:300])
    before = files(tmp_path)
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert line.startswith("unstrung: ") and says in line, line
    assert "\n" not in line and "Traceback" not in line
    assert files(tmp_path) == before
    assert (tmp_path / "there.mp4").read_bytes() == b"my only copy"


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a-fox.mp4").write_bytes(b"old")
    assert run("a fox", *QUICK, "--force", cwd=tmp_path).returncode == 0
    assert read_clip(tmp_path / "a-fox.mp4").num_frames == 24


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("after", [0.5, 1.5, 3.0])
def test_ctrl_c_leaves_nothing_and_exits_130(tmp_path: Path, after: float) -> None:
    words = ["a fox", "--model", "echo", "--resolution", "1080p", "--seconds", "60"]
    process = subprocess.Popen([*UNSTRUNG, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "size"),
    [(["--resolution", "360p"], (640, 360)), (["--resolution", "480p"], (854, 480)), (["--resolution", "480p", "--aspect", "9:16"], (480, 854)),
     (["--aspect", "1:1"], (360, 360)), (["--size", "100X50"], (100, 50))],
)  # fmt: skip
def test_sizes(tmp_path: Path, words: list[str], size: tuple[int, int]) -> None:
    done = run("a fox", "--model", "echo", "--seconds", "0.2", *words, "--json", cwd=tmp_path)
    output = json.loads(done.stdout)["clips"][0]["recipe"]["output"]
    assert (output["width"], output["height"]) == size


def test_models_and_doctor(tmp_path: Path) -> None:
    listed = json.loads(run("models", "list", "--json", cwd=tmp_path).stdout)
    assert {"nano", "echo"} <= {card["id"] for card in listed}
    assert "nano" in run("models", "list", cwd=tmp_path).stdout
    assert "clay" in run("models", "show", "nano", cwd=tmp_path).stdout
    assert json.loads(run("models", "show", "echo", "--json", cwd=tmp_path).stdout)["license"] == "Apache-2.0"
    report = json.loads(run("doctor", "--json", cwd=tmp_path).stdout)
    assert {row["id"] for row in report["models"] if row["ready"]} == {"nano", "echo"}, report
    why = {row["id"]: row["why"] for row in report["models"]}
    assert "set UNSTRUNG_REMOTE_URL" in why["remote"], "a host is named by whoever has one"
    assert re.search(r"nano +ready", run("doctor", cwd=tmp_path).stdout)


def test_help_and_version(tmp_path: Path) -> None:
    assert "generate" in run("--help", cwd=tmp_path).stdout
    assert run("--version", cwd=tmp_path).stdout.startswith("unstrung 0.")
    for verb in ("generate", "show", "remake", "models", "doctor", "data", "train", "eval"):
        done = run(verb, "--help", cwd=tmp_path)
        assert done.returncode == 0 and "Usage" in done.stdout
