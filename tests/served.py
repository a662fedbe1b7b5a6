"""A running server for tests: `unstrung serve` as its host would start it, and OpenAI's own client to speak to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import openai


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
