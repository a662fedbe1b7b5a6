"""Writing transactions: on SQLite, those that several threads want at once are committed together, with one sync of the disk.

A commit that survives a power cut waits for the disk, and a database file has one writer: one by one, two hundred who ask at
the same moment would wait for two hundred syncs. Here each change is a savepoint of a transaction that the last in line
commits, and nobody is told that a change was made before it lies on the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

MOST_TOGETHER = 64  # changes in one transaction


class _Batch:
    """A transaction that several share: its connection, how many changes it holds, and how it ended."""

    def __init__(self, engine: Engine) -> None:
        self.connection = engine.connect()
        self.changes = 0
        self.ended = threading.Event()
        self.error: BaseException | None = None
        try:
            self.connection.begin()
        except BaseException:
            self.connection.close()
            raise

    def lost(self) -> bool:
        """Say whether the database has rolled everything back by itself, as it may where the disk is full."""
        driver: Any = self.connection.connection.driver_connection
        return not driver.in_transaction

    def commit(self) -> None:
        """Commit, and let go of all who wait for it."""
        try:
            if self.lost():  # which the driver would pass over in silence
                raise OSError("The database has rolled back what was to be kept: is the disk full?")
            self.connection.commit()
        except BaseException as error:
            self.error = error
        finally:
            self.connection.close()
            self.ended.set()


class Commits:
    """Gives threads a transaction, one at a time, and commits for all who came meanwhile. For SQLite, which has one writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn, self._counting = threading.Lock(), threading.Lock()
        self._coming = 0
        self._batch: _Batch | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection whose changes lie on the disk when the block is left, or none of them where it raises."""
        with self._counting:
            self._coming += 1
        with self._turn:
            with self._counting:
                self._coming -= 1
            batch = self._batch = self._batch or _Batch(self._engine)
            batch.changes += 1
            try:
                with batch.connection.begin_nested():
                    yield batch.connection
            finally:
                # whoever comes next finds the transaction open, and commits
                if not self._coming or batch.changes >= MOST_TOGETHER or batch.lost():
                    self._batch = None
                    batch.commit()
        batch.ended.wait()
        if batch.error is not None:
            raise batch.error
