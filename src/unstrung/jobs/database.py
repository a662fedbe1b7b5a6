"""How a database is spoken to: questions outside transactions, and changes in transactions that outlive a power cut.

A commit that survives a power cut waits for the disk, and an SQLite file has one writer: one by one, two hundred who ask at
the same moment would wait for two hundred syncs of the disk. Here the changes that several threads want at once are savepoints
of one transaction, which the last in line commits, and nobody is told of a change before it lies on the disk.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text

MOST_CONNECTIONS = 60  # of one process: as many as a server has threads that ask, and some
LOCK_SECONDS = 30  # how long SQLite waits for another process that writes
MOST_TOGETHER = 64  # changes in one transaction


class Database:
    """A database at an SQLAlchemy address: `engine` for transactions, `reads` for questions outside of them."""

    def __init__(self, url: str) -> None:
        # the address that everybody knows, with the driver that is installed
        address = make_url(re.sub("^postgres(ql)?://", "postgresql+psycopg://", url))
        self._commits: _Commits | None = None
        if address.get_backend_name() == "sqlite":
            self.engine, self._lazy = _sqlite(_engine(address), "FULL"), _sqlite(_engine(address), "NORMAL")
            # opening a file again for every question of a rush costs more than the questions
            self.reads = _engine(address, pool_size=MOST_CONNECTIONS, max_overflow=0)
            event.listen(self.reads, "connect", lambda connection, _: _set_up(connection, "FULL"))
            self._commits = _Commits(self.engine)
        else:
            self.engine = self._lazy = _engine(address, pool_pre_ping=True, max_overflow=MOST_CONNECTIONS - 5)  # 5 are kept
            self.reads = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def reading(self) -> Connection:
        """Return a connection outside a transaction, so that readers of SQLite never wait for a writer."""
        return self.reads.connect()

    def changing(self) -> AbstractContextManager[Connection]:
        """Return a transaction whose changes outlive a power cut as soon as the block is left."""
        return self._commits.begin() if self._commits else self.engine.begin()

    @contextmanager
    def saying(self) -> Iterator[Connection]:
        """Return a transaction for what is said many times a second, as progress is: a power cut may take the last of it."""
        with self._lazy.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL synchronous_commit = off"))
            yield connection

    def close(self) -> None:
        """Let go of all connections."""
        for engine in {self.engine, self.reads, self._lazy}:
            engine.dispose()


def _engine(address: URL, **options: Any) -> Engine:
    return create_engine(address, hide_parameters=True, **options)  # which are prompts and keys: errors are written into logs


def _sqlite(engine: Engine, synchronous: str) -> Engine:
    event.listen(engine, "connect", lambda connection, _: _set_up(connection, synchronous))
    # fires for connections in autocommit mode too, whatever their name: those that only read need an engine without it
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _set_up(connection: Any, synchronous: str) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN is ours, not the driver's
    # FULL syncs the disk with every commit, and with it what others have written before
    for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", f"busy_timeout = {1000 * LOCK_SECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


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


class _Commits:
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
