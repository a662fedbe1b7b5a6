"""Weights on this machine, as their user meets them: the command in a process, before a small hub that is really asked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import unstrung
from unstrung.card import ModelCard
from unstrung.errors import UnstrungError
from unstrung.licenses import LICENSES, PERMISSIVE, find_license
from unstrung.models.hub.fetch import File, choose

pytest.importorskip("huggingface_hub")

UNSTRUNG = [sys.executable, "-c", "from unstrung.cli import main; main()"]
COMMIT, NEWER = "a1" * 20, "b2" * 20
TOKEN = "hf_verysecrettoken"
BIG = "transformer/diffusion_pytorch_model.safetensors"


def weights(seed: int, numbers: int = 100_000) -> bytes:
    return save({"w": np.random.default_rng(seed).standard_normal(numbers, dtype=np.float32)})


PIPELINE = {
    "model_index.json": json.dumps(
        {
            "_class_name": "NoPipeline",
            "_version": "1",
            **{part: ["diffusers", "Part"] for part in ("scheduler", "tokenizer", "transformer", "vae")},
            "transformer_2": [None, None],
        }
    ).encode(),
    "scheduler/scheduler_config.json": b'{"shift": 3.0}',
    "transformer/config.json": b"{}",
    BIG: weights(1),
    "transformer/diffusion_pytorch_model.fp16.safetensors": weights(2, 50_000),
    "transformer/diffusion_pytorch_model.bin": b"\x80\x04 a pickle",
    "vae/config.json": b'{"channels": 16}',
    "vae/diffusion_pytorch_model.safetensors": weights(3, 20_000),
    "tokenizer/spiece.model": b"pieces",
    "everything-in-one.safetensors": weights(4),
    "README.md": b"# A model",
    "sample.mp4": b"film",
}
KEPT = {
    "model_index.json", "scheduler/scheduler_config.json", "transformer/config.json", BIG, "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "tokenizer/spiece.model",
}  # fmt: skip
HELD = sum(len(PIPELINE[name]) for name in KEPT)


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".model", ".mp4"))


@dataclass
class Hub:
    """A hub with the routes that huggingface_hub asks for, what it was asked, and the faults that a test gives it."""

    repos: dict[str, dict[str, dict[str, bytes]]]  # by name and commit; the first commit is the default branch
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range
    cut_after: int | None = None  # bytes of a file of weights, after which every connection ends
    silent_for: float = 0.0  # seconds, before it ends so
    wrong: bool = False  # sends other bytes than it says
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)  # repository: status, error code
    claims: dict[str, int] = field(default_factory=dict)  # file: the size that is said of it
    moved: dict[str, str] = field(default_factory=dict)  # repositories that have another name now
    port: int = 0

    def gets(self, name: str) -> list[str | None]:
        return [part for method, path, part in self.asked if method == "GET" and path.endswith(f"/{name}")]

    def fetched(self) -> list[str]:
        """Return the files that were asked for, whichever repository they are of."""
        return [path.split("/resolve/")[1].split("/", 1)[1] for _, path, _ in self.asked if "/resolve/" in path]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        return

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"{}", {"X-Error-Code": code} if code else {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("Range")))
        for old, new in self.hub.moved.items():
            if f"/{old}" in path:
                return self.send(307, b"", {"Location": self.path.replace(old, new)})
        if found := re.fullmatch(r"/api/models/([\w-]+/[\w.-]+)(?:/revision/([\w.-]+))?", path):
            self.listing(found[1], found[2])
        elif found := re.fullmatch(r"/([\w-]+/[\w.-]+)/resolve/(\w+)/(.+)", path):
            self.file(found[1], found[2], found[3])
        else:
            self.refuse(404, "")

    def listing(self, repo: str, revision: str | None) -> None:
        if refused := self.hub.refuses.get(f"api:{repo}"):
            return self.refuse(*refused)
        if repo not in self.hub.repos:
            return self.refuse(404, "RepoNotFound")
        commits = self.hub.repos[repo]
        commit = revision if revision not in (None, "main") else next(iter(commits))
        if commit not in commits:
            return self.refuse(404, "RevisionNotFound")
        siblings = []
        for name, data in commits[commit].items():
            size = self.hub.claims.get(name, len(data))
            row: dict[str, Any] = {"rfilename": name, "size": size, "blobId": git_sha1(data)}
            if is_lfs(name):
                row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
            siblings.append(row)
        body = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": [], "private": False, "downloads": 0}
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def file(self, repo: str, commit: str, name: str) -> None:
        if refused := self.hub.refuses.get(repo):
            return self.refuse(*refused)
        data = self.hub.repos.get(repo, {}).get(commit, {}).get(name)
        if data is None:
            return self.refuse(404, "EntryNotFound")
        sha256 = hashlib.sha256(data).hexdigest()
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{git_sha1(data)}"'}
        if is_lfs(name):
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data)), "ETag": f'"{sha256}"'}
        if self.hub.wrong and is_lfs(name):
            data = bytes(reversed(data))
        start = 0
        if given := self.headers.get("Range"):
            start = int(given.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if self.hub.cut_after is not None and name.endswith(".safetensors") and self.command == "GET":
            self.send(206 if given else 200, body[: max(0, self.hub.cut_after - start)], headers, length=len(body))
            time.sleep(self.hub.silent_for)
            self.close_connection = True
            return
        self.send(206 if given else 200, body, headers)


@pytest.fixture
def hub() -> Iterator[Hub]:
    repos = {
        "makers/pipeline": {COMMIT: PIPELINE, NEWER: {**PIPELINE, "vae/diffusion_pytorch_model.safetensors": weights(9, 20_000)}},
        "makers/terms": {COMMIT: PIPELINE},
        "makers/pickled": {COMMIT: {"model_index.json": b"{}", "unet/config.json": b"{}", "unet/pytorch_model.bin": b"\x80\x04"}},
        "makers/gated": {COMMIT: PIPELINE},
    }
    hub = Hub(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Answers,), {"hub": hub}))
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


MODELS = f"""
from unstrung.card import ModelCard

def card(id, repo_id, license="Apache-2.0", revision="{COMMIT}"):
    defaults = dict.fromkeys(("width", "height", "seconds", "num_inference_steps", "guidance_scale", "sampler"))
    tasks = ("text-to-video", "image-to-video")
    return ModelCard(id=id, family="tiny", summary="A model for a test, which has a long summary, longer than any line " * 2,
                     tasks=tasks, license=license, repo_id=repo_id, revision=revision, defaults=defaults)

CARDS = (
    card("tiny", "makers/pipeline"), card("newest", "makers/pipeline", revision=""), card("half", "makers/terms"),
    card("terms", "makers/terms", "CogVideoX"), card("terms-too", "makers/pipeline", "CogVideoX"),
    card("unread", "makers/terms", "see-card"),
    card("pickled", "makers/pickled"), card("gated", "makers/gated"), card("gone", "makers/gone"),
)

def variant(card):
    return "fp16" if card.id == "half" else ""

def load(card, device=None):
    raise NotImplementedError
"""


@dataclass
class Machine:
    """A machine with a package of models, a cache of its own and nothing in it."""

    home: Path
    environment: dict[str, str]

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **env}
        return subprocess.run(
            [*UNSTRUNG, "models", *words],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def listed(self) -> dict[str, Any]:
        return {row["id"]: row for row in json.loads(self.run("list", "--json").stdout)}

    def bytes_in_cache(self) -> int:
        found = (self.home / "hf" / "hub").glob("models--*/**/*")
        return sum(path.lstat().st_size for path in found if path.is_file() and not path.is_symlink())


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    package = tmp_path / "packages" / "tiny-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[unstrung.models]\ntiny = tiny_models_of_a_test\n")
    (tmp_path / "packages" / "tiny_models_of_a_test.py").write_text(MODELS)
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UNSTRUNG_"))}
    path = os.pathsep.join((str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")))
    return Machine(
        tmp_path,
        {
            **keep, "PYTHONPATH": path, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN,
            "UNSTRUNG_DATA": str(tmp_path / "data"), "NO_PROXY": "127.0.0.1",
        },
    )  # fmt: skip


def test_pull_list_path_verify_and_rm(machine: Machine, hub: Hub) -> None:
    assert machine.listed()["tiny"]["installed"] is False
    assert machine.run("path", "tiny").returncode == 2
    assert "unstrung models pull tiny" in machine.run("path", "tiny").stderr

    done = machine.run("pull", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    pulled = json.loads(done.stdout)
    folder = Path(pulled["path"])
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == KEPT
    assert all((folder / name).read_bytes() == PIPELINE[name] for name in KEPT)
    assert (pulled["revision"], pulled["size_on_disk"]) == (COMMIT, HELD)
    lines = "".join(
        f"{hashlib.sha256(PIPELINE[name]).hexdigest()}  {name}\n" for name in sorted(KEPT) if name.endswith(".safetensors")
    )
    assert pulled["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert not hub.gets("diffusion_pytorch_model.bin") and not hub.gets("everything-in-one.safetensors")
    # every other program finds it by the library's own means
    code = "from huggingface_hub import snapshot_download as s; print(s('makers/pipeline', revision='%s', local_files_only=True))"
    found = subprocess.run([sys.executable, "-c", code % COMMIT], env=machine.environment, capture_output=True, text=True)
    assert found.stdout.strip() == str(folder), found.stderr

    assert (row := machine.listed()["tiny"])["installed"] is True and row["size_on_disk"] == HELD
    printed = machine.run("list").stdout
    assert re.search(r"^tiny +installed +fits +\d+\.\d kB +Apache-2.0 +text-to-video, image-to-video +A m", printed, re.M)
    assert re.search(r"^terms +available +fits +- +CogVideoX ", printed, re.M)
    assert max(map(len, printed.splitlines())) <= 120
    only = {line.split()[0] for line in machine.run("list", "--installed").stdout.splitlines()}
    assert only >= {"tiny", "nano", "echo"} and "terms" not in only
    shown = machine.run("show", "terms").stdout
    assert "registration" in shown and "1 million visits" in shown and "makers/terms, available" in shown
    assert machine.run("path", "tiny").stdout == f"{folder}\n"
    assert machine.run("verify", "tiny").returncode == 0

    count = len(hub.asked)
    again = machine.run("pull", "tiny")
    assert again.returncode == 0 and again.stdout == f"{folder}\n"
    assert len(hub.asked) == count + 1, "only what there is was asked for again"

    gone = machine.run("rm", "tiny", "--json")
    assert json.loads(gone.stdout) == {
        "model": "tiny",
        "repo_id": "makers/pipeline",
        "bytes_freed": HELD,
        "shared_with": ["newest", "terms-too"],
    }
    assert machine.bytes_in_cache() == 0
    assert machine.listed()["tiny"]["installed"] is False and machine.run("rm", "tiny").returncode == 2
    told = " ".join([done.stderr, again.stderr, *(path.read_text() for path in (machine.home / "data").rglob("*.json"))])
    assert TOKEN not in told


def test_what_was_cut_off_goes_on_where_it_stopped(machine: Machine, hub: Hub) -> None:
    hub.cut_after = 300_000
    done = machine.run("pull", "tiny")
    assert done.returncode == 2 and "broke off" in done.stderr and "unstrung models pull tiny" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and TOKEN not in done.stderr
    assert (row := machine.listed()["tiny"])["installed"] is False and row["size_on_disk"] > 300_000
    assert "in part" in machine.run("list").stdout and "only in part" in machine.run("path", "tiny").stderr
    before = len(hub.gets(BIG))

    hub.cut_after = None
    assert machine.run("pull", "tiny").returncode == 0
    assert hub.gets(BIG)[before:] == ["bytes=300000-"], "one more question, and only for what was missing"
    assert machine.run("verify", "tiny").returncode == 0
    assert not list((machine.home / "hf").rglob("*.incomplete"))


def test_what_was_cut_off_can_be_removed(machine: Machine, hub: Hub) -> None:
    hub.cut_after = 300_000
    assert machine.run("pull", "tiny").returncode == 2
    assert machine.bytes_in_cache() > 300_000
    assert machine.run("rm", "tiny").returncode == 0
    assert machine.bytes_in_cache() == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_who_is_stopped_or_killed_goes_on(machine: Machine, hub: Hub, how: int, code: int) -> None:
    hub.cut_after, hub.silent_for = 300_000, 5.0
    process = subprocess.Popen(
        [*UNSTRUNG, "models", "pull", "tiny"], cwd=machine.home, env=machine.environment, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and machine.bytes_in_cache() < 300_000:
        time.sleep(0.05)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err, err
    assert "go on with: unstrung models pull tiny" in err.lower() or how == signal.SIGKILL
    hub.cut_after, before = None, len(hub.gets(BIG))
    assert machine.run("pull", "tiny").returncode == 0
    assert hub.gets(BIG)[before:] == ["bytes=300000-"]


def test_what_was_tampered_with_is_found_and_mended(machine: Machine, hub: Hub) -> None:
    folder = Path(machine.run("pull", "tiny").stdout.strip())
    data = bytearray(PIPELINE[BIG])
    data[5000] ^= 1
    (folder / BIG).write_bytes(data)
    (folder / "vae/config.json").write_text("{!")
    (folder / "tokenizer/spiece.model").unlink()
    done = machine.run("verify", "tiny", "--json")
    assert done.returncode == 2 and "3 of tiny's files" in done.stderr
    faults = {row["file"]: row["what"] for row in json.loads(done.stdout)["faults"]}
    assert faults == {BIG: "changed", "vae/config.json": "changed", "tokenizer/spiece.model": "missing"}

    before = len(hub.asked)
    done = machine.run("pull", "tiny")
    assert done.returncode == 0 and set(re.findall(r"^(\S+) was not what the hub has", done.stderr, re.M)) == {
        BIG,
        "vae/config.json",
    }
    fetched = {
        path.partition(f"{COMMIT}/")[2] for method, path, _ in hub.asked[before:] if method == "GET" and "/resolve/" in path
    }
    assert fetched == {BIG, "vae/config.json"}, "what was right was not fetched again"
    assert machine.run("verify", "tiny").returncode == 0 and (folder / BIG).read_bytes() == PIPELINE[BIG]


def test_wrong_bytes_are_thrown_away(machine: Machine, hub: Hub) -> None:
    hub.wrong = True
    done = machine.run("pull", "tiny")
    assert done.returncode == 2 and "is not what the hub says it is" in done.stderr
    assert machine.listed()["tiny"]["installed"] is False
    assert not [path for path in (machine.home / "hf").rglob("*") if path.is_file() and path.stat().st_size > 10_000]


def test_pickles_are_refused_and_never_asked_for(machine: Machine, hub: Hub) -> None:
    done = machine.run("pull", "pickled")
    assert done.returncode == 2 and "only as a pickle (unet/pytorch_model.bin)" in done.stderr
    assert set(hub.fetched()) <= {"model_index.json"} and machine.bytes_in_cache() == 0


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(machine: Machine, hub: Hub) -> None:
    hub.claims[BIG] = 10**15
    done = machine.run("pull", "tiny")
    assert done.returncode == 2 and re.search(r"tiny needs 1000\.0 TB more, .* has [\d.]+ \wB free: .*HF_HOME", done.stderr)
    assert set(hub.fetched()) <= {"model_index.json"} and machine.bytes_in_cache() == 0


@pytest.mark.parametrize(
    ("model", "refuses", "says"),
    [
        ("gated", {"makers/gated": (403, "GatedRepo")}, "agree on http://127.0.0.1:PORT/makers/gated, set HF_TOKEN"),
        ("gated", {"makers/gated": (401, "GatedRepo")}, "agree on http://127.0.0.1:PORT/makers/gated, set HF_TOKEN"),
        ("gated", {"api:makers/gated": (403, "")}, "agree on http://127.0.0.1:PORT/makers/gated, set HF_TOKEN"),
        ("gated", {"api:makers/gated": (401, "")}, "set HF_TOKEN"),
        ("gone", {}, "The hub knows no makers/gone"),
        ("tiny", {"makers/pipeline": (404, "EntryNotFound")}, "has lost a file of makers/pipeline"),
        ("tiny", {"api:makers/pipeline": (500, "")}, "answered 500 for makers/pipeline"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_one_line(
    machine: Machine, hub: Hub, model: str, refuses: dict[str, tuple[int, str]], says: str
) -> None:
    hub.refuses = refuses
    done = machine.run("pull", model)
    assert done.returncode == 2 and done.stdout == ""
    line = done.stderr.strip()
    assert line.startswith("unstrung: ") and "\n" not in line and says.replace("PORT", str(hub.port)) in line, line
    assert TOKEN not in line


def test_a_hub_that_is_not_there_and_a_commit_that_is_not(machine: Machine) -> None:
    done = machine.run("pull", "tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2 and "can't be reached" in done.stderr and done.stderr.count("\n") == 1
    done = machine.run("pull", "tiny", "--revision", "c3" * 20)
    assert done.returncode == 2 and f"revision is '{'c3' * 20}'" in done.stderr


def test_offline_nobody_is_asked(machine: Machine, hub: Hub) -> None:
    assert machine.run("pull", "tiny").returncode == 0
    hub.asked.clear()
    for model, name in (("tiny", "UNSTRUNG_OFFLINE"), ("terms", "HF_HUB_OFFLINE")):
        done = machine.run("pull", model, **{name: "1"})
        assert done.returncode == 2 and f"{name} forbids the network" in done.stderr
    for words in (["list"], ["show", "tiny"], ["path", "tiny"], ["verify", "tiny"], ["rm", "tiny"]):
        assert machine.run(*words, HF_HUB_OFFLINE="1").returncode == 0
    assert hub.asked == []


def test_a_licence_is_agreed_to_once(machine: Machine, hub: Hub) -> None:
    done = machine.run("pull", "terms")
    assert done.returncode == 2 and "up to 1 million visits a month" in done.stderr
    assert done.stderr.strip().endswith("unstrung models pull terms --yes") and hub.asked == []

    done = machine.run("pull", "terms", "--yes")
    assert done.returncode == 0 and "registration" in done.stderr
    record = json.loads((machine.home / "data" / "weights" / "makers--terms.json").read_text())
    assert record["assent"]["license"] == "CogVideoX" and re.match(r"2\d{3}-\d\d-\d\dT", record["assent"]["at"])
    assert (record["commit"], record["whole"], set(record["files"])) == (COMMIT, True, KEPT)

    done = machine.run("pull", "terms-too")
    assert done.returncode == 0 and "registration" not in done.stderr, "the same licence is not asked for again"
    # what was not read may be another text for every model
    done = machine.run("pull", "unread")
    assert done.returncode == 2 and "its terms were not read" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
def test_on_a_terminal_one_is_asked(machine: Machine, hub: Hub, answer: str, code: int) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*UNSTRUNG, "models", "pull", "terms"], cwd=machine.home, env=machine.environment, stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, f"{answer}\n".encode())
    out, err = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, err
    assert "Do you agree" in err and ("was not agreed to" in err) == (code == 2)
    assert (hub.asked == []) == (code == 2)


def test_another_commit(machine: Machine, hub: Hub) -> None:
    assert json.loads(machine.run("pull", "newest", "--json").stdout)["revision"] == COMMIT, "the default branch, as it is now"
    assert machine.listed()["tiny"]["installed"] is True, "it is the commit that this one names"
    pulled = json.loads(machine.run("pull", "tiny", "--revision", NEWER, "--json").stdout)
    assert pulled["revision"] == NEWER and machine.run("path", "tiny").stdout.strip() == pulled["path"]
    assert len(hub.gets(BIG)) == 1, "what both commits hold is fetched once"
    assert machine.run("rm", "tiny").returncode == 0
    assert machine.bytes_in_cache() == 0, "the commit before it goes too"


def test_any_repository_and_one_that_was_renamed(machine: Machine, hub: Hub) -> None:
    hub.moved = {"earlier/name": "makers/pipeline"}
    done = machine.run("pull", "hf:earlier/name")
    assert done.returncode == 2 and "its terms were not read" in done.stderr
    folder = Path(machine.run("pull", "hf:earlier/name", "--yes").stdout.strip())
    assert (folder / BIG).read_bytes() == PIPELINE[BIG]
    assert machine.run("verify", "hf:earlier/name").returncode == 0
    for name in ("hf:nothing", "hf:../up", "hf:a/b/", "hf:a/b/c", "hf:a/b/../c.safetensors"):
        done = machine.run("path", name)
        assert done.returncode == 2 and "named as hf:OWNER/NAME" in done.stderr


def test_one_file_of_a_repository(machine: Machine, hub: Hub) -> None:
    looks = {f"{name}.safetensors": weights(n, 5000) for n, name in enumerate(("one", "more/two", "three"))}
    hub.repos["makers/looks"] = {COMMIT: {**looks, "two.ckpt": b"\x80\x04 a pickle"}}
    assert "its terms were not read" in machine.run("pull", "hf:makers/looks/one.safetensors").stderr
    for name in ("one.safetensors", "more/two.safetensors"):
        file = Path(machine.run("pull", f"hf:makers/looks/{name}", "--yes").stdout.strip())
        assert file.read_bytes() == looks[name]
        assert machine.run("path", f"hf:makers/looks/{name}").stdout.strip() == str(file)
    assert machine.run("verify", "hf:makers/looks/one.safetensors").returncode == 0
    assert not hub.gets("three.safetensors") and len(hub.gets("one.safetensors")) == 1
    file.unlink()
    assert "missing  more/two.safetensors" in machine.run("verify", "hf:makers/looks/more/two.safetensors").stdout
    assert machine.run("pull", "hf:makers/looks/more/two.safetensors").returncode == 0
    assert machine.run("path", "hf:makers/looks/three.safetensors").returncode == 2
    none = machine.run("pull", "hf:makers/looks/four.safetensors")
    assert none.returncode == 2 and "holds no file 'four.safetensors'. It holds: one.safetensors, more/two" in none.stderr
    assert "named as hf:OWNER/NAME/FILE.safetensors" in machine.run("pull", "hf:makers/looks/two.ckpt").stderr
    assert machine.run("rm", "hf:makers/looks/one.safetensors").returncode == 0 and file.exists()
    assert machine.run("rm", "hf:makers/looks/more/two.safetensors").returncode == 0 and machine.bytes_in_cache() == 0
    assert machine.run("pull", "hf:makers/looks/more/two.safetensors").returncode == 0
    file.unlink()
    file.parent.rmdir()  # by hand
    assert machine.run("rm", "hf:makers/looks/more/two.safetensors").returncode == 0


def test_a_file_of_a_models_repository_is_not_the_model(machine: Machine, hub: Hub) -> None:
    repo = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    hub.repos[repo] = {COMMIT: PIPELINE}
    assert machine.run("pull", f"hf:{repo}/everything-in-one.safetensors", "--yes").returncode == 0
    assert not machine.listed()["wan2.1-1.3b"]["installed"] and machine.run("path", "wan2.1-1.3b").returncode == 2
    folder = machine.run("pull", "wan2.1-1.3b").stdout.strip()
    hub.repos[repo] = {NEWER: {**PIPELINE, "later.safetensors": weights(8, 100)}, COMMIT: PIPELINE}
    assert machine.run("pull", f"hf:{repo}/later.safetensors", "--yes").returncode == 0
    assert machine.listed()["wan2.1-1.3b"]["installed"] and machine.run("path", "wan2.1-1.3b").stdout.strip() == folder
    (packed := machine.home / "x.gguf").write_bytes(b"GGUF")
    assert machine.run("pull", f"wan2.1-1.3b@{packed}").stdout.strip() == folder, "a newer commit is taken by who asks for it"
    assert machine.listed()["wan2.1-1.3b"]["installed"]
    done = machine.run("rm", f"hf:{repo}/everything-in-one.safetensors")
    assert done.returncode == 0 and machine.run("verify", "wan2.1-1.3b").returncode == 0


def test_beside_a_gguf_file_no_transformer_is_fetched(machine: Machine, hub: Hub, tmp_path: Path) -> None:
    hub.repos["Wan-AI/Wan2.1-T2V-1.3B-Diffusers"] = {COMMIT: PIPELINE}
    hub.repos["makers/packed"] = {COMMIT: {"Q4.gguf": b"GGUF and weights", "Q8.gguf": b"GGUF and more of them"}}
    file = machine.run("pull", "hf:makers/packed/Q4.gguf", "--yes").stdout.strip()
    assert Path(file).read_bytes() == b"GGUF and weights" and not hub.gets("Q8.gguf")
    packed = f"wan2.1-1.3b@{file}"
    folder = Path(machine.run("pull", packed).stdout.strip())
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == KEPT - {BIG} and machine.run("path", packed).stdout == f"{folder}\n"
    assert machine.run("verify", packed).returncode == 0
    by_name = machine.run("path", "wan2.1-1.3b@hf:makers/packed/Q4.gguf")
    assert by_name.stdout == f"{folder}\n"
    assert (
        "Q8.gguf are not on this machine: unstrung models pull"
        in machine.run("path", "wan2.1-1.3b@hf:makers/packed/Q8.gguf").stderr
    )
    made = subprocess.run([*UNSTRUNG, "a fox", "--model", "wan2.1-1.3b"], env=machine.environment, capture_output=True, text=True)
    assert made.returncode == 2 and "are not here: unstrung models pull wan2.1-1.3b\n" in made.stderr
    one = subprocess.run(
        [*UNSTRUNG, "a fox", "--model", "hf:makers/packed/Q4.gguf"], env=machine.environment, capture_output=True, text=True
    )
    assert one.returncode == 2 and "is one file: a LoRA is given as --lora" in one.stderr
    plain = machine.run("path", "wan2.1-1.3b")
    assert plain.returncode == 2 and "in part on this machine: unstrung models pull wan2.1-1.3b\n" in plain.stderr
    assert not machine.listed()["wan2.1-1.3b"]["installed"]
    assert machine.run("pull", "wan2.1-1.3b").stdout == f"{folder}\n" and machine.listed()["wan2.1-1.3b"]["installed"]
    assert machine.run("pull", packed).returncode == 0 and machine.listed()["wan2.1-1.3b"]["installed"], "what is here stays"
    assert (folder / BIG).read_bytes() == PIPELINE[BIG]


def test_of_a_repository_with_more_than_a_model_the_model_is_fetched(machine: Machine, hub: Hub) -> None:
    """LTX-2.5's has a second transformer, a decoder, LoRAs, and a model of language that it is loaded with and we never ask."""
    one, other = weights(11, 5000), weights(12, 5000)
    cut = {f"transformer/diffusion_pytorch_model-0000{n}-of-00002.safetensors": data for n, data in ((1, one), (2, other))}
    wanted = {
        "model_index.json": json.dumps(
            {
                "_class_name": "LTX2Pipeline", "safety_checker": [None, None],
                **{part: ["diffusers", "Part"] for part in ("transformer", "vae", "prompt_enhancer")},
            }
        ).encode(),
        "transformer/config.json": b"{}", **cut, "vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": weights(13, 500),
        "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(
            {"weight_map": {"a": Path(min(cut)).name, "b": Path(max(cut)).name}}
        ).encode(),
        "prompt_enhancer/config.json": b"{}",
    }  # fmt: skip
    assert b"safety_checker" in wanted["model_index.json"], "a place that is left empty"
    beside = {
        "transformer/diffusion_pytorch_model.safetensors": one + other, "transformer_full/config.json": b"{}",
        "transformer_full/diffusion_pytorch_model.safetensors": weights(14), "prompt_enhancer/model.safetensors": weights(15),
        "transformer/diffusion_pytorch_model-00001-of-00001.safetensors": one, "a-lora.safetensors": weights(16),
        "diffusion_decoder/model.safetensors": weights(17), "safety_checker/config.json": b"{}",
        "safety_checker/pytorch_model.bin": b"\x80\x04 a pickle",
    }  # fmt: skip
    hub.repos["Lightricks/LTX-2.5-Diffusers"] = {COMMIT: {**beside, **wanted}}
    folder = Path(machine.run("pull", "ltx-2.5", "--yes").stdout.strip())
    there = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == wanted and not set(hub.fetched()) & set(beside)
    assert machine.listed()["ltx-2.5"]["installed"] and machine.run("verify", "ltx-2.5").returncode == 0
    whole = Path(machine.run("pull", "hf:Lightricks/LTX-2.5-Diffusers", "--yes").stdout.strip())
    assert (whole / "prompt_enhancer" / "model.safetensors").is_file(), (
        "whoever names the repository may want all of the pipeline"
    )


def test_what_a_draft_needs(machine: Machine, hub: Hub) -> None:
    from unstrung.models.hub.families import DRAFTS

    (source,) = DRAFTS["wan2.1-14b"]
    owner, name, file = source.removeprefix("hf:").split("/")
    hub.repos[f"{owner}/{name}"] = {COMMIT: {file: weights(1, 5000), "other.safetensors": weights(2, 5000)}}
    rows = json.loads(machine.run("pull", "wan2.1-14b", "--draft", "--yes", "--json").stdout)
    assert [Path(row["path"]).name for row in rows] == [file] and not hub.gets("other.safetensors")
    done = machine.run("pull", "mochi-1", "--draft")
    assert done.returncode == 2 and "there are LoRAs for: wan2.1-14b" in done.stderr


def test_what_an_option_needs_is_found_where_it_was_pulled(machine: Machine, hub: Hub) -> None:
    """An upsampler has a repository of its own, with weights that are not a model's."""
    repo = "Lightricks/ltxv-spatial-upscaler-0.9.7"
    name = "latent_upsampler/diffusion_pytorch_model.safetensors"
    files = {"model_index.json": b"{}", name: weights(5), "vae/diffusion_pytorch_model.safetensors": weights(6)}
    hub.repos[repo] = {COMMIT: files}
    code = (
        "import json; from unstrung.models.hub import _KNOWN, upsample; from unstrung.request import Request;"
        "asked = Request('a fox', options={'upsample': True, 'preset': 'standard'});"
        "print(json.dumps(upsample.find(asked, _KNOWN['ltx-video-13b'][1]).about))"
    )

    def find() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], env=machine.environment, capture_output=True, text=True)

    assert f"unstrung models pull hf:{repo}" in find().stderr
    assert machine.run("pull", f"hf:{repo}", "--yes").returncode == 0 and machine.run("verify", f"hf:{repo}").returncode == 0
    about = json.loads(find().stdout)
    digest = hashlib.sha256(files[name]).hexdigest()
    assert (about["repo_id"], about["revision"], about["files"]) == (repo, COMMIT, {name: digest})
    assert machine.run("rm", f"hf:{repo}").returncode == 0 and find().returncode == 1


def test_a_models_own_variant(machine: Machine) -> None:
    folder = Path(machine.run("pull", "half").stdout.strip())
    assert {path.name for path in (folder / "transformer").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.fp16.safetensors",
    }


@pytest.mark.parametrize("verb", ["pull", "rm", "path", "verify"])
def test_models_without_weights_on_the_hub_say_so(machine: Machine, verb: str) -> None:
    for model in ("echo", "nano", "remote"):
        done = machine.run(verb, model)
        assert done.returncode == 2 and f"{model} has no weights on the hub" in done.stderr and done.stderr.count("\n") == 1


def test_a_machine_without_the_library_says_what_to_install(machine: Machine) -> None:
    libraries = machine.home / "libraries"
    libraries.mkdir()
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(folder).iterdir():
            if not path.name.startswith("huggingface_hub") and not path.name.endswith(".pth"):
                (libraries / path.name).symlink_to(path)
    places = (machine.environment["PYTHONPATH"], str(Path(unstrung.__file__).parents[1]), str(libraries))
    environment = {**machine.environment, "PYTHONPATH": os.pathsep.join(places)}
    bare = [UNSTRUNG[0], "-S", *UNSTRUNG[1:], "models"]  # -S: this environment's own folder of libraries is not looked into
    done = subprocess.run([*bare, "pull", "tiny"], env=environment, capture_output=True, text=True, cwd=machine.home)
    assert done.returncode == 2 and "pip install '.[hub]'" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    done = subprocess.run([*bare, "list"], env=environment, capture_output=True, text=True, cwd=machine.home)
    assert re.search(r"^tiny +available ", done.stdout, re.M), done.stderr


def files(*names: str) -> list[File]:
    return [File(name, 10, "0" * 40) for name in names]


CARD = ModelCard(id="x", family="x", summary="x", tasks=("text-to-video",), license="MIT", repo_id="makers/x")


@pytest.mark.parametrize(
    ("variant", "kept"),
    [
        ("", {"t/model-00001-of-00002.safetensors", "t/model-00002-of-00002.safetensors", "t/model.safetensors.index.json", "v/w.bf16.safetensors"}),
        ("fp16", {"t/model.fp16-00001-of-00001.safetensors", "t/model.safetensors.index.fp16.json", "v/w.bf16.safetensors"}),
        ("bf16", {"t/model-00001-of-00002.safetensors", "t/model-00002-of-00002.safetensors", "t/model.safetensors.index.json", "v/w.bf16.safetensors"}),
    ],
)  # fmt: skip
def test_of_variants_one_is_kept(variant: str, kept: set[str]) -> None:
    listed = files(
        "model_index.json", "t/config.json", "t/model-00001-of-00002.safetensors", "t/model-00002-of-00002.safetensors",
        "t/model.safetensors.index.json", "t/model.fp16-00001-of-00001.safetensors", "t/model.safetensors.index.fp16.json",
        "v/w.bf16.safetensors", "t/flax_model.msgpack", "t/w.ckpt",
    )  # fmt: skip
    chosen = {file.name for file in choose(CARD, listed, variant)}
    assert chosen == kept | {"model_index.json", "t/config.json"}


def test_a_pipeline_with_one_pickled_part_is_refused() -> None:
    with pytest.raises(UnstrungError, match=r"only as a pickle \(t/pytorch_model.bin\)"):
        choose(CARD, files("model_index.json", "t/config.json", "t/pytorch_model.bin", "v/config.json", "v/w.safetensors"))
    loose = files("model_index.json", "original/all.pt", "all.ckpt", "v/config.json", "v/w.safetensors")
    assert {file.name for file in choose(CARD, loose)} == {"model_index.json", "v/config.json", "v/w.safetensors"}
    with pytest.raises(UnstrungError, match="holds no weights"):
        choose(CARD, files("model_index.json"))


def test_licences_say_what_is_known_and_what_is_not() -> None:
    assert {id for id, license in LICENSES.items() if license.permissive} == PERMISSIVE
    assert all(license.commercial and license.forbidden and license.must_say for license in LICENSES.values())
    unknown = find_license("something-else")
    assert (unknown.id, unknown.permissive) == ("something-else", False) and "were not read" in unknown.commercial
