"""Jobs, recipes, cards and the table of models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import unstrung
from unstrung.errors import UnknownModel, UnstrungError
from unstrung.job import MOVES, Job, JobError, Status
from unstrung.plugins import cards, find_card
from unstrung.recipe import SCHEMA_VERSION, Recipe
from unstrung.request import Request

RECIPE = Recipe(
    request={"prompt": "ein Fuchs im Schnee ❄"},
    resolved={"prompt": "ein Fuchs im Schnee ❄", "width": 640},
    model={"id": "nano"},
    seed=7,
    output={"sha256": "ab", "width": 640, "height": 360, "num_frames": 120, "fps": 24},
)


def test_a_job_moves_only_as_the_table_says() -> None:
    job = Job("video_1", Request("a fox"), created_at=1.0)
    done = job.move(Status.IN_PROGRESS, worker="w").move(Status.COMPLETED, progress=100)
    assert (done.status, done.worker, done.progress) == ("completed", "w", 100)
    with pytest.raises(UnstrungError, match="goes to: nothing"):
        done.move(Status.QUEUED)
    assert set(MOVES) == set(Status)


def test_a_job_is_json_both_ways() -> None:
    job = Job("video_1", Request("a fox", seed=3), created_at=1.0, status=Status.FAILED, error=JobError("oom", "no"), attempt=2)
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_a_recipe_is_canonical() -> None:
    text = RECIPE.to_json()
    assert Recipe.from_json(text) == RECIPE
    assert Recipe.from_json(text).digest() == RECIPE.digest()
    shuffled = json.dumps(dict(reversed(json.loads(text).items())), indent=3)
    assert Recipe.from_json(shuffled).digest() == RECIPE.digest()
    assert "❄" in text and " " not in text.replace("ein Fuchs im Schnee ❄", "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "bad_recipe"),
        ("[]", "bad_recipe"),
        ('{"prompt": "x"}', "bad_recipe"),
        ('{"request":{},"resolved":{},"model":{},"seed":1,"output":{}}', "bad_recipe"),
        (RECIPE.to_json().replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":99'), "newer_recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, code: str) -> None:
    with pytest.raises(UnstrungError) as caught:
        Recipe.from_json(text)
    assert caught.value.code == code


def test_a_recipe_from_a_later_minor_version_keeps_what_is_known() -> None:
    data = json.loads(RECIPE.to_json()) | {"mood": "calm"}
    assert Recipe.from_json(json.dumps(data)) == RECIPE


def test_models_are_found_by_their_entry_points() -> None:
    assert {"nano", "echo", "remote"} <= set(cards())
    for card, module in cards().values():
        assert json.loads(json.dumps(card.to_dict()))["id"] == card.id
        assert callable(module.load)
        assert set(card.defaults) >= {"width", "height", "seconds", "num_inference_steps", "guidance_scale"}
        # weights from a hub have a sampler of their own, which is none of ours by name
        assert card.defaults["sampler"] in card.samplers or (
            card.defaults["sampler"] is None and (card.repo_id is not None or not card.samplers)
        )


def test_a_broken_package_of_models_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[unstrung.models]\nbroken = broken_models\n")
    (tmp_path / "broken_models.py").write_text("import a_library_that_is_gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="'broken' of unstrung.models .*a_library_that_is_gone"):
        assert {"nano", "echo"} <= set(cards())


def test_what_was_copied_instead_of_installed_has_its_models_too(tmp_path: Path) -> None:
    """A page on somebody's host is a script with this package beside it: no metadata, and so no entry points."""
    source, beside, libraries = Path(unstrung.__file__).parent, tmp_path / "beside", tmp_path / "libraries"
    shutil.copytree(source, beside / "unstrung", ignore=shutil.ignore_patterns("__pycache__"))
    libraries.mkdir()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(folder).iterdir():  # everything that is installed here but unstrung itself
            if "unstrung" not in path.name and not path.name.endswith(".pth"):
                (libraries / path.name).symlink_to(path)
    code = (
        "import importlib.metadata, unstrung, unstrung.plugins\n"
        "try:\n    importlib.metadata.distribution('unstrung')\n    print('installed')\nexcept ModuleNotFoundError:\n    pass\n"
        "print(unstrung.__file__, *sorted(unstrung.plugins.cards()))\n"
        "from unstrung import Request, generate\n"
        "print(generate(Request('x', model='echo', width=64, height=48, num_frames=5))[0].frames.shape)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{beside}{os.pathsep}{libraries}"}
    done = subprocess.run(  # -S: this environment's own folder of libraries is not looked into
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    lines = [" ".join([str(beside / "unstrung" / "__init__.py"), *sorted(cards())]), "(5, 48, 64, 3)"]
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")


def test_an_unknown_model_names_the_near_ones() -> None:
    with pytest.raises(UnknownModel) as caught:
        find_card("nanoo")
    assert "did you mean nano" in caught.value.message
    assert "unstrung models list" in caught.value.message
