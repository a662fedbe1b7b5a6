"""What owners have sent: pictures, clips and characters to make videos from."""

from __future__ import annotations

from sqlalchemy import Connection, text

STATEMENTS = (
    """
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY, owner TEXT, kind TEXT NOT NULL, name TEXT, bytes BIGINT NOT NULL, width INTEGER NOT NULL,
        height INTEGER NOT NULL, num_frames INTEGER NOT NULL, fps INTEGER NOT NULL, created_at DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX uploads_of_owner ON uploads (owner, created_at, id)",
)


def up(connection: Connection) -> None:
    """Make the table."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
