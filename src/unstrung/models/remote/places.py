"""The hosts that have names on this machine: a small file for each, in the user's configuration, which holds no key.

A key is in the environment, or in the system's keyring; the file says which variable, or that it is the keyring.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unstrung.errors import InvalidRequest, MissingWeights, UnstrungError
from unstrung.models.remote.place import EXAMPLE, Place, complaint, patience

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")  # no small letters, which keys have: a key that is given by mistake is not kept
SERVICE = "unstrung"  # what the keyring files the keys under, each by its place's name


@dataclass(frozen=True)
class Named:
    """A host that somebody has named: where it is, which model there, and where its key is to be found."""

    name: str
    url: str
    model: str | None = None
    key_env: str | None = None
    keyring: bool = False
    insecure: bool = False

    @property
    def host(self) -> str:
        """Return its host as people call it."""
        return Place(self.url).name

    @property
    def file(self) -> Path:
        """Return where it is kept."""
        return folder() / f"{self.name}.json"

    def open(self, environ: Mapping[str, str] = os.environ) -> Place:
        """Return the host with its key; raise `MissingWeights` where that can't be found, with what to do."""
        key, key_from = "", f"--key-env of {self.name}"
        if self.key_env:
            key, key_from = environ.get(self.key_env, "").strip(), self.key_env
            if not key:
                raise MissingWeights(f"{self.name} has no key: set {self.key_env} to your token at its host.")
        elif self.keyring:
            key, key_from = _kept(self.name), f"the keyring's key for {self.name}"
        if wrong := complaint(self.url, key, "--url", key_from, "add --insecure", self.insecure):
            raise MissingWeights(f"{self.name}: {wrong}")
        return Place(self.url, key, self.model or Place.model, patience(environ), f"--url of {self.name}", key_from)


def folder() -> Path:
    """Return where the files are: below $UNSTRUNG_DATA, or the user's folder for configuration."""
    if given := os.environ.get("UNSTRUNG_DATA"):
        return Path(given) / "places"
    from platformdirs import user_config_path

    return user_config_path("unstrung", appauthor=False) / "places"


def names() -> list[str]:
    """Return which places there are."""
    try:
        return sorted(path.stem for path in folder().glob("*.json") if NAME.fullmatch(path.stem))
    except OSError:  # a folder that can't be read holds none for whoever asks
        return []


def read(name: str) -> Named | None:
    """Return a place; None where there is none of this name. Raises `UnstrungError` for a file that is none of ours."""
    path = folder() / f"{name}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UnstrungError("bad_place", None, f"{path} can't be read: {_reason(error)}; {_mend(name)}.") from None
    kinds: dict[str, type | tuple[type, ...]] = {"url": str, "keyring": bool, "insecure": bool}
    given = found if isinstance(found, dict) else {}
    if not {"url"} <= given.keys() <= {f.name for f in fields(Named)} - {"name"} or not all(
        isinstance(value, kinds.get(field, (str, type(None)))) for field, value in given.items()
    ):
        raise UnstrungError("bad_place", None, f"{path} is not as 'unstrung models add' writes it: {_mend(name)}.")
    return Named(name, **given)


def add(named: Named, taken: Mapping[str, Any], force: bool = False) -> None:
    """Keep a place in its file, whole or not at all; `taken` are the names that models have, others' and places'.

    Raises `InvalidRequest` for what is no place, without showing what may hold a key; nobody is asked over the network.
    """
    ours = {name.lower(): name for name in names()}  # some file systems take Den for den
    if not NAME.fullmatch(named.name):
        words = f"NAME is '{named.name}'; it must be letters, digits and . _ - (64 at most), and begin with a letter or a digit."
        raise InvalidRequest("name", words)
    if (held := ours.get(named.name.lower())) is not None and not (force and held == named.name):
        words = f"NAME is '{named.name}', and a place is called {held} already: add --force to replace it, or choose another."
        raise InvalidRequest(
            "name", words if held == named.name else words.replace("add --force to replace it, or ", ""), "exists"
        )
    if named.name in taken and held is None:
        raise InvalidRequest("name", f"NAME is '{named.name}', which is the name of a model: choose another.", "exists")
    if wrong := complaint(named.url, "", "--url", "--key-env or --keyring", "add --insecure", named.insecure):
        raise InvalidRequest("url", wrong)
    if named.key_env is not None and not VARIABLE.fullmatch(named.key_env):
        words = "--key-env must be the name of a variable, as FILMS_KEY: capital letters, digits and _; never the key itself."
        raise InvalidRequest("key_env", words)
    if named.key_env and named.keyring:
        raise InvalidRequest("keyring", "The key is in the environment or in the keyring: give --key-env or --keyring, not both.")
    if named.keyring:
        _library(named.name)
    said = {field: value for field, value in asdict(named).items() if field != "name" and value not in (None, False)}
    _write(named.file, json.dumps(said, indent=2) + "\n")


def forget(name: str) -> None:
    """Remove a place; raise `InvalidRequest` where there is none of this name."""
    if name not in names():
        words = f"NAME is '{name}'; the places here are: {', '.join(names()) or 'none'}. See 'unstrung models list'."
        raise InvalidRequest("name", words, "unknown_place")
    try:
        (folder() / f"{name}.json").unlink(missing_ok=True)
    except OSError as error:
        raise UnstrungError("not_writable", None, f"{folder()} can't be written: {_reason(error)}.") from None


def each() -> Iterator[Named | str]:
    """Return all places, and for those that can't be read why not."""
    for name in names():
        try:
            named = read(name)
        except UnstrungError as error:
            yield error.message
        else:
            if named is not None:
                yield named


def find(name: str) -> Place:
    """Return the host of this name, with its key; raise `MissingWeights` with what is missing, and what to do."""
    try:
        named = read(name)
    except UnstrungError as error:
        raise MissingWeights(error.message) from None
    if named is None:
        words = f"{name} is not a place here any more: unstrung models add {name} --url {EXAMPLE}"
        raise MissingWeights(words)
    return named.open()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)  # which nobody else may read
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnstrungError("not_writable", None, f"{path} can't be written: {_reason(error)}.") from None


def _library(name: str) -> Any:
    try:
        return importlib.import_module("keyring")
    except ImportError:
        words = f"{name} needs the library 'keyring', which is not installed: pip install keyring, or give --key-env instead."
        raise MissingWeights(words) from None


def _kept(name: str) -> str:
    """Return the key that the system's keyring holds."""
    library = _library(name)
    try:
        key = library.get_password(SERVICE, name)
    except Exception as error:  # each system's keyring has errors of its own; their words are not ours to show beside a key
        words = f"{name} has its key in the keyring, which can't be opened here ({type(error).__name__}): see 'keyring diagnose'."
        raise MissingWeights(words) from None
    if not key or not key.strip():
        raise MissingWeights(f"{name} has no key in the keyring: keyring set {SERVICE} {name}")
    return str(key).strip()


def _mend(name: str) -> str:
    return f"mend it, or: unstrung models forget {name}"


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or "it is no JSON").lower()
