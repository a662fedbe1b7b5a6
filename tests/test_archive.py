"""Everything leaves and comes back: between stores, over HTTP, killed, tampered with, and nobody else's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image
from sqlalchemy import insert, update

from served import Served
from unstrung import engine
from unstrung.errors import UnstrungError
from unstrung.job import Job, JobError, Status
from unstrung.jobs.archive import MANIFEST, export_to
from unstrung.jobs.restore import import_from
from unstrung.jobs.store import Store
from unstrung.jobs.tables import clips, jobs
from unstrung.jobs.uploads import add_upload, list_uploads, take_in
from unstrung.jobs.worker import Worker
from unstrung.media.codec import read_clip, read_recipe
from unstrung.media.vet import Vetted
from unstrung.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # OpenAI's client says that its service has gone
SMALL: Any = {"prompt": "a fox", "seconds": "1", "size": "64x48"}


def unstrung(folder: Path, *words: str | Path, code: int = 0) -> str:
    environment = {**os.environ, "UNSTRUNG_DATA": str(folder), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([sys.executable, "-m", "unstrung", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def ask(store: Store, id: str, owner: str | None = "ann", **more: Any) -> Job:
    asked = Request(f"a fox, {id} \N{SNOWFLAKE}", model="echo", width=64, height=48, num_frames=9, seed=7)
    return store.add(Job(id, engine.check(asked).target, created_at=time.time(), owner=owner, seconds=9 / 24, **more))


def send(store: Store, folder: Path, owner: str) -> None:
    """A picture that somebody has sent."""
    (folder / "uploads").mkdir(exist_ok=True)
    Image.new("RGB", (64, 48), "red").save(folder / "uploads" / "new.png")
    seen = Vetted("image", 64, 48, 1, 1)
    place, new = folder / "uploads", folder / "uploads" / "new.png"
    with store.changing() as connection:
        add_upload(connection, take_in(place, new, seen, owner=owner, kind="image"))


def fill(store: Store, folder: Path) -> None:
    """Two films of Ann's and one of Bob's, what failed, what was canceled, what is being made, and what waits."""
    for id, owner in (("video_one", "ann"), ("video_two", "ann"), ("video_bob", "bob")):
        ask(store, id, owner, public=id == "video_two", remixed_from_video_id="video_one" if id == "video_two" else None)
    Worker(store, folder).run(lambda: False, once=True)
    ask(store, "video_failed")
    assert (mine := store.claim("w")) is not None and store.fail(mine, JobError("not_enough_memory", "Too large."))
    ask(store, "video_canceled")
    store.cancel("video_canceled")
    ask(store, "video_running")
    store.claim("somebodys-machine")
    ask(store, "video_waiting", draft=True)
    send(store, folder, "ann")
    send(store, folder, "bob")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data, filled, beside its export as a folder and as a tar."""
    root = tmp_path_factory.mktemp("exported")
    store = Store(f"sqlite:///{root}/unstrung.db")
    fill(store, root)
    export_to(store, root, root / "all")
    export_to(store, root, root / "all.tar")
    return root


def same_jobs(one: Store, other: Store) -> None:
    unlike = {"attempt", "progress", "started_at", "status"}
    before, after = ({job.id: job for job in store.page(limit=100)} for store in (one, other))
    assert before.keys() == after.keys()
    assert len(list_uploads(one)) == 2 and list_uploads(one) == list_uploads(other)
    for id, job in before.items():
        was, now = {**job.to_dict(), "worker": None}, after[id].to_dict()
        if job.status in (Status.QUEUED, Status.IN_PROGRESS):
            assert (now["status"], now["attempt"], now["progress"], now["worker"]) == ("queued", 0, 0, None)
            was, now = ({k: v for k, v in row.items() if k not in unlike} for row in (was, now))
        assert was == now
        here, there = one.clip(id), other.clip(id)
        assert (here is None) == (there is None)
        if here and there:
            assert (here.sha256, here.bytes, here.recipe.to_json()) == (there.sha256, there.bytes, there.recipe.to_json())


@pytest.mark.parametrize("name", ["all", "all.tar"])
def test_there_and_back_between_two_stores(name: str, store_url: str, tmp_path: Path) -> None:
    """From SQLite to the other kind and back."""
    (tmp_path / "a").mkdir()
    first, second = Store(f"sqlite:///{tmp_path}/a/x.db"), Store(store_url)
    third = Store(f"sqlite:///{tmp_path}/back.db")
    fill(first, tmp_path / "a")
    wrote = export_to(first, tmp_path / "a", tmp_path / name)
    assert (wrote["jobs"], wrote["clips"], wrote["previews"], wrote["lost"]) == (7, 3, 6, [])
    took = import_from(second, tmp_path / "b", tmp_path / name)
    assert (took["jobs"], took["clips"], took["here_already"]) == (7, 3, 0)
    same_jobs(first, second)
    assert import_from(second, tmp_path / "b", tmp_path / name)["here_already"] == 7
    export_to(second, tmp_path / "b", tmp_path / name, force=True)
    import_from(third, tmp_path / "c", tmp_path / name)
    same_jobs(second, third)
    for store, folder in ((second, tmp_path / "b"), (third, tmp_path / "c")):
        for id in ("video_one", "video_two", "video_bob"):
            kept = store.clip(id)
            assert kept is not None and store.get(id).request.prompt == f"a fox, {id} \N{SNOWFLAKE}"
            path = folder / "clips" / kept.file
            assert hashlib.sha256(path.read_bytes()).hexdigest() == kept.sha256
            assert read_clip(path).num_frames == 9 and read_recipe(path) == kept.recipe
            for upload in list_uploads(store):
                assert Image.open(folder / "uploads" / upload.file).size == (64, 48)
            assert (folder / "previews" / f"{id}.webp").exists() and (folder / "previews" / f"{id}.jpg").exists()
        assert [e.data["status"] for e in store.events("video_one")] == ["completed"]
    worker = Worker(second, tmp_path / "b")
    assert worker.run(lambda: False, once=True) == 2, "what waited, and what was being made, is made here"
    second.retry("video_failed")
    assert worker.run(lambda: False, once=True) == 1
    assert second.get("video_failed").status is second.get("video_running").status is Status.COMPLETED


def test_the_files_are_of_use_without_this_program(exported: Path, tmp_path: Path) -> None:
    with tarfile.open(exported / "all.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    for root in (tmp_path, exported / "all"):
        manifest = json.loads((root / MANIFEST).read_text())
        assert manifest["schema_version"] == 1 and manifest["counts"] == {"jobs": 7, "clips": 3, "previews": 6, "uploads": 2}
        there = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
        assert there == {*manifest["files"], MANIFEST}
        for name, known in manifest["files"].items():
            assert hashlib.sha256((root / name).read_bytes()).hexdigest() == known["sha256"]
        lines = [json.loads(line) for line in (root / "jobs.jsonl").read_text().splitlines()]
        assert [line["id"] for line in lines][:2] == ["video_one", "video_two"] and "somebodys-machine" not in str(lines)
        assert (root / "README.txt").read_text().count("\n") <= 5
    shown = json.loads(unstrung(tmp_path, "show", tmp_path / "clips" / "video_one.mp4", "--json"))
    assert shown == json.loads(unstrung(tmp_path, "show", tmp_path / "clips" / "video_one.json", "--json"))
    assert "video_one" in shown["request"]["prompt"]


def test_from_the_command_line(exported: Path, tmp_path: Path) -> None:
    told = json.loads(unstrung(exported, "export", tmp_path / "bobs.tar", "--owner", "bob", "--json"))
    assert (told["jobs"], told["clips"], told["owner"]) == (1, 1, "bob")
    assert "--force" in unstrung(exported, "export", tmp_path / "bobs.tar", code=2)
    assert unstrung(exported, "export", tmp_path / "bobs.tar", "--owner", "bob", "--force").strip() == str(tmp_path / "bobs.tar")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    assert "no earlier export" in unstrung(exported, "export", tmp_path / "mine", "--force", code=2)
    assert "no folder" in unstrung(exported, "export", tmp_path / "no" / "where", code=2)
    took = json.loads(unstrung(tmp_path / "data", "import", tmp_path / "bobs.tar", "--owner", "carl", "--json"))
    assert (took["jobs"], took["owner"]) == (1, "carl")
    assert Store(f"sqlite:///{tmp_path}/data/unstrung.db").get("video_bob").owner == "carl"
    assert "'carl' has" in unstrung(tmp_path / "data", "import", tmp_path / "bobs.tar", code=2)
    assert "letters" in unstrung(tmp_path / "data", "import", tmp_path / "bobs.tar", "--owner", "../x", code=2)
    assert "nothing is there" in unstrung(tmp_path / "data", "import", tmp_path / "none.tar", code=2)


def test_a_full_disk_is_seen_before(exported: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    import_from(store, tmp_path, exported / "all")
    with store.engine.begin() as connection:
        connection.execute(update(clips).where(clips.c.job_id == "video_one").values(bytes=10**17))
    with pytest.raises(UnstrungError, match=r"100000.* TB.*free some"):
        export_to(store, tmp_path, tmp_path / "out.tar")
    assert not list(tmp_path.glob("*.part")) and not (tmp_path / "out.tar").exists()


def test_a_film_that_was_lost_is_said_to_be(exported: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    import_from(store, tmp_path, exported / "all")
    one, two = store.clip("video_one"), store.clip("video_two")
    assert one is not None and two is not None
    (tmp_path / "clips" / one.file).unlink()
    with (tmp_path / "clips" / two.file).open("r+b") as file:
        file.seek(500)
        file.write(b"?")
    assert export_to(store, tmp_path, tmp_path / "out")["lost"] == ["video_one", "video_two"]
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert import_from(other, tmp_path / "other", tmp_path / "out")["clips"] == 1
    lost = other.get("video_one")
    assert lost.status is Status.FAILED and lost.error is not None and lost.error.code == "clip_lost"


def test_what_is_a_film_by_now_comes_instead_of_what_waited(tmp_path: Path) -> None:
    first, second = (Store(f"sqlite:///{tmp_path}/{name}.db") for name in "ab")
    ask(first, "video_x")
    export_to(first, tmp_path / "a", tmp_path / "early")
    import_from(second, tmp_path / "b", tmp_path / "early")
    Worker(first, tmp_path / "a").run(lambda: False, once=True)
    export_to(first, tmp_path / "a", tmp_path / "late")
    assert import_from(second, tmp_path / "b", tmp_path / "late")["clips"] == 1
    assert second.get("video_x").status is Status.COMPLETED and second.clip("video_x") is not None
    assert import_from(second, tmp_path / "b", tmp_path / "early")["jobs"] == 0, "and never the other way"


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def write(path: Path, files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for info, data in files:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))


def with_jobs(change: Callable[[dict[str, Any]], object]) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    """Change every job, and the manifest so that it fits: an export by somebody who knows how."""

    def damage(files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        names = [info.name for info, _ in files]
        rows = [json.loads(line) for line in files[names.index("jobs.jsonl")][1].splitlines()]
        for row in rows:
            change(row)
        text = "\n".join(map(json.dumps, rows)).encode()
        files[names.index("jobs.jsonl")] = files[names.index("jobs.jsonl")][0], text
        manifest = json.loads(files[names.index(MANIFEST)][1])
        manifest["files"]["jobs.jsonl"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        files[names.index(MANIFEST)] = files[names.index(MANIFEST)][0], json.dumps(manifest).encode()

    return damage


def with_manifest(**changes: Any) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def damage(files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info, text = files[-1]
        files[-1] = info, json.dumps({**json.loads(text), **changes}).encode()

    return damage


def added(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def damage(files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        files.insert(1, (info, b"x"))

    return damage


def without(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    return lambda files: files.__delitem__([info.name for info, _ in files].index(name))


def flipped(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def damage(files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        at = [info.name for info, _ in files].index(name)
        info, data = files[at]
        files[at] = info, data[:-1] + bytes([data[-1] ^ 1])

    return damage


DAMAGES: dict[str, tuple[Callable[[list[tuple[tarfile.TarInfo, bytes]]], Any], str]] = {
    "a film changed": (flipped("clips/video_one.mp4"), "not what its manifest says"),
    "a recipe changed": (flipped("clips/video_one.json"), "not what its manifest says"),
    "jobs changed": (flipped("jobs.jsonl"), "not what its manifest says"),
    "a film gone": (without("clips/video_two.mp4"), "is missing"),
    "no manifest": (without(MANIFEST), "was cut off"),
    "newer": (with_manifest(schema_version=2), "upgrade"),
    "foreign": (with_manifest(format="zip"), "no export"),
    "no files": (with_manifest(files=[]), "manifest"),
    "up": (added("../../etc/cron.d/x"), "no export has"),
    "up in clips": (added("clips/../../x.mp4"), "no export has"),
    "absolute": (added("/etc/passwd"), "no export has"),
    "backslash": (added("clips\\..\\x.mp4"), "no export has"),
    "long": (added("clips/" + "a" * 200 + ".mp4"), "no export has"),
    "twice": (added("jobs.jsonl"), "no export has"),
    "more": (added("clips/video_more.mp4"), "not in its manifest"),
    "symlink": (added("clips/video_more.mp4", tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
    "hard link": (added("clips/video_more.mp4", tarfile.LNKTYPE, "jobs.jsonl"), "no plain file"),
    "device": (added("clips/video_more.mp4", tarfile.CHRTYPE), "no plain file"),
    "pipe": (added("clips/video_more.mp4", tarfile.FIFOTYPE), "no plain file"),
    "odd folder": (added("clips/sub", tarfile.DIRTYPE), "no plain file"),
    "odd id": (with_jobs(lambda row: row.update(id="../x")), "is no job"),
    "same ids": (with_jobs(lambda row: row.update(id="x", status="canceled", clip=None)), "twice"),
    "odd owner": (with_jobs(lambda row: row.update(owner="a b\n")), "is no job"),
    "odd status": (with_jobs(lambda row: row.update(status="running")), "is no job"),
    "odd prompt": (with_jobs(lambda row: row["request"].update(prompt=3)), "is no job"),
    "half a character": (with_jobs(lambda row: row["request"].update(prompt="\ud800")), "can't be read"),
    "odd number": (with_jobs(lambda row: row.update(estimate=float("nan"))), "can't be read"),
    "less than nothing": (with_jobs(lambda row: row.update(estimate=-1)), "is no job"),
    "odd progress": (with_jobs(lambda row: row.update(progress=101)), "is no job"),
    "other film": (with_jobs(lambda row: row["clip"] and row["clip"].update(sha256="0")), "is no job"),
    "unfinished film": (with_jobs(lambda row: row.update(clip=None)), "is no job"),
    "list": (with_jobs(lambda row: row.update(request=[])), "is no job"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_tampered_with_is_refused_and_changes_nothing(exported: Path, tmp_path: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    files = members(exported / "all.tar")
    change(files)
    write(tmp_path / "bad.tar", files)
    store = Store(f"sqlite:///{tmp_path}/s.db")
    with pytest.raises(UnstrungError, match=words) as refused:
        import_from(store, tmp_path / "data", tmp_path / "bad.tar")
    assert "\n" not in refused.value.message
    assert not store.page() and not [p for p in (tmp_path / "data").rglob("*") if p.is_file()]


def test_work_that_took_less_than_nothing_gives_nobody_an_advantage(exported: Path, tmp_path: Path) -> None:
    files = members(exported / "all.tar")
    with_jobs(lambda row: row.update(created_at=9e9, started_at=9e12, completed_at=8e9 if row["completed_at"] else None))(files)
    write(tmp_path / "odd.tar", files)
    store = Store(f"sqlite:///{tmp_path}/s.db")
    import_from(store, tmp_path, tmp_path / "odd.tar")
    for job in store.page():
        assert job.created_at <= time.time() and (job.started_at or 0) <= (job.completed_at or 0) <= time.time()


def test_other_files_are_refused_in_words(exported: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_text("dear diary" * 200)
    (tmp_path / "nothing.tar").touch()
    whole = (exported / "all.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    shutil.copytree(exported / "all", tmp_path / "linked")
    (tmp_path / "linked" / "clips" / "video_one.mp4").unlink()
    (tmp_path / "linked" / "clips" / "video_one.mp4").symlink_to(exported / "all" / "clips" / "video_one.mp4")
    shutil.copytree(exported / "all", tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "clips")
    (tmp_path / "moved" / "clips").symlink_to(exported / "all" / "clips")
    os.mkfifo(tmp_path / "pipe.tar")
    for name, words in (
        ("empty", "no export"), ("text.tar", "no export"), ("nothing.tar", "no export"), ("cut.tar", "cut"), ("linked", "plain file"),
        ("moved", "is missing"), ("pipe.tar", "no export"),
    ):  # fmt: skip
        with pytest.raises(UnstrungError, match=words):
            import_from(store, tmp_path / "data", tmp_path / name)
    assert not store.page()
    with tarfile.open(tmp_path / "again.tar", "w", format=tarfile.PAX_FORMAT) as tar:  # by hand, out of the folder
        tar.add(exported / "all", ".")
    assert import_from(store, tmp_path / "data", tmp_path / "again.tar")["jobs"] == 7


def test_an_id_with_other_content_is_refused(exported: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    import_from(store, tmp_path, exported / "all")
    with store.engine.begin() as connection:
        connection.execute(update(clips).where(clips.c.job_id == "video_two").values(sha256="0"))
        connection.execute(jobs.delete().where(jobs.c.id == "video_one"))
    with pytest.raises(UnstrungError, match="other content"):
        import_from(store, tmp_path, exported / "all")
    assert store.find("video_one") is None, "the rest is not taken in either"
    with pytest.raises(UnstrungError, match="'ann' has a job"):
        import_from(store, tmp_path, exported / "all.tar", "bob")


def test_nothing_is_made_from_what_is_somebody_elses(exported: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    files = members(exported / "all.tar")
    with_jobs(lambda row: row["request"].update(conditions=[{"source": "video_hers"}]))(files)
    write(tmp_path / "odd.tar", files)
    ask(store, "video_hers", "eve")
    with pytest.raises(UnstrungError, match="somebody else's"):
        import_from(store, tmp_path, tmp_path / "odd.tar")
    assert [job.id for job in store.page()] == ["video_hers"]


def many(store: Store, folder: Path, count: int) -> None:
    """Films by the hundred: one that was made, under many names."""
    ask(store, "video_0")
    Worker(store, folder).run(lambda: False, once=True)
    with store.engine.begin() as connection:
        row, kept = connection.execute(jobs.select()).one()._asdict(), connection.execute(clips.select()).one()._asdict()
        connection.execute(insert(jobs), [{**row, "id": f"video_{n}", "created_at": float(n)} for n in range(1, count)])
        connection.execute(insert(clips), [{**kept, "job_id": f"video_{n}"} for n in range(1, count)])


def killed_when(command: list[str], folder: Path, when: Callable[[], bool]) -> None:
    """Start a command and kill it as soon as something is so."""
    environment = {**os.environ, "UNSTRUNG_DATA": str(folder), "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen([sys.executable, "-m", "unstrung", *command], env=environment, stderr=subprocess.DEVNULL)
    while not when():
        assert process.poll() is None, "it was done before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_in_the_middle(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    many(Store(f"sqlite:///{data}/unstrung.db"), data, 1000)

    def parts() -> list[Path]:
        return list(tmp_path.glob(".unstrung-*.part"))

    for target in ("out", "out.tar"):
        killed_when(
            ["export", str(tmp_path / target)], data, lambda: any(p.is_file() or (p / "clips/video_9.mp4").exists() for p in parts())
        )  # fmt: skip
        assert not (tmp_path / target).exists()
        for part in parts():
            with pytest.raises(UnstrungError, match="cut"):
                import_from(Store(f"sqlite:///{tmp_path}/none.db"), tmp_path / "none", part)
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    unstrung(data, "export", tmp_path / "out.tar")
    store = Store(f"sqlite:///{other}/unstrung.db")
    killed_when(["import", str(tmp_path / "out.tar")], other, lambda: len(store.page(limit=1)) > 0)
    here = store.page(limit=2000)
    assert 0 < len(here) < 1000
    for job in here:
        kept = store.clip(job.id)
        assert kept is not None and (other / "clips" / kept.file).stat().st_size == kept.bytes
    took = json.loads(unstrung(other, "import", tmp_path / "out.tar", "--json"))
    assert took["jobs"] == 1000 - len(here) and took["here_already"] == len(here)
    films = store.files(job.id for job in store.page(limit=2000))
    assert len(store.page(limit=2000)) == len(films) == 1000
    strays = {p for p in (other / "clips").iterdir() if p.name not in films}
    for path in strays:
        os.utime(path, (0, 0))  # long after
    assert Worker(store, other).sweep() == len(strays)
    assert {p.name for p in (other / "clips").iterdir()} == films


def test_over_http_everybody_gets_their_own(tmp_path: Path) -> None:
    tokens = {
        name: unstrung(tmp_path, "tokens", "create", name, *words).strip()
        for name, words in {"ann": [], "bob": [], "looks": ["--owner", "ann", "--scope", "read"], "boss": ["--scope", "admin", "--scope", "read"],
                            "writes": ["--scope", "write"]}.items()
    }  # fmt: skip
    server = Served(tmp_path)
    try:

        def export(name: str) -> Path:
            ask = urllib.request.Request(
                f"http://127.0.0.1:{server.port}/v1/export", headers={"Authorization": f"Bearer {tokens[name]}"}
            )
            with urllib.request.urlopen(ask, timeout=60) as answer:
                assert answer.headers["content-type"] == "application/x-tar"
                (tmp_path / f"{name}.tar").write_bytes(answer.read())
            return tmp_path / f"{name}.tar"

        ann, bob = (server.client.with_options(api_key=tokens[name]) for name in ("ann", "bob"))
        made = ann.videos.create_and_poll(**SMALL)
        hers = bob.videos.create_and_poll(**{**SMALL, "prompt": "a marzipan pig"})
        bob.post(f"/videos/{hers.id}/publish", cast_to=object)  # published or not, it is not Ann's
        film = ann.videos.download_content(made.id).read()
        for name in ("ann", "looks"):
            whole = export(name).read_bytes()
            assert film in whole and hers.id.encode() not in whole and b"marzipan" not in whole and b"bob" not in whole
        other = Store(f"sqlite:///{tmp_path}/other.db")
        took = import_from(other, tmp_path / "other", export("ann"), "annika")
        assert (took["jobs"], took["clips"]) == (1, 1) and other.get(made.id).owner == "annika"
        assert import_from(Store(f"sqlite:///{tmp_path}/all.db"), tmp_path / "all", export("boss"))["jobs"] == 2
        writes = server.client.with_options(api_key=tokens["writes"])
        with pytest.raises(openai.PermissionDeniedError):
            writes.get("/export", cast_to=object)
        with pytest.raises(openai.AuthenticationError):
            server.client.get("/export", cast_to=object)
    finally:
        server.stop()


def test_a_character_comes_along_and_plays_again(tmp_path: Path) -> None:
    def starring(client: openai.OpenAI, id: str | None) -> str:
        more = {"seed": 5, "fps": 8, "characters": [{"id": id}]}
        video = client.videos.create_and_poll(**{**SMALL, "prompt": "Pingo runs", "extra_body": more}, poll_interval_ms=100)
        assert video.status == "completed", video.error
        client.videos.download_content(video.id).write_to_file(tmp_path / f"{video.id}.mp4")
        return video.id

    here, there = tmp_path / "here", tmp_path / "there"
    server = Served(here)
    try:
        first = server.client.videos.create_and_poll(**SMALL, poll_interval_ms=100)
        film = server.client.videos.download_content(first.id).read()
        pingo = server.client.videos.create_character(name="Pingo", video=film)
        before = starring(server.client, pingo.id)
        unstrung(here, "export", tmp_path / "all.tar")
    finally:
        server.stop()
    took = json.loads(unstrung(there, "import", tmp_path / "all.tar", "--json"))
    assert (took["jobs"], took["clips"], took["uploads"]) == (2, 2, 1)
    again = Served(there)
    try:
        client = again.client
        assert client.videos.get_character(pingo.id or "").to_dict() == pingo.to_dict()
        after = starring(client, pingo.id)
        assert read_clip(tmp_path / f"{after}.mp4").sha256() == read_clip(tmp_path / f"{before}.mp4").sha256()
        assert read_recipe(tmp_path / f"{after}.mp4").parents == read_recipe(tmp_path / f"{before}.mp4").parents != ()
        for id in (before, after):
            with pytest.raises(openai.ConflictError, match="was made with"):
                client.delete(f"/videos/characters/{pingo.id}", cast_to=object)
            client.videos.delete(id)
        client.delete(f"/videos/characters/{pingo.id}", cast_to=object)
        with pytest.raises(openai.NotFoundError):
            client.videos.get_character(pingo.id or "")
    finally:
        again.stop()
    unstrung(tmp_path / "hers", "import", tmp_path / "all.tar", "--owner", "ann")
    hers = list_uploads(Store(f"sqlite:///{tmp_path}/hers/unstrung.db"), "ann", "character")
    assert [(upload.id, upload.name) for upload in hers] == [(pingo.id, "Pingo")]
