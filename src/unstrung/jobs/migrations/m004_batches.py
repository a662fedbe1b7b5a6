"""Files that were uploaded or written for somebody, and batches with their lines."""

from __future__ import annotations

from sqlalchemy import Connection, text

# `caller` is who made a batch, and what that one may do; `token` is the name of the token, where there was one;
# `ending` is what a batch will be when all of it is settled; whoever drives it is its `driver` until `leased_until`
STATEMENTS = (
    """
    CREATE TABLE files (
        id TEXT PRIMARY KEY, owner TEXT, purpose TEXT NOT NULL, filename TEXT NOT NULL, kind TEXT NOT NULL,
        bytes BIGINT NOT NULL, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION
    )
    """,
    "CREATE INDEX files_of_owner ON files (owner, created_at, id)",
    "CREATE INDEX files_by_time ON files (created_at, id)",
    "CREATE INDEX files_that_expire ON files (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, owner TEXT, caller TEXT NOT NULL, token TEXT, input_file_id TEXT NOT NULL, metadata TEXT,
        output_seconds INTEGER, status TEXT NOT NULL, ending TEXT, errors TEXT, output_file_id TEXT, error_file_id TEXT,
        total INTEGER NOT NULL, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL, in_progress_at DOUBLE PRECISION,
        finalizing_at DOUBLE PRECISION, completed_at DOUBLE PRECISION, failed_at DOUBLE PRECISION,
        expired_at DOUBLE PRECISION, cancelling_at DOUBLE PRECISION, cancelled_at DOUBLE PRECISION,
        driver TEXT, leased_until DOUBLE PRECISION
    )
    """,
    "CREATE INDEX batches_of_owner ON batches (owner, created_at, id)",
    "CREATE INDEX batches_by_time ON batches (created_at, id)",
    "CREATE INDEX batches_by_status ON batches (status, created_at)",
    # a line's `body` is there until it has become a job, its `result` from when that has ended
    """
    CREATE TABLE batch_lines (
        batch_id TEXT NOT NULL, line INTEGER NOT NULL, custom_id TEXT NOT NULL, state TEXT NOT NULL, body TEXT, job_id TEXT,
        result TEXT, PRIMARY KEY (batch_id, line)
    )
    """,
    "CREATE INDEX batch_lines_by_state ON batch_lines (batch_id, state, line)",
)


def up(connection: Connection) -> None:
    """Make the tables."""
    for statement in STATEMENTS:
        connection.execute(text(statement))
