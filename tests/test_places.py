"""Hosts that have names here: each is a model, its file holds no key, and nothing else that is kept or said does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from served import Served, Shared, run, run_here
from unstrung import Request, generate
from unstrung.errors import MissingWeights
from unstrung.plugins import cards, find_card
from unstrung.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
URL = "https://films.example.org/v1"
SMALL = ["--size", "64x48", "--seconds", "1", "--seed", "5"]
RING = '''"""A keyring that is a file: what `keyring` takes as a system's own."""

import json, os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        if os.environ.get("RING") == "locked":
            raise KeyringLocked("the password is hunter22")
        path = Path(os.environ["RING"])
        return json.loads(path.read_text()).get(service + "/" + username) if path.exists() else None

    def set_password(self, service, username, password):
        Path(os.environ["RING"]).write_text(json.dumps({service + "/" + username: password}))
'''


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's folder, in which nothing is named yet."""
    for name in [name for name in os.environ if name.startswith("UNSTRUNG_REMOTE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("UNSTRUNG_DATA", str(tmp_path / "here"))
    return tmp_path / "here"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    server = Shared(tmp_path_factory.mktemp("places") / "host")
    yield server
    server.stop()


def add(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_here("models", "add", *words, **env)


def everything(folder: Path) -> str:
    """All that lies in a folder, as text."""
    return "".join(path.read_bytes().decode("latin1") + path.name for path in folder.rglob("*") if path.is_file())


def last(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_named_host_is_a_model(host: Shared, here: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{host.port}/v1"
    added = run("models", "add", "den", "--url", f"{url}/", "--key-env", "DEN_KEY", "--model", "echo", "--json")
    assert added.returncode == 0, added.stderr
    (file,) = (here / "places").iterdir()
    told = json.loads(added.stdout)
    assert told["file"] == str(file) == str(here / "places" / "den.json") and "den has no key: set DEN_KEY" in added.stderr
    assert json.loads(file.read_text()) == {"url": url, "model": "echo", "key_env": "DEN_KEY"}
    assert file.stat().st_mode & 0o777 == 0o600
    listed = {card["id"]: card for card in json.loads(run_here("models", "list", "--json").stdout)}
    assert {"echo", "nano", "remote", "den"} <= {*listed} and f"127.0.0.1:{host.port}" in listed["den"]["summary"]
    assert (
        f"It is at {url}. DEN_KEY holds your token there." in run_here("models", "show", "den").stdout
        and listed["den"]["family"] == "remote"
    )
    why = {row["id"]: row["why"] for row in json.loads(run_here("doctor", "--json").stdout)["models"]}
    assert why["den"] == "den has no key: set DEN_KEY to your token at its host."
    missing = run("a fox", "--model", "den", *SMALL, cwd=tmp_path)
    assert missing.returncode == 2 and last(missing) == f"unstrung: {why['den']}"

    made = run("a fox", "--model", "den", *SMALL, "--json", cwd=tmp_path, DEN_KEY=host.key)
    assert made.returncode == 0, made.stderr
    recipe = json.loads(made.stdout)["clips"][0]["recipe"]
    assert recipe["model"]["id"] == "den" and recipe["model"]["revision"] == "echo 2"
    assert recipe["device"]["host"] == f"127.0.0.1:{host.port}" and recipe["resolved"]["model"] == "den"
    again = run("remake", "a-fox.mp4", cwd=tmp_path, DEN_KEY=host.key)
    assert again.stdout == "identical: every frame is the same\n", again.stderr
    wrong = run("a fox", "--model", "den", *SMALL, "--force", cwd=tmp_path, DEN_KEY="unstrung_wrong")
    assert last(wrong).endswith("(DEN_KEY is not the right one.)")
    said = made.stdout + made.stderr + again.stderr + added.stdout + added.stderr + wrong.stderr
    assert host.key not in said + everything(here) + everything(tmp_path / "here") + (tmp_path / "a-fox.mp4").read_text("latin1")
    assert "unstrung_wrong" not in wrong.stderr

    assert run("models", "forget", "den").returncode == 0 and not file.exists()
    gone = run("models", "forget", "den")
    assert (
        gone.returncode == 2 and last(gone) == "unstrung: NAME is 'den'; the places here are: none. See 'unstrung models list'."
    )
    assert "There is no model 'den'" in last(run("remake", "a-fox.mp4", cwd=tmp_path))


def test_a_server_has_its_films_made_by_a_named_host(host: Shared, here: Path, tmp_path: Path) -> None:
    assert add("den", "--url", f"http://127.0.0.1:{host.port}/v1", "--key-env", "DEN_KEY").returncode == 0
    os.environ["DEN_KEY"] = host.key
    try:
        front = Served(here, "--alias", "sora-2-pro=den", log=tmp_path / "log")
    finally:
        del os.environ["DEN_KEY"]
    try:
        video = front.client.videos.create_and_poll(
            prompt="a fox", model="sora-2-pro", size="64x48", seconds="1", poll_interval_ms=200
        )  # type: ignore[arg-type]
        assert video.status == "completed" and video.model == "den", video.error
        recipe: Any = front.client.get(f"/videos/{video.id}/recipe", cast_to=object)
        assert recipe["model"]["id"] == "den"
        # forgotten and named anew, which whoever runs already hears
        assert run("models", "forget", "den").returncode == 0
        with pytest.raises(Exception, match="den is not a place here any more: unstrung models add den --url"):
            front.client.videos.create(prompt="a fox", model="den", size="64x48", seconds="1")  # type: ignore[arg-type]
        assert add("den", "--url", "http://127.0.0.1:9/v1", "--key-env", "DEN_KEY").returncode == 0
        failed = front.client.videos.create_and_poll(prompt="a fox", model="den", size="64x48", seconds="1", poll_interval_ms=200)  # type: ignore[arg-type]
        assert failed.error and "127.0.0.1:9 has not answered" in failed.error.message
        assert "check --url of den" in failed.error.message
        assert host.key not in json.dumps(recipe) + failed.to_json()
    finally:
        front.stop()
    assert host.key not in everything(here) + (tmp_path / "log").read_text(), "in no file, store or log"


BAD = [
    (["den"], "url"),
    (["../den", "--url", URL], "NAME is '../den'; it must be letters, digits and . _ -"),
    ([".den", "--url", URL], "begin with a letter or a digit"),
    (["nano", "--url", URL], "NAME is 'nano', which is the name of a model"),
    (["remote", "--url", URL], "NAME is 'remote', which is the name of a model"),
    (["den", "--url", "https://ann:hunter22@films.example.org/v1"], "the key goes in --key-env or --keyring"),
    (["den", "--url", "https://films.example.org/v1?key=hunter22"], "--url must be like https://films.example.org/v1"),
    (["den", "--url", "http://films.example.org/v1"], "use https, or add --insecure"),
    (["den", "--url", URL, "--key-env", "unstrung_hunter22"], "must be the name of a variable, as FILMS_KEY"),
    (["den", "--url", URL, "--key-env", "sk-hunter22"], "never the key itself"),
    (["den", "--url", URL, "--key-env", "A", "--keyring"], "give --key-env or --keyring, not both"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[says for _, says in BAD])
def test_what_is_no_place_is_not_kept(here: Path, words: list[str], says: str) -> None:
    done = add(*words)
    assert done.returncode == 2 and says in last(done), done.stderr
    assert "hunter22" not in done.stdout + done.stderr and not list(here.iterdir())


def test_a_name_is_replaced_only_when_that_is_said(here: Path) -> None:
    assert add("den", "--url", URL).returncode == 0
    assert "a place is called den already: add --force" in last(add("den", "--url", "https://other.example.org/v1"))
    assert "a place is called den already: choose another" in last(add("Den", "--url", URL, "--force"))
    assert add("den", "--url", "http://gpu.lan:8000/v1", "--insecure", "--force").returncode == 0
    assert json.loads((here / "places" / "den.json").read_text()) == {"url": "http://gpu.lan:8000/v1", "insecure": True}
    assert [path.name for path in (here / "places").iterdir()] == ["den.json"], "nothing half-written lies there"


def test_places_are_the_users_own_where_no_folder_is_named(tmp_path: Path) -> None:
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "UNSTRUNG_DATA": ""}
    assert add("den", "--url", URL, **own).returncode == 0
    if sys.platform == "linux":
        assert (tmp_path / "config" / "unstrung" / "places" / "den.json").exists()
    assert "den" in run_here("models", "list", **own).stdout and "films.example.org" not in run_here("models", "list").stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "x"}', '{"url": 7}', f'{{"url": "{URL}", "key": "hunter22"}}', "\xff"])
def test_a_broken_file_takes_no_other_place_with_it(here: Path, text: str) -> None:
    add("den", "--url", URL)
    add("attic", "--url", URL)
    (here / "places" / "den.json").write_text(text, encoding="latin1")
    with pytest.warns(UserWarning, match=r"den\.json .*mend it, or: unstrung models forget den\.") as warned:
        assert {"attic", "echo"} <= {*cards()} and "den" not in cards()
    assert "hunter22" not in str([warning.message for warning in warned])
    assert run_here("models", "forget", "den").returncode == 0 and not (here / "places" / "den.json").exists()


def test_a_model_goes_before_a_place_of_its_name(here: Path) -> None:
    add("den", "--url", URL)
    (here / "places" / "den.json").rename(here / "places" / "echo.json")
    with pytest.warns(UserWarning, match="'echo', which was named here, is left out"):
        assert find_card("echo")[0].family == "echo"


def test_a_place_needs_no_key_where_its_host_asks_for_none(tmp_path: Path) -> None:
    server = Served(tmp_path / "open")
    try:
        assert "has no key" not in add("den", "--url", f"http://127.0.0.1:{server.port}/v1").stderr
        clip, recipe = generate(Request("a fox", model="den", width=64, height=48, seconds=1.0))
        assert clip.num_frames == 24 and recipe.model["id"] == "den" and Recipe.from_json(recipe.to_json()) == recipe
    finally:
        server.stop()


def test_a_host_that_wants_a_key_says_so(host: Shared, tmp_path: Path) -> None:
    add("den", "--url", f"http://127.0.0.1:{host.port}/v1")
    done = run("a fox", "--model", "den", *SMALL, cwd=tmp_path)
    assert last(done).endswith("(--key-env of den is not set.)")


def test_without_its_library_there_is_no_keyring(here: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "keyring.py").write_text("raise ImportError('not installed')\n")
    path = {"PYTHONPATH": f"{tmp_path / 'gone'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = add("den", "--url", URL, "--keyring", **path)
    assert done.returncode == 2 and "pip install keyring, or give --key-env instead" in last(done)
    assert not list(here.iterdir())


@pytest.mark.skipif(find_spec("keyring") is None, reason="the library keyring is not installed")
def test_a_key_comes_from_the_keyring(host: Shared, here: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "ring.py").write_text(RING)
    ring = {
        "PYTHONPATH": f"{tmp_path / 'code'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "PYTHON_KEYRING_BACKEND": "ring.Ring",
        "RING": str(tmp_path / "ring.json"),
    }  # fmt: skip
    added = add("den", "--url", f"http://127.0.0.1:{host.port}/v1", "--keyring", **ring)
    assert added.returncode == 0 and "den has no key in the keyring: keyring set unstrung den" in added.stderr
    missing = run("a fox", "--model", "den", *SMALL, cwd=tmp_path, **ring)
    assert last(missing) == "unstrung: den has no key in the keyring: keyring set unstrung den"
    command = [sys.executable, "-m", "keyring", "set", "unstrung", "den"]  # the command that was named, as it is typed
    subprocess.run(command, env={**os.environ, **ring}, input=host.key, text=True, check=True, capture_output=True)
    made = run("a fox", "--model", "den", *SMALL, "--json", cwd=tmp_path, **ring)
    assert made.returncode == 0, made.stderr
    assert "Your token there is in the system's keyring." in run_here("models", "show", "den", **ring).stdout
    locked = run("a fox", "--model", "den", *SMALL, "--force", cwd=tmp_path, **{**ring, "RING": "locked"})
    assert "which can't be opened here (KeyringLocked): see 'keyring diagnose'" in last(locked)
    assert host.key not in made.stdout + made.stderr + locked.stderr + everything(here) and "hunter22" not in locked.stderr
    with pytest.raises(MissingWeights, match="keyring"):  # this process has no such keyring
        find_card("den")[1].check(find_card("den")[0])
