"""What people report of videos, and what became of it: a line for each change, never one less."""

from __future__ import annotations

from sqlalchemy import Connection, text

STATEMENTS = (
    # the recipe is a copy: a report outlives the video
    """
    CREATE TABLE feedback (
        id TEXT PRIMARY KEY, owner TEXT, video_id TEXT NOT NULL, recipe TEXT NOT NULL, text TEXT NOT NULL, credit TEXT,
        created_at DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX feedback_of_owner ON feedback (owner, created_at, id)",
    "CREATE INDEX feedback_by_time ON feedback (created_at, id)",
    """
    CREATE TABLE ledger (
        feedback_id TEXT NOT NULL, number INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL, state TEXT NOT NULL,
        amount BIGINT NOT NULL, currency TEXT, note TEXT, PRIMARY KEY (feedback_id, number)
    )
    """,
)


def up(connection: Connection) -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
