"""A Space: the folder that `unstrung space` writes, and its page where nothing is installed but what that folder asks for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from served import Served
from test_tokens import token, unstrung
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.media.codec import read_clip, read_recipe
from unstrung.studio.space import MARK, PYTHON, write_space

yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client says that its service has gone
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
FILES = {".gitattributes", ".gitignore", "LICENSE", "NOTICE", "README.md", "app.py", "requirements.txt", "unstrung"}
NOWHERE = "http://127.0.0.1:9"  # where no proxy is
IN_A_SPACE = {"SYSTEM": "spaces", "SPACE_ID": "ada/films", "SPACE_HOST": "ada-films.hf.space"}


class Space(Served):
    """A Space's page, as its host runs it: by its own environment, with nothing of this checkout's in sight."""

    def __init__(self, folder: Path, python: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = folder.parent / f"{folder.name}-home"
        self.home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "OMP_WAIT_POLICY": "passive", "PORT": str(self.port), **environment,
        }  # fmt: skip
        self.command, self.stderr = [str(python), str(folder / "app.py")], None
        self.start()

    @property
    def at(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def enter(self) -> tuple[str, str]:
        """Open the page; return the cookie that a guest gets there, and what a browser is told of it."""
        with urllib.request.urlopen(f"{self.at}/studio/en/") as page:
            cookie, _, rest = page.headers["set-cookie"].partition("; ")
        return cookie, rest

    def ask(self, cookie: str, path: str, **fields: Any) -> Any:
        """Ask as the page does."""
        body = json.dumps(fields).encode() if fields else None
        headers = {"cookie": cookie, "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.at}/v1/videos{path}", body, headers)) as answer:
            data = answer.read()
            return json.loads(data) if "json" in answer.headers["content-type"] else data

    def film(self, cookie: str, target: Path, **fields: Any) -> Path:
        """Have a film made, and save it."""
        video = self.ask(cookie, "", seconds="1", size="640x360", **fields)
        while video["status"] in ("queued", "in_progress"):
            time.sleep(0.25)
            video = self.ask(cookie, f"/{video['id']}")
        assert video["status"] == "completed", video
        target.write_bytes(self.ask(cookie, f"/{video['id']}/content"))
        return target


@dataclass(frozen=True)
class Written:
    """Two Spaces, one of them before a host that has a token for it, and the environment that the one's list makes."""

    own: Path
    remote: Path
    host: Served
    key: str
    python: Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("spaces")
    key = token(folder / "host", "space")
    host = Served(folder / "host")
    own, remote = folder / "own", folder / "remote"
    done = unstrung(folder / "host", "space", str(own))
    assert done.returncode == 0, done.stderr
    assert {Path(line).name for line in done.stdout.splitlines()} == FILES
    assert f"git -C {own} push --force https://huggingface.co/spaces/" in done.stderr and "secret" not in done.stderr
    done = unstrung(folder / "host", "space", str(remote), "--remote", f"http://127.0.0.1:{host.port}/v1/")
    assert done.returncode == 0 and "secret UNSTRUNG_REMOTE_KEY" in done.stderr
    assert (own / "requirements.txt").read_text() == (remote / "requirements.txt").read_text()
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    install = [python, "-m", "pip", "install", "--quiet", "-r", own / "requirements.txt"]
    subprocess.run(install, check=True, cwd=folder, env=alone, stderr=subprocess.DEVNULL)
    yield Written(own, remote, host, key, python)
    host.stop()


@pytest.fixture(scope="module")
def space(written: Written) -> Iterator[Space]:
    """The one with the built-in model, in a Space, from which no other machine can be asked."""
    running = Space(written.own, written.python, http_proxy=NOWHERE, https_proxy=NOWHERE, **IN_A_SPACE)
    yield running
    running.stop()


def test_the_folder_is_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    assert {path.name for path in write_space(folder)} == FILES == {path.name for path in folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["films"]
    front, text = (folder / "README.md").read_text().removeprefix("---\n").split("\n---\n")
    said = yaml.safe_load(front)
    assert said["title"] and (said["sdk"], said["app_file"], said["license"]) == ("gradio", "app.py", "apache-2.0")
    assert len(said["short_description"]) <= 60 and said["pinned"] is False
    assert {said["colorFrom"], said["colorTo"]} <= {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert said["python_version"] == PYTHON and SpecifierSet(PROJECT["requires-python"]).contains(PYTHON)
    assert "nano" in text and "UNSTRUNG_REMOTE_KEY" not in text

    listed = {r.name: r for r in map(Requirement, (folder / "requirements.txt").read_text().splitlines())}
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(line) for line in (*PROJECT["dependencies"], *extras["ui"], *extras["serve"], *extras["remote"])]
    assert set(listed) == {r.name for r in wanted} - {"unstrung"}
    assert all(listed[r.name].specifier == r.specifier and r.marker is None for r in wanted if r.name in listed and not r.marker)
    assert not any(r.marker for r in listed.values()) and listed["gradio"].specifier.contains(said["sdk_version"])

    kept = [line.split()[0] for line in (folder / ".gitattributes").read_text().splitlines() if "filter=lfs" in line]
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert "unstrung/models/native/weights/nano.safetensors" in files and "unstrung/studio/look/look.js" in files
    for name in files:
        in_lfs = any(fnmatch(Path(name).name, pattern) for pattern in kept)
        assert in_lfs or ((folder / name).stat().st_size < 10e6 and (folder / name).read_text()), f"{name} is large, or no text"
    assert not [name for name in files if "__pycache__" in name or "/train/" in name or "/toyworld/" in name]
    compile((folder / "app.py").read_text(), "app.py", "exec")


def test_a_folder_is_written_over_only_where_that_is_meant(tmp_path: Path) -> None:
    def refused(folder: Path, **options: Any) -> UnstrungError:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UnstrungError) as caught:
            write_space(folder, **options)
        assert sorted(tmp_path.rglob("*")) == before
        return caught.value

    mine = tmp_path / "mine"
    (mine / ".git").mkdir(parents=True)
    (mine / "README.md").write_text("of the Space as it was made")
    assert "--force" in refused(mine).message and refused(mine).field == "folder"
    write_space(mine, force=True)
    (mine / "unstrung" / "gone.py").write_text("of an earlier version")
    write_space(mine, force=True)  # which another version may have written
    assert {path.name for path in mine.iterdir()} == FILES | {".git"} and not (mine / "unstrung" / "gone.py").exists()
    assert (mine / "README.md").read_text().startswith("---\n") and (mine / "app.py").read_text().startswith(MARK)

    (tmp_path / "other" / "unstrung").mkdir(parents=True)
    (tmp_path / "other" / "unstrung" / "work.py").write_text("somebody's")
    assert "no Space's" in refused(tmp_path / "other", force=True).message
    assert "a file" in refused(mine / "app.py", force=True).message
    assert "can't be written" in refused(mine / "app.py" / "within").message
    assert "can't be written" in refused(tmp_path / ("x" * 300)).message


@pytest.mark.parametrize(
    "address", ["films.example.org", "http://films.example.org/v1", "https://ann:secret@films.example.org/v1", ""]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidRequest, match="https") as caught:
        write_space(tmp_path / "films", remote=address)
    assert caught.value.field == "remote" and "secret" not in caught.value.message and not list(tmp_path.iterdir())


def test_a_clip_is_made_with_nothing_but_what_the_folder_asks_for(written: Written, space: Space, tmp_path: Path) -> None:
    listing = "import importlib.metadata as m, sys; print(sys.prefix, *(d.name.lower() for d in m.distributions()))"
    prefix, *names = subprocess.run([written.python, "-c", listing], env={}, capture_output=True, text=True).stdout.split()
    assert Path(prefix) == written.python.parents[1] and not {"unstrung", "torch"} & {*names} and "gradio" in names
    cookie, rules = space.enter()
    assert all(word in rules for word in ("SameSite=None", "Secure", "Partitioned", "HttpOnly"))
    film = space.film(cookie, tmp_path / "fox.mp4", prompt="a red fox running through the snow", num_inference_steps=4)
    clip, recipe = read_clip(film), read_recipe(film)
    assert (clip.num_frames, clip.width, clip.height) == (24, 640, 360) and clip.frames.std() > 5
    assert recipe.model["id"] == "nano" and recipe.model["sha256"] and "fox" in recipe.understood["known"]
    assert (written.own / "data" / "unstrung.db").exists() and not list(space.home.rglob("*.*"))
    other, _ = space.enter()
    assert space.ask(other, "")["data"] == [] and len(space.ask(cookie, "")["data"]) == 1


def test_the_page_speaks_https_where_the_space_does(space: Space) -> None:
    headers = {"host": IN_A_SPACE["SPACE_HOST"], "x-forwarded-host": IN_A_SPACE["SPACE_HOST"], "x-forwarded-proto": "https"}
    with urllib.request.urlopen(urllib.request.Request(f"{space.at}/studio/en/", headers=headers)) as page:
        assert page.headers["content-security-policy"].endswith("frame-ancestors https://huggingface.co")
        assert f"https://{IN_A_SPACE['SPACE_HOST']}/studio/en" in page.read().decode()


def test_the_page_works_inside_the_hubs(space: Space) -> None:
    """A real browser, with the page in a frame of another site's, where cookies are most easily lost."""
    seen = pytest.importorskip("test_studio")
    if seen.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    frame = f'<!doctype html><iframe width="1000" height="800" src="{space.at}/?__theme=light"></iframe>'
    with seen.playwright.sync_playwright() as started:
        # the Hub's page is public, and this machine is not: browsers ask people before they let the one look into the other
        near = "--disable-features=LocalNetworkAccessChecks"
        browser = started.chromium.launch(executable_path=seen.CHROMIUM, args=[*seen.QUIET, near])
        page = browser.new_page()
        page.set_default_timeout(seen.PATIENCE)
        for site in ("https://huggingface.co/**", "https://elsewhere.example/**"):
            page.route(site, lambda route: route.fulfill(content_type="text/html", body=frame))
        page.goto("https://huggingface.co/spaces/ada/films")
        inside = page.frame_locator("iframe")
        inside.get_by_label("What do you want to see?").fill("a penguin on the ice")
        inside.get_by_text("More", exact=False).first.click()
        inside.get_by_label("Steps").fill("2")
        inside.locator("#generate").click()
        inside.locator("#board article video").wait_for()
        kept = page.context.cookies()
        assert [(cookie["name"], cookie["sameSite"], cookie["secure"]) for cookie in kept] == [("unstrung", "None", True)]
        alone = browser.new_page()  # at its own address, with a cookie of its own
        alone.goto(space.at)
        alone.get_by_label("What do you want to see?").wait_for()
        assert alone.evaluate("fetch('/v1/videos').then(answer => answer.json())")["data"] == []
        with page.expect_event("requestfailed") as refused:
            page.goto("https://elsewhere.example/")
        assert refused.value.failure == "net::ERR_BLOCKED_BY_RESPONSE"
        browser.close()


def test_a_clip_comes_from_the_other_host(written: Written, tmp_path: Path) -> None:
    space = Space(written.remote, written.python, UNSTRUNG_REMOTE_KEY=written.key)
    cookie, rules = space.enter()
    assert "SameSite=Strict" in rules and "Secure" not in rules  # for this is no Space, and http
    film = space.film(cookie, tmp_path / "fox.mp4", prompt="a fox", model="sora-2")
    recipe = read_recipe(film)
    assert (read_clip(film).num_frames, recipe.model["id"], recipe.device["host"]) == (
        24,
        "remote",
        f"127.0.0.1:{written.host.port}",
    )
    known = written.host.client.with_options(api_key=written.key).videos.list().data
    assert [(video.prompt, video.model) for video in known] == [("a fox", "echo")]
    with urllib.request.urlopen(urllib.request.Request(f"{space.at}/studio/en/", headers={"cookie": cookie})) as page:
        choices = page.read().decode().replace(" ", "").partition('"choices":[["remote","remote"]')
    assert choices[1], "the page offers the other host first"
    text = "".join(path.read_text(errors="ignore") for path in written.remote.glob("*.*"))
    assert written.key not in text and f"127.0.0.1:{written.host.port}" in text
    space.stop()
