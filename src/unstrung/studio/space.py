"""A folder that is a Hugging Face Space: a copy of this package, the list of what it needs, and a script that opens the page.

Nothing of it needs the network or the page's framework; that whoever publishes the page has the framework says its version.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from string import Template

import unstrung
from unstrung.errors import InvalidRequest, MissingWeights, UnstrungError
from unstrung.models.remote.place import URL, find_place

EXTRAS = ("", "ui", "serve", "remote")  # of what this package requires; the first is the core
PYTHON = "3.11"
THERE = {
    "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64",
    "platform_python_implementation": "CPython", "implementation_name": "cpython", "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
}  # fmt: skip
UNUSED = ("train", "eval", "corpus/toyworld")  # what makes models, and nothing that makes films imports
NO_TEXT = ("*.safetensors", "*.npz", "*.png")  # what the Hub takes through git-lfs alone
MARK = '"""The page of Unstrung as a Hugging Face Space. Written by `unstrung space`, which can write it anew."""'

APP = Template(f"""{MARK}

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
STORAGE = Path("/data")  # the Space's own, where it has any; else films are gone when the Space starts anew

if __name__ == "__main__":
    os.environ.setdefault("UNSTRUNG_DATA", str(STORAGE if os.access(STORAGE, os.W_OK) else HERE / "data"))
    os.environ["PYTHONPATH"] = str(HERE)  # workers are processes of their own, and find the package there
$remote
    from unstrung.cli.studio import studio

    studio(  # as the command does: unstrung studio --host 0.0.0.0 --port 7860 --guests --no-browser ...
        host="0.0.0.0",
        port=int(os.environ.get("GRADIO_SERVER_PORT") or os.environ.get("PORT") or 7860),
        guests=True,
        framed_by=["https://huggingface.co"] if os.environ.get("SPACE_HOST") else None,  # else its cookies would need https
        browser=False,$options
    )
""")
REMOTE = """    # the token for it is among the Space's secrets, as UNSTRUNG_REMOTE_KEY
    os.environ.setdefault("UNSTRUNG_REMOTE_URL", $url)
"""
REMOTE_OPTIONS = """
        alias=["sora-2=remote"],  # what the page offers first, too
        workers=4,  # which only wait for the other machine"""

README = Template("""---
title: Unstrung
emoji: 🎞️
colorFrom: indigo
colorTo: pink
sdk: gradio
sdk_version: "$gradio"
python_version: "$python"
app_file: app.py
license: apache-2.0
pinned: false
short_description: A sentence becomes a film
---

# Unstrung

Text to video that nobody can switch off: type what you want to see, and get a film.

$maker

Whoever opens the page is a guest: what they make is theirs alone until they publish it, and nobody has to approve it. A guest is
known by a cookie; where a browser keeps none inside other pages, open the Space at its own address. Films are gone when the Space
starts anew, unless it has storage of its own, at `/data`.

`app.py` starts the page, `unstrung/` is a copy of Unstrung $version ($license), and `requirements.txt` is what that needs.
""")
HERE_MADE = """\
Films are made by `nano`, the small model that comes with Unstrung, on the Space's own processor. It knows a toy world of about a
hundred animals, people, vehicles, foods and toys, and says which words it did not know."""
THERE_MADE = """\
Films are made by `$name`, to which prompts and pictures go. The token that this Space has there belongs among its secrets, as
`UNSTRUNG_REMOTE_KEY`."""


def write_space(folder: Path, *, remote: str | None = None, force: bool = False) -> list[Path]:
    """Write a Space into a new folder, whole or not at all; return what lies in it.

    With `force` the folder may hold other things, which stay. Raises `InvalidRequest` for the fields "folder" and "remote", and
    `UnstrungError` where this package is only a copy itself, or where the page's framework is missing.
    """
    texts = _texts(remote)
    target = folder.absolute()
    try:
        _check(folder, target, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unstrung-", dir=target.parent) as beside:
            made = Path(beside) / "new"
            _copy_package(made / "unstrung")
            for name, text in texts.items():
                (made / name).write_text(text, encoding="utf-8")
            names = sorted(path.name for path in made.iterdir())
            _place(made, target, Path(beside) / "old")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnstrungError("not_writable", "folder", f"folder is '{folder}', which can't be written: {reason}.") from error
    return [folder / name for name in names]


def requirements() -> list[str]:
    """Return what a Space has to install, in the versions that this package asks for: the core's needs, and the page's."""
    from packaging.requirements import Requirement

    found = set()
    for line in distribution("unstrung").requires or []:
        needed = Requirement(line)
        wanted = needed.marker is None or any(needed.marker.evaluate({**THERE, "extra": extra}) for extra in EXTRAS)
        if wanted and needed.name != "unstrung":
            needed.marker = None
            found.add(str(needed))
    return sorted(found)


def _texts(remote: str | None) -> dict[str, str]:
    """Return the files of a Space but for the package, by name."""
    here = remote is None
    if remote is not None:
        try:
            place = find_place("remote", {URL: remote})
        except MissingWeights as error:  # whose words show no address, for that may hold a password
            raise InvalidRequest("remote", f"--remote is not the address of a host: {error.message}") from None
    try:
        installed, gradio, needed = distribution("unstrung"), version("gradio"), requirements()
    except (PackageNotFoundError, ImportError):
        words = "To write a Space, Unstrung must be installed with its page: pip install '.[ui]'"
        raise UnstrungError("not_installed", None, words) from None
    licenses = {name: text for name in ("LICENSE", "NOTICE") if (text := installed.read_text(f"licenses/{name}"))}
    app = APP.substitute(
        remote="" if here else Template(REMOTE).substitute(url=json.dumps(place.url)), options="" if here else REMOTE_OPTIONS
    )
    readme = README.substitute(
        gradio=gradio, python=PYTHON, version=unstrung.__version__, license=", ".join(licenses) or "Apache-2.0",
        maker=HERE_MADE if here else Template(THERE_MADE).substitute(name=place.name),
    )  # fmt: skip
    return {
        "app.py": app,
        "README.md": readme,
        "requirements.txt": "\n".join(needed) + "\n",
        ".gitattributes": "".join(f"{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in NO_TEXT),
        ".gitignore": "__pycache__/\ndata/\n",
        **licenses,
    }


def _check(folder: Path, target: Path, force: bool) -> None:
    """Raise `InvalidRequest` where a Space can't be written, or would take the place of something else."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise InvalidRequest("folder", f"folder is '{folder}', a file: choose another name.")
    if not force and any(target.iterdir()):
        words = f"folder is '{folder}', which is not empty: choose a new one, or add --force to write a Space into it."
        raise InvalidRequest("folder", words, code="exists")
    app = target / "app.py"
    if (target / "unstrung").exists() and not (app.is_file() and app.read_text(errors="replace").startswith(MARK)):
        words = f"folder is '{folder}', and '{folder / 'unstrung'}' there is no Space's: choose another."
        raise InvalidRequest("folder", words, code="exists")


def _copy_package(target: Path) -> None:
    """Copy this package, but for what a Space never needs."""
    source = Path(unstrung.__file__).parent

    def unused(folder: str, names: list[str]) -> list[str]:
        at = Path(folder).relative_to(source)
        return [name for name in names if name == "__pycache__" or (at / name).as_posix() in UNUSED]

    shutil.copytree(source, target, ignore=unused)


def _place(made: Path, target: Path, old: Path) -> None:
    """Put what was made where it belongs: in one move, or piece by piece where the folder is there, the script last."""
    if not target.exists():
        made.rename(target)
        return
    old.mkdir()
    for path in sorted(made.iterdir(), key=lambda path: path.name == "app.py"):
        if (target / path.name).is_dir():
            (target / path.name).rename(old / path.name)
        path.replace(target / path.name)
