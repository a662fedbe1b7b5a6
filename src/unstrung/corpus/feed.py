"""What every trainer needs beside learning: somebody who draws ahead of it, and an ear for those who ask it to stop."""

from __future__ import annotations

import multiprocessing as mp
import queue
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any


def drawn(draw: Callable[..., None], *args: Any, ahead: int = 8) -> Generator[Any, None, None]:
    """Yield what a process of its own puts into a queue: it runs `draw(*args, results)`, at most `ahead` items ahead.

    Raises `RuntimeError` where that process dies, and ends it when the generator is closed.
    """
    context = mp.get_context("spawn")
    results = context.Queue(maxsize=ahead)
    worker = context.Process(target=undisturbed, args=(draw, args, results), daemon=True)
    worker.start()
    try:
        while True:
            yield patient_get(results, [worker])
    finally:
        worker.terminate()


def patient_get(results: Any, workers: list[Any]) -> Any:
    """Wait for the next item of a queue for as long as those who fill it live; raise `RuntimeError` where one is dead."""
    while True:
        try:
            return results.get(timeout=5)
        except queue.Empty:
            if not all(worker.is_alive() for worker in workers):
                raise RuntimeError("A process that draws for the training has died; its error is above.") from None


def undisturbed(draw: Callable[..., None], args: tuple[Any, ...], results: Any) -> None:
    """Run `draw(*args, results)` in a process that Ctrl-C does not end."""
    # Ctrl-C reaches every process of the terminal; only the one that learns decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    draw(*args, results)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Hear SIGTERM and Ctrl-C without being interrupted: give a function that says whether one has come."""
    heard = False

    def hear(*_: object) -> None:
        nonlocal heard
        heard = True

    handlers = {s: signal.signal(s, hear) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: heard
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
