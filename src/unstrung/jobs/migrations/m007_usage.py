"""What owners have used lately, whatever became of the jobs since; who is there to work; what was asked for under a key."""

from __future__ import annotations

import time

from sqlalchemy import Connection, text

DAY = 86400.0

# a line for each time that a job was begun and left: the seconds of work that it took, and of video that it gave
STATEMENTS = (
    """
    CREATE TABLE usage (
        owner TEXT, at DOUBLE PRECISION NOT NULL, work DOUBLE PRECISION NOT NULL, seconds DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX usage_by_time ON usage (at, owner, work)",
    "CREATE INDEX usage_of_owner ON usage (owner, at, seconds)",
    "CREATE TABLE workers (name TEXT PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL)",
    # of a job that its maker's own key names, the SHA-256 of what was asked for
    "CREATE TABLE keyed (job_id TEXT PRIMARY KEY, body TEXT NOT NULL)",
)


def up(connection: Connection) -> None:
    """Make the tables, and fill them with what the jobs of the last day say."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
    ended = text(
        """
        INSERT INTO usage (owner, at, work, seconds)
        SELECT owner, completed_at, completed_at - started_at, CASE WHEN status = 'completed' THEN seconds ELSE 0 END
        FROM jobs WHERE completed_at > :since AND started_at IS NOT NULL
        """
    )
    connection.execute(ended, {"since": time.time() - DAY})
