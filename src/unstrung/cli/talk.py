"""How the command line talks: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
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


def print_models(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print which models are ready; of those whose weights are to be had, whether they would fit this machine."""
    width = max(len(row["id"]) for row in rows)
    for row in rows:
        said = "ready" if row["ready"] else f"not here; {row['fits']}" if row["fits"] else f"not ready: {row['why']}"
        print(f"{row['id']:<{width}}  {said}")
    print("What is not here: unstrung models pull NAME. What would fit, and how: unstrung doctor --model NAME")


def print_plans(forecast: Mapping[str, Any]) -> None:
    """Print in which ways a model can be placed, the best first, and what the others lack."""
    asked = "{model} at {width}x{height}, {num_frames} frames at {fps} a second".format_map(forecast)
    fitting = [row for row in forecast["plans"] if not row["why"]]
    print(f"{asked}: {_plan(fitting[0]) if fitting else 'does not fit'}")
    for row in fitting[1:]:
        print(f"  or {_plan(row)}")
    for row in forecast["plans"]:
        if row["why"]:
            print(row["why"] if row["plan"] == "none" else f"  not {_named(row)}: it needs {row['why']}")


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['plan']}, tiled" if row.get("tiled") else str(row["plan"])


def _plan(row: Mapping[str, Any]) -> str:
    peak = max(row.get("vram", {"": 0}).values())
    needs = [f"{size / 10**9:.1f} GB of {name}" for size, name in ((peak, "the GPU"), (row["ram"], "RAM")) if size]
    if row.get("seconds"):
        needs.append(f"about {row['seconds']} s to sample")
    elif row.get("petaflops"):
        needs.append(f"about {row['petaflops']:g} petaFLOP to sample")
    return f"{_named(row)} ({row['what']}): {', '.join(needs)}" if row.get("what") else f"{_named(row)}: {', '.join(needs)}"


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
