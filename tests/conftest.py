"""What the tests share: the toy world's stills, fetched once into the user's cache."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# spinning threads of several busy processes starve one another; must be set before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


LONGEST = ("test_studio.py", "test_worker.py")  # minutes each: whoever comes to them last is waited for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def stills() -> Path:
    """The folder of the toy world's still pictures (16 MB, with npm)."""
    from unstrung.corpus.toyworld.art import cache_dir, fetch

    folder = cache_dir() / "toyworld-stills"
    if not list(folder.glob("fluent-emoji-3d-*")) and shutil.which("npm") is None:
        pytest.skip("npm is not installed, and the toy world's art comes with it")
    return fetch(folder, stills_only=True)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two pictures and three videos, in files."""
    import numpy as np
    from PIL import Image

    from unstrung.media.clip import Clip
    from unstrung.media.codec import write_clip

    folder = tmp_path_factory.mktemp("given")
    found = {}
    for name, colour in (("one", (200, 60, 20)), ("two", (20, 60, 200))):
        lights = np.random.default_rng(0).uniform(0.5, 1.0, (10, 12, 1))
        Image.fromarray((lights * colour).astype(np.uint8)).resize((96, 80)).save(folder / f"{name}.png")
        found[name] = str(folder / f"{name}.png")
    ramp = np.linspace(0, 255, 9).astype(np.uint8)
    frames = np.broadcast_to(ramp[:, None, None, None], (9, 64, 64, 3)).copy()
    write_clip(Clip(frames, 24), folder / "video.mp4")
    write_clip(Clip(np.random.default_rng(0).integers(0, 256, frames.shape, np.uint8), 24), folder / "noise.mp4")
    write_clip(Clip(np.repeat(frames, 5, axis=0)[:40], 24), folder / "longer.mp4")
    return {**found, **{name: str(folder / f"{name}.mp4") for name in ("video", "noise", "longer")}}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that this session starts, on loopback; skips where none is installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), *map(Path, filter(None, [shutil.which("pg_ctl")]))]
    if not found:
        pytest.skip("PostgreSQL's server is not installed")
    # not among pytest's own folders, which another run of it may shut to the server's user
    bin_, folder = found[-1].parent, Path(tempfile.mkdtemp(prefix="unstrung-postgres-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user: list[str] = []
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody")
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([*as_user, bin_ / "initdb", "-D", data, "-U", "unstrung", "-A", "trust"], check=True, capture_output=True)
    subprocess.run([*as_user, bin_ / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"], check=True)
    yield f"postgresql://unstrung@127.0.0.1:{port}"
    subprocess.run([*as_user, bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True)
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new and empty store, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/unstrung.db"
    server = request.getfixturevalue("postgres")
    from sqlalchemy import create_engine, text

    name = f"test_{secrets.token_hex(6)}"
    with create_engine(f"{server}/postgres".replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"{server}/{name}"
