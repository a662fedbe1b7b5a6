"""How the command line talks: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unstrung.errors import MissingWeights

if TYPE_CHECKING:
    from unstrung.events import Emit

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def say(text: str) -> None:
    """Print a line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Print a document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


class Talk:
    """Talks to the person on stderr while a film is made: a bar with the time left, notes, results."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.notes: list[dict[str, Any]] = []
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Talk:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:>8}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def emit(self) -> Emit:
        """Return what the engine is to call."""
        return self._hear

    def say(self, text: str) -> None:
        """Print a line of result: on stdout, or on stderr where stdout is for JSON."""
        self._bar.stop()
        print(text, file=sys.stderr if self.quiet else sys.stdout, flush=True)
        for task in self._tasks.values():
            self._bar.remove_task(task)
        self._tasks = {}
        self._bar.start()

    def _hear(self, event: Any) -> None:
        from unstrung.events import Note, Progress

        if isinstance(event, Progress):
            if event.stage not in self._tasks:
                for task in self._tasks.values():
                    self._bar.update(task, visible=False)
                self._tasks[event.stage] = self._bar.add_task(event.stage, total=event.total)
            self._bar.update(self._tasks[event.stage], completed=event.done)
        elif isinstance(event, Note):
            self.notes.append({"code": event.code, "text": event.text, "data": dict(event.data)})
            self._bar.console.print(event.text, highlight=False, markup=False)


def need_torch() -> None:
    """Refuse in words what needs PyTorch where that is not installed, and keep its threads from spinning."""
    from importlib.util import find_spec

    # spinning threads starve whatever else this machine does; must be set before torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if find_spec("torch") is None:
        raise MissingWeights("This needs PyTorch, which the default install leaves out: pip install '.[train]'")
