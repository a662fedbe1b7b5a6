"""What is given on the command line: pictures, films, LoRAs and options, as the person who types it meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unstrung.media.clip import Clip
from unstrung.media.codec import read_clip, write_clip

UNSTRUNG = [sys.executable, "-c", "from unstrung.cli import main; main()"]
QUICK = ["--model", "echo", "--size", "64x48", "--seconds", "1", "--steps", "2", "--seed", "5"]


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*UNSTRUNG, *words], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A red picture, a blue one, and a green film."""
    Image.new("RGB", (64, 48), (250, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (64, 48), (0, 0, 250)).save(tmp_path / "blue.png")
    write_clip(Clip(np.full((12, 48, 64, 3), (0, 250, 0), np.uint8), 24), tmp_path / "green.mp4")
    return tmp_path


def made(folder: Path, *words: str) -> tuple[dict[str, Any], np.ndarray]:
    """Run the command; return its recipe, and the mean colour of each frame."""
    done = run("a fox", *QUICK, "--json", "--force", "-o", "made.mp4", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    recipe: dict[str, Any] = json.loads(done.stdout)["clips"][0]["recipe"]
    return recipe, read_clip(folder / "made.mp4").frames.reshape(24, -1, 3).mean(1)


def is_(colour: np.ndarray, channel: int) -> bool:
    return colour[channel] > 200 and np.delete(colour, channel).max() < 60


def test_pictures_at_their_frames(files: Path) -> None:
    recipe, colours = made(files, "--image", "red.png", "--last-image", "blue.png", "--at", "12=red.png", "--at", "-6=blue.png")
    asked = [(given["source"], given["frame_index"], given["kind"]) for given in recipe["request"]["conditions"]]
    red, blue = str(files / "red.png"), str(files / "blue.png")
    assert asked == [(red, 0, "image"), (red, 12, "image"), (blue, -6, "image"), (blue, -1, "image")]
    assert len(recipe["parents"]) == 2
    _, colours = made(files, "--image", "red.png", "--last-image", "blue.png")
    assert is_(colours[0], 0) and is_(colours[-1], 2)
    _, colours = made(files, "--at", "12=red.png")
    assert is_(colours[12], 0) and not is_(colours[0], 0)


def test_films_to_go_on_from_and_to_make_anew(files: Path) -> None:
    recipe, colours = made(files, "--extend", "green.mp4")
    assert recipe["request"]["conditions"] == [
        {"source": str(files / "green.mp4"), "frame_index": 0, "strength": 1.0, "kind": "video"}
    ]
    assert is_(colours[3], 1) and not is_(colours[20], 1)
    plain = made(files)[1]
    recipe, half = made(files, "--from", "green.mp4", "--strength", "0.5")
    assert recipe["request"]["conditions"][0]["strength"] == 0.5
    assert np.allclose(half[3], (plain[3] + (0, 250, 0)) / 2, atol=6)
    assert made(files, "--from", "green.mp4")[0]["request"]["conditions"][0]["strength"] == 0.6


def test_options_have_the_type_of_their_default(files: Path) -> None:
    recipe, _ = made(files, "--set", "pattern=rings")
    assert recipe["resolved"]["options"] == {"pattern": "rings"}
    from unstrung.cli.given import _typed

    assert [_typed("a", "3", 1.5), _typed("a", "3", 1), _typed("a", "Yes", False), _typed("a", "3", "x"), _typed("a", "3", None)] == [
        3.0, 3, True, "3", "3",
    ]  # fmt: skip
    assert isinstance(_typed("a", "3", 1.5), float)


def test_what_is_given_by_its_relative_path_is_found_from_elsewhere(files: Path) -> None:
    (files / "sub").mkdir()
    done = run("a fox", *QUICK, "--image", "../red.png", "-o", "../made.mp4", cwd=files / "sub")
    assert done.returncode == 0, done.stderr
    again = run("remake", "made.mp4", cwd=files)
    assert (again.returncode, again.stdout) == (0, "identical: every frame is the same\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--image", "none.png"], "--image is 'none.png', and there is no such file."),
        (["--last-image", "."], "--last-image is '.', and there is no such file."),
        (["--extend", "none.mp4"], "--extend is 'none.mp4', and there is no such file."),
        (["--from", "none.mp4"], "--from is 'none.mp4', and there is no such file."),
        (["--at", "3=none.png"], "--at is 'none.png', and there is no such file."),
        (["--at", "soon=red.png"], "--at is 'soon=red.png'; it must be FRAME=FILE"),
        (["--at", "1.5=red.png"], "--at is '1.5=red.png'; it must be FRAME=FILE"),
        (["--at", "red.png"], "--at is 'red.png'; it must be FRAME=FILE"),
        (["--at", "99=red.png"], "frame_index is 99; the video has 24 frames"),
        (["--control", "green.mp4"], "echo does no control"),
        (["--strength", "0.5"], "--strength is 0.5; it is how much --from or --control counts: add one of them."),
        (["--from", "green.mp4", "--strength", "2"], "--strength is 2; it must be from 0 to 1."),
        (["--from", "green.mp4", "--strength", "nan"], "--strength is nan; it must be from 0 to 1."),
        (["--from", "green.mp4", "--strength", "1"], "--strength is 1, which leaves the film as it is"),
        (["--set", "pattern"], "--set is 'pattern'; it must be NAME=VALUE."),
        (["--set", "patern=rings"], "echo has no option 'patern'; did you mean pattern"),
        (["--set", "pattern=dots"], "option pattern is 'dots'; echo allows: bands, rings."),
        (["--set", "pattern=rings", "--set", "pattern=bands"], "pattern is set to 'rings' already: say it once."),
        (["--preset", "draft"], "echo has no option 'preset'"),
        (
            ["--lora", "none.safetensors"],
            "--lora is 'none.safetensors', and there is no such file; of the hub it is like hf:OWNER/NAME.",
        ),
        (["--lora", "look.safetensors=much"], "its scale is 'much'; it must be a number, as look.safetensors=0.8."),
        (["--lora", "look.safetensors=nan"], "its scale is 'nan'; it must be a number"),
        (["--lora", "hf:a/b=x"], "its scale is 'x'; it must be a number, as hf:a/b=0.8."),
        (["--lora", "look.safetensors=0.5"], "echo takes no loras yet"),
        (["--queue", "--image", "red.png"], "--queue can't take "),
    ],
)
def test_bad_input_gets_one_clear_line(files: Path, words: list[str], says: str) -> None:
    (files / "look.safetensors").touch()
    done = run("a fox", *QUICK, *words, cwd=files, UNSTRUNG_DATA=str(files / "data"))
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(files.glob("a-fox*")) and not (files / "data").exists()


def test_loras_and_their_scales() -> None:
    from unstrung.cli.given import _lora
    from unstrung.request import Lora

    here = Path(__file__)
    assert _lora(f"{here}=0.8") == Lora(str(here), 0.8) and _lora(str(here)) == Lora(str(here), 1.0)
    assert _lora(f"{here}#2=-1") == Lora(f"{here}#2", -1.0)
    assert _lora("hf:a/b=2") == Lora("hf:a/b", 2.0) and _lora("hf:a/b/c.safetensors#1") == Lora("hf:a/b/c.safetensors#1")


def test_a_file_with_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    from unstrung.cli.given import _lora

    (tmp_path / "rank=4.safetensors").touch()
    assert _lora(str(tmp_path / "rank=4.safetensors")).scale == 1.0
    assert _lora(f"{tmp_path / 'rank=4.safetensors'}=0.5").scale == 0.5
