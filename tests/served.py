"""Running servers for tests: `unstrung serve` as its host would start it, and OpenAI's own client to speak to it."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

import openai
import pytest

from unstrung.cli import main
from unstrung.media.clip import Clip
from unstrung.media.codec import read_clip

UNSTRUNG = [sys.executable, "-m", "unstrung"]


def run(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*UNSTRUNG, *words], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=240)


def run_here(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, which has loaded the libraries that it would spend seconds on."""
    said, told, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as here, redirect_stdout(said), redirect_stderr(told):
        here.setattr(sys, "argv", ["unstrung", *words])
        here.setattr(warnings, "showwarning", warnings.showwarning)  # which the command makes its own
        for name, value in env.items():
            here.setenv(name, value)
        if cwd:
            here.chdir(cwd)
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, said.getvalue(), told.getvalue())


class Served:
    """A running server: its address, its folder, its process, and the client that speaks to it."""

    verb: tuple[str, ...] = ("serve",)

    def __init__(self, folder: Path, *options: str, log: Path | None = None, port: int = 0) -> None:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.environment = {**os.environ, "UNSTRUNG_DATA": str(folder), "OMP_WAIT_POLICY": "passive"}
        self.command = [
            sys.executable,
            "-m",
            "unstrung",
            *self.verb,
            "--port",
            str(self.port),
            "--alias",
            "sora-2=echo",
            *options,
        ]
        self.stderr = log
        self.start()
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", max_retries=0)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.stderr.open("ab") if self.stderr else nullcontext() as stderr:
            self.process = subprocess.Popen(self.command, env=self.environment, stderr=stderr)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "the server ended by itself"
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


class Shared(Served):
    """A server of ours that asks for tokens, as a collective's does, and one of its tokens."""

    def __init__(self, folder: Path, *options: str, port: int = 0, key: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.key = key or run("tokens", "create", "ann", UNSTRUNG_DATA=str(folder)).stdout.strip().splitlines()[-1]
        super().__init__(folder, *options, port=port)
        self.client = self.client.with_options(api_key=self.key)
        self.there = {"UNSTRUNG_REMOTE_URL": f"http://127.0.0.1:{self.port}/v1", "UNSTRUNG_REMOTE_KEY": self.key}

    def film(self, id: str, folder: Path) -> Clip:
        self.client.videos.download_content(id).write_to_file(folder / f"{id}.mp4")
        return read_clip(folder / f"{id}.mp4")

    def status(self, id: str) -> str:
        return str((self.client.videos.retrieve(id).model_extra or {})["unstrung"]["status"])

    def wait(self, status: str, seconds: float = 60) -> str:
        """Wait until the newest video stands there; return its id."""
        for _ in range(int(seconds / 0.05)):
            for video in self.client.videos.list(limit=1):
                if self.status(video.id) == status:
                    return video.id
                break
            time.sleep(0.05)
        raise AssertionError(f"no video is {status}")
