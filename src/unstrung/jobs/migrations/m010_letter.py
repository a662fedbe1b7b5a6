"""Who signed the host's open letter, in a log that only grows, and who has begun to and still owes a proof."""

from __future__ import annotations

from sqlalchemy import Connection, text

STATEMENTS = (
    # times are whole seconds: a line's digest is to come out the same in every language
    """
    CREATE TABLE signatures (
        number INTEGER PRIMARY KEY, at BIGINT NOT NULL, letter TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        signer TEXT NOT NULL, mark TEXT NOT NULL, statement TEXT, public_key TEXT, signature TEXT, previous TEXT NOT NULL,
        digest TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX signatures_once ON signatures (letter, kind, mark)",
    "CREATE INDEX signatures_of_letter ON signatures (letter, number)",
    """
    CREATE TABLE signing (
        id TEXT PRIMARY KEY, letter TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, address TEXT, nonce TEXT NOT NULL,
        code TEXT, attempts INTEGER NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
        number INTEGER
    )
    """,
    "CREATE INDEX signing_by_kind ON signing (kind, created_at)",
    "CREATE INDEX signing_by_end ON signing (expires_at)",
)


def up(connection: Connection) -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
