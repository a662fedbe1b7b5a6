"""The first tables: jobs with their events, clips, how long work takes, and the store's own settings."""

from __future__ import annotations

from sqlalchemy import Connection, text

# `events` counts what has been said of a job, so that each saying has its own number
STATEMENTS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY, owner TEXT, status TEXT NOT NULL, draft INTEGER NOT NULL, progress INTEGER NOT NULL,
        model TEXT NOT NULL, request TEXT NOT NULL, seconds DOUBLE PRECISION NOT NULL, estimate DOUBLE PRECISION NOT NULL,
        public INTEGER NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, queued_at DOUBLE PRECISION NOT NULL,
        started_at DOUBLE PRECISION, completed_at DOUBLE PRECISION,
        expires_at DOUBLE PRECISION, error_code TEXT, error_message TEXT, remixed_from_video_id TEXT,
        attempt INTEGER NOT NULL, worker TEXT, heartbeat_at DOUBLE PRECISION, events INTEGER NOT NULL
    )
    """,
    # every question that is asked often has its index, most of them with all that is asked for: who waits or runs, what ended
    # lately, what is mine; SQLite takes the first two only where no other one begins with what is asked for
    """
    CREATE INDEX jobs_unfinished ON jobs (status, owner, draft, queued_at, id, estimate) WHERE completed_at IS NULL
    """,
    "CREATE INDEX jobs_ended ON jobs (completed_at, owner, started_at) WHERE completed_at IS NOT NULL",
    "CREATE INDEX jobs_of_owner ON jobs (owner, created_at, id)",
    "CREATE INDEX jobs_by_time ON jobs (created_at, id)",
    "CREATE INDEX jobs_public ON jobs (created_at, id) WHERE public = 1",
    """
    CREATE TABLE events (
        job_id TEXT NOT NULL, number INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    )
    """,
    """
    CREATE TABLE clips (
        job_id TEXT PRIMARY KEY, owner TEXT, file TEXT NOT NULL, bytes BIGINT NOT NULL, sha256 TEXT NOT NULL,
        recipe TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX clips_of_owner ON clips (owner, bytes)",
    """
    CREATE TABLE timings (
        model TEXT PRIMARY KEY, measured INTEGER NOT NULL, fixed DOUBLE PRECISION NOT NULL,
        per_step DOUBLE PRECISION NOT NULL, per_pixel DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


def up(connection: Connection) -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
