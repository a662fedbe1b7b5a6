"""Tokens: who may ask. The secret is kept as its scrypt digest; a name is never used twice, so that a log says who it was."""

from __future__ import annotations

from sqlalchemy import Connection, text


def up(connection: Connection) -> None:
    """Make the table."""
    statement = """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, scopes TEXT NOT NULL, allowance TEXT NOT NULL,
        salt TEXT NOT NULL, digest TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, revoked_at DOUBLE PRECISION
    )
    """
    connection.execute(text(statement))
